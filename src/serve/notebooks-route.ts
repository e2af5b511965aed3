import type { FastifyInstance, FastifyRequest, preHandlerAsyncHookHandler } from "fastify";
import { MillraceError } from "../errors.ts";
import type { Scope } from "../gateway/auth.ts";

/**
 * Notebooks over HTTP: kept by the platform, seen and changed by everybody who may query.
 *
 *     GET    /v1/notebooks                             {"notebooks": [{id, name, refreshS, version, changedBy, changedAt}]}
 *     GET    /v1/notebooks/{id}                        {"notebook": {…, cells}}
 *     POST   /v1/notebooks {name, cells, refreshS?}    201 {"notebook": {…}}
 *     PUT    /v1/notebooks/{id} {version, name, cells, refreshS?}     {"notebook": {…}}; 409 NOTEBOOK_CHANGED when it has another version by now
 *     DELETE /v1/notebooks/{id}                        204
 *
 * All with the scope `query`. Errors: NOTEBOOK_UNKNOWN, NOTEBOOK_CHANGED, NOTEBOOK_TOO_LARGE, REQUEST_INVALID, STATE_UNAVAILABLE.
 */
export interface NotebooksPort {
  list(): Promise<readonly object[]>;
  show(id: string): Promise<object>;
  create(draft: NotebookDraft, by: string): Promise<object>;
  replace(id: string, version: number, draft: NotebookDraft, by: string): Promise<object>;
  remove(id: string): Promise<void>;
}

export interface NotebookDraft {
  readonly name: string;
  readonly cells: readonly unknown[];
  readonly refreshS: number | null;
}

export interface NotebooksRouteOptions {
  readonly notebooks: NotebooksPort;
  /** Lets only keys with the scope through. */
  readonly requireScope: (scope: Scope) => preHandlerAsyncHookHandler;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const MOST_NAME = 200;
const MOST_CELLS = 500;
const LEAST_REFRESH_S = 5;
const MOST_REFRESH_S = 86_400;

/** A fastify plugin. Errors are thrown; the server turns them into answers. */
export async function notebooksRoute(app: FastifyInstance, options: NotebooksRouteOptions): Promise<void> {
  const { notebooks, requireScope } = options;
  const query = { preHandler: requireScope("query") };
  type ById = { Params: { id: string } };

  app.get("/v1/notebooks", query, async () => ({ notebooks: await notebooks.list() }));

  app.get<ById>("/v1/notebooks/:id", query, async ({ params }) => ({
    notebook: await notebooks.show(known(params.id)),
  }));

  app.post("/v1/notebooks", query, async (request, reply) => {
    const notebook = await notebooks.create(readDraft(request.body, []), actorOf(request));
    return reply.code(201).send({ notebook });
  });

  app.put<ById>("/v1/notebooks/:id", query, async (request) => {
    const { version } = (request.body ?? {}) as { version?: unknown };
    if (!Number.isInteger(version)) throw wrong("version must be the number of the version that was changed");
    const draft = readDraft(request.body, ["version"]);
    return { notebook: await notebooks.replace(known(request.params.id), version as number, draft, actorOf(request)) };
  });

  app.delete<ById>("/v1/notebooks/:id", query, async ({ params }, reply) => {
    await notebooks.remove(known(params.id));
    return reply.code(204).send();
  });
}

function readDraft(body: unknown, more: readonly string[]): NotebookDraft {
  if (typeof body !== "object" || body === null || Array.isArray(body)) throw wrong("the body must be an object");
  const unknown = Object.keys(body).find((name) => !["name", "cells", "refreshS", ...more].includes(name));
  if (unknown !== undefined) throw wrong(`"${unknown}" is not known here`);
  const { name, cells, refreshS = null } = body as { name?: unknown; cells?: unknown; refreshS?: unknown };
  if (typeof name !== "string" || name.trim() === "" || name.length > MOST_NAME)
    throw wrong(`name must be text of 1 to ${MOST_NAME} characters`);
  if (!Array.isArray(cells) || cells.length > MOST_CELLS) throw wrong(`cells must be a list of at most ${MOST_CELLS}`);
  const inRange =
    Number.isInteger(refreshS) && Number(refreshS) >= LEAST_REFRESH_S && Number(refreshS) <= MOST_REFRESH_S;
  if (refreshS !== null && !inRange)
    throw wrong(`refreshS must be a whole number of seconds from ${LEAST_REFRESH_S} to ${MOST_REFRESH_S}, or null`);
  return { name: name.trim(), cells, refreshS: refreshS as number | null };
}

function known(id: string): string {
  if (!UUID.test(id)) throw new MillraceError("NOTEBOOK_UNKNOWN", { id });
  return id;
}

function actorOf(request: FastifyRequest): string {
  return request.principal?.name ?? "unknown";
}

function wrong(reason: string): MillraceError {
  return new MillraceError("REQUEST_INVALID", { reason });
}
