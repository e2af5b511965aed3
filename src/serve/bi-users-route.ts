import type { FastifyInstance, preHandlerAsyncHookHandler } from "fastify";
import { MillraceError } from "../errors.ts";
import type { Scope } from "../gateway/auth.ts";
import type { BiUser } from "./bi-users.ts";

/**
 * Users of BI tools over HTTP.
 *
 *     GET    /v1/bi-users           {"users": [{name, connections}]}                                        admin
 *     POST   /v1/bi-users {name}    201 {user, password (shown this once), address: {host, port, database}}    admin
 *     DELETE /v1/bi-users/{name}    {user}; its connections end                                             admin
 *
 * Errors: BI_USER_INVALID, BI_USER_TAKEN, BI_USER_UNKNOWN, BI_USERS_REFUSED, PUBLISH_UNAVAILABLE, REQUEST_INVALID.
 */
export interface BiUsers {
  create(name: string): Promise<{
    readonly user: BiUser;
    readonly password: string;
    readonly address: { readonly host: string; readonly port: number; readonly database: string } | undefined;
  }>;
  list(): Promise<BiUser[]>;
  revoke(name: string): Promise<BiUser>;
}

export interface BiUsersRouteOptions {
  readonly biUsers: BiUsers;
  /** Lets only keys with the scope through. */
  readonly requireScope: (scope: Scope) => preHandlerAsyncHookHandler;
}

/** A fastify plugin. Errors are thrown; the server turns them into answers. */
export async function biUsersRoute(
  app: FastifyInstance,
  { biUsers, requireScope }: BiUsersRouteOptions,
): Promise<void> {
  const admin = { preHandler: requireScope("admin") };

  app.get("/v1/bi-users", admin, async () => ({ users: await biUsers.list() }));

  app.post("/v1/bi-users", admin, async (request, reply) => {
    const { name } = (request.body ?? {}) as Record<string, unknown>;
    if (typeof name !== "string") throw new MillraceError("REQUEST_INVALID", { reason: "name must be text" });
    const made = await biUsers.create(name);
    reply.code(201);
    return made;
  });

  app.delete<{ Params: { name: string } }>("/v1/bi-users/:name", admin, async (request) => ({
    user: await biUsers.revoke(request.params.name),
  }));
}
