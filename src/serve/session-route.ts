import type { FastifyInstance } from "fastify";
import { MillraceError } from "../errors.ts";
import type { Principal } from "../gateway/auth.ts";
import type { SESSION_COOKIE } from "../gateway/credentials.ts";

/**
 * Signing in to the console, and out of it.
 *
 *     POST   /v1/session {key}     201 {"session": SessionView} and the cookie; UNAUTHENTICATED for a key that is unknown or revoked
 *     GET    /v1/session           {"session": SessionView | null}: null is nobody, and no error
 *     DELETE /v1/session           204; the cookie is taken back
 *
 * The cookie is HttpOnly and SameSite=Strict: no script reads it, and no other page can use it. Over https it is Secure as well.
 */
export interface SessionsPort {
  begin(key: string): Promise<{ token: string; principal: Principal; expiresAtMs: number } | undefined>;
  verify(token: string): Principal | undefined;
  end(token: string): Promise<void>;
}

export interface SessionView {
  /** The key's name. */
  readonly name: string;
  readonly scopes: readonly string[];
}

export interface SessionRouteOptions {
  readonly sessions: SessionsPort;
  readonly cookie: typeof SESSION_COOKIE;
  /** The token of a request's session. */
  readonly tokenOf: (headers: import("node:http").IncomingHttpHeaders) => string | undefined;
  readonly clock: () => number;
}

/** A fastify plugin. Errors are thrown; the server turns them into answers. */
export async function sessionRoute(app: FastifyInstance, options: SessionRouteOptions): Promise<void> {
  const { sessions, cookie, tokenOf, clock } = options;
  const setCookie = (secure: boolean, token: string, seconds: number) =>
    `${cookie}=${token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${seconds}${secure ? "; Secure" : ""}`;
  const isSecure = (headers: Record<string, unknown>, protocol: string) =>
    protocol === "https" || headers["x-forwarded-proto"] === "https";

  app.post("/v1/session", async (request, reply) => {
    const key = (request.body as { key?: unknown } | null | undefined)?.key;
    if (typeof key !== "string") throw new MillraceError("REQUEST_INVALID", { reason: "key must be text" });
    const begun = await sessions.begin(key.trim());
    if (begun === undefined)
      throw new MillraceError("UNAUTHENTICATED", { reason: "the key is unknown or was revoked" });
    const seconds = Math.floor((begun.expiresAtMs - clock()) / 1000);
    reply.header("Set-Cookie", setCookie(isSecure(request.headers, request.protocol), begun.token, seconds));
    return reply
      .code(201)
      .header("Cache-Control", "no-store")
      .send({ session: viewOf(begun.principal) });
  });

  app.get("/v1/session", async (request, reply) => {
    const token = tokenOf(request.headers);
    const principal = token === undefined ? undefined : sessions.verify(token);
    reply.header("Cache-Control", "no-store");
    return { session: principal === undefined ? null : viewOf(principal) };
  });

  app.delete("/v1/session", async (request, reply) => {
    const token = tokenOf(request.headers);
    if (token !== undefined) await sessions.end(token);
    return reply
      .code(204)
      .header("Set-Cookie", setCookie(isSecure(request.headers, request.protocol), "", 0))
      .send();
  });
}

function viewOf({ name, scopes }: Principal): SessionView {
  return { name, scopes: [...scopes] };
}
