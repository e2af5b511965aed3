/** Which role answers which route, and what a process says of those that it does not have. */
import type { Role } from "../config/settings.ts";
import { MillraceError } from "../errors.ts";

/** A worker as far as it matters for finding one. */
export interface FoundWorker {
  readonly id: string;
  readonly roles: readonly string[];
  readonly url: string;
  readonly live: boolean;
}

/**
 * The first that fits decides. Events and their streams are the gateways', all else that people ask for is `serve`'s, which asks others where it
 * must. What is not here every process has: `/healthz`, `/readyz`, `/metrics` and `/v1/workers`.
 */
const ROUTES: readonly (readonly [role: Role, path: RegExp])[] = [
  ["serve", /^\/v1\/streams\/[^/]+\/events\/[^/]+$/],
  ["gateway", /^\/v1\/streams(\/|$)/],
  ["gateway", /^\/v1\/(projects\/.*|batch|b|import|track|t|identify|i|page|p|screen|s|group|g|alias|a)$/],
  // The Kinesis door.
  ["gateway", /^\/$/],
  ["serve", /^\/v1\//],
];

/** The role that a route needs; undefined for one that every process has, or nobody. */
export function roleOfRoute(path: string): Role | undefined {
  return ROUTES.find(([, paths]) => paths.test(path))?.[0];
}

/** What to say of routes that this process does not have. */
export function elsewhere(
  own: readonly Role[],
  workers: () => readonly FoundWorker[],
): (method: string, path: string) => MillraceError | undefined {
  return (_method, path) => {
    const role = roleOfRoute(path);
    return role === undefined || own.includes(role) ? undefined : roleAbsent(role, workers());
  };
}

export function roleAbsent(role: Role, workers: readonly FoundWorker[]): MillraceError {
  const found = workers.find((worker) => worker.live && worker.url !== "" && worker.roles.includes(role));
  const who = found === undefined ? "no worker that is running has it" : `worker ${found.id} has it: ${found.url}`;
  const details = { role, ...(found && { worker: found.id, url: found.url }) };
  return new MillraceError("ROLE_ABSENT", { role, who }, { details });
}
