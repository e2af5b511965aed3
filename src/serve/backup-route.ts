import { isAbsolute } from "node:path";
import type { FastifyInstance, preHandlerAsyncHookHandler } from "fastify";
import { MillraceError } from "../errors.ts";
import type { Scope } from "../gateway/auth.ts";

/**
 * Backups over HTTP. The folder is one of the platform's machine, and the answer comes when the backup is made; a caller that
 * goes away before cancels it.
 *
 *     POST /v1/backups {dir, keep?}   201 {backup, files, bytes, linkedFiles, copiedBytes, events, tables, elapsedMs}   admin
 *
 * Errors: REQUEST_INVALID, BACKUP_TARGET_REFUSED, BACKUP_UNDER_WAY, BACKUP_FAILED, STATE_UNAVAILABLE.
 */
export interface Backups {
  make(request: { dir: string; keep: number | undefined; signal: AbortSignal }): Promise<BackupView>;
}

export interface BackupView {
  readonly backup: string;
  readonly files: number;
  readonly bytes: number;
  readonly linkedFiles: number;
  readonly copiedBytes: number;
  readonly events: number;
  readonly tables: number;
  readonly elapsedMs: number;
}

export interface BackupRouteOptions {
  readonly backups: Backups;
  /** Lets only keys with the scope through. */
  readonly requireScope: (scope: Scope) => preHandlerAsyncHookHandler;
}

/** A fastify plugin. Errors are thrown; the server turns them into answers. */
export async function backupRoute(app: FastifyInstance, { backups, requireScope }: BackupRouteOptions): Promise<void> {
  app.post("/v1/backups", { preHandler: requireScope("admin") }, async (request, reply) => {
    const { dir, keep } = (request.body ?? {}) as Record<string, unknown>;
    if (typeof dir !== "string" || !isAbsolute(dir)) {
      throw new MillraceError("REQUEST_INVALID", { reason: "dir must be the absolute path of a folder" });
    }
    if (keep !== undefined && !(Number.isSafeInteger(keep) && (keep as number) >= 1)) {
      throw new MillraceError("REQUEST_INVALID", { reason: "keep must be a whole number from 1 on" });
    }
    const { signal } = request;
    const made = await backups.make({ dir, keep: keep as number | undefined, signal });
    reply.code(201);
    return made;
  });
}
