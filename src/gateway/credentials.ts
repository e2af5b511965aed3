/**
 * Who a request says it is of: the `Authorization` header, or the cookie of a session at the console.
 *
 * A cookie is sent by the browser whatever page asked for it, so it counts only for what the platform's own pages ask: `Sec-Fetch-Site` says
 * so in every browser of today, and no page can set it; where it lacks, a foreign `Origin` gives it away. (`SameSite=Strict` keeps it at home as well.)
 */
import type { IncomingHttpHeaders } from "node:http";

export const SESSION_COOKIE = "millrace_session";

/** The value of an `Authorization` header: the request's own, or the one its session stands for. */
export function credentials(headers: IncomingHttpHeaders): string | undefined {
  if (headers.authorization !== undefined) return headers.authorization;
  const session = sessionOf(headers);
  return session === undefined ? undefined : `Bearer ${session}`;
}

/** The session's token, when the request has one and comes from a page of the platform. */
export function sessionOf(headers: IncomingHttpHeaders): string | undefined {
  const token = cookieOf(headers.cookie ?? "");
  return token !== undefined && isOwn(headers) ? token : undefined;
}

function cookieOf(cookies: string): string | undefined {
  for (const pair of cookies.split(";")) {
    const [name, value] = pair.split("=", 2);
    if (name?.trim() === SESSION_COOKIE) return value?.trim();
  }
  return undefined;
}

function isOwn(headers: IncomingHttpHeaders): boolean {
  const site = headers["sec-fetch-site"];
  // `none`: typed into the address bar, or a bookmark.
  if (site !== undefined) return site === "same-origin" || site === "none";
  const { origin, host } = headers;
  return origin === undefined || (host !== undefined && hostOf(origin) === host);
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
