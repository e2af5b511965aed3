import type { FastifyReply, FastifyRequest } from "fastify";
import { MillraceError } from "../errors.ts";
import { credentials } from "./credentials.ts";

/** `write:STREAM` sends to that stream and does nothing else: what a browser or an app may hold. */
export type Scope = "ingest" | "query" | "admin" | `write:${string}`;

/** Who is calling. */
export interface Principal {
  /** The id of the key. */
  readonly id: string;
  readonly name: string;
  readonly scopes: ReadonlySet<Scope>;
}

/** Knows the keys. `verify` answers from memory and takes as long for a wrong key as for a right one. */
export interface KeyVerifier {
  verify(token: string): Principal | undefined;
}

declare module "fastify" {
  interface FastifyRequest {
    /** Set once `requireScope` let the request through. */
    principal: Principal | undefined;
  }
}

/**
 * The caller named by an `Authorization` header, when the key has the scope. A key with the scope `admin` may do everything, one with
 * `write:` and the `stream` may send to it.
 * @throws UNAUTHENTICATED, FORBIDDEN
 */
export function authorize(
  keys: KeyVerifier,
  header: string | undefined,
  scope: Scope,
  stream: string | undefined = undefined,
): Principal {
  const principal = keys.verify(bearerToken(header));
  if (principal === undefined)
    throw new MillraceError("UNAUTHENTICATED", { reason: "the key is unknown or was revoked" });
  if (principal.scopes.has(scope) || principal.scopes.has("admin")) return principal;
  if (stream !== undefined && principal.scopes.has(`write:${stream}`)) return principal;
  const scopes = principal.scopes.size === 0 ? "none" : [...principal.scopes].map((name) => `"${name}"`).join(", ");
  throw new MillraceError("FORBIDDEN", { name: principal.name, scope, scopes });
}

/** A fastify preHandler that lets only keys with the scope through. */
export function scopeGuard(
  keys: KeyVerifier,
): (scope: Scope) => (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  return (scope) => async (request) => {
    const header = credentials(request.headers);
    request.principal = authorize(keys, header, scope);
    // Whoever passes the request on to another process passes on who asks.
    if (header !== undefined) request.headers.authorization = header;
  };
}

/** `Bearer KEY`; the scheme's case does not matter (RFC 7235). */
function bearerToken(header: string | undefined): string {
  if (header === undefined) throw new MillraceError("UNAUTHENTICATED", { reason: "the request has no key" });
  if (header.startsWith("Bearer ")) return header.slice(7).trim();
  const match = /^bearer +(\S+) *$/i.exec(header);
  if (match === null)
    throw new MillraceError("UNAUTHENTICATED", { reason: "the Authorization header is not `Bearer KEY`" });
  return match[1] as string;
}
