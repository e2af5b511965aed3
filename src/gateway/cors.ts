/**
 * Lets pages of other origins send events (Fetch standard, "CORS protocol"). Only the events doors take part: what a browser may hold is a
 * key that sends and reads nothing, and no other door is meant for it. Keys go in a header, so no cookie is ever involved.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { MillraceError } from "../errors.ts";
import { answerError } from "./error-answer.ts";

/** True when the request was a preflight and is answered. */
export type Cors = (request: IncomingMessage, response: ServerResponse) => boolean;

/** Browsers keep the answer of a preflight for at most two hours. */
const PREFLIGHT_S = 7_200;
const REQUEST_HEADERS = "authorization, content-type, content-encoding, millrace-source, x-retry-count";

/** Paths of doors that take events: the streams' own and those of the Segment protocol, whose SDKs ask for their settings first. */
const EVENTS_DOOR =
  /^\/v1\/(?:streams\/[^/?]+\/events|projects\/[^/?]+\/settings|(?:batch|b|track|t|identify|i|page|p|screen|s|group|g|alias|a|import)\/?)(?:\?|$)/;

/**
 * `origins`: as the setting `corsOrigins` has them, `https://app.example.com`, `https://*.example.com` or `*`, separated by commas.
 * Undefined when there are none: then the doors do nothing for browsers, and cost nothing.
 */
export function corsFor(origins: string): Cors | undefined {
  const patterns = readOrigins(origins);
  if (patterns.length === 0) return undefined;
  const anyOrigin = patterns.includes("*");
  const expressions = patterns.map(
    (pattern) => new RegExp(`^${pattern.split("*").map(escaped).join("[a-z0-9-]+(?:\\.[a-z0-9-]+)*")}$`),
  );
  const allows = (origin: string) => anyOrigin || expressions.some((expression) => expression.test(origin));

  return (request, response) => {
    const { origin } = request.headers;
    if (origin === undefined || !EVENTS_DOOR.test(request.url as string)) return false;
    if (!anyOrigin) response.setHeader("Vary", "Origin");
    const allowed = allows(origin);
    if (allowed) {
      response.setHeader("Access-Control-Allow-Origin", anyOrigin ? "*" : origin);
      response.setHeader("Access-Control-Expose-Headers", "Retry-After");
    }
    if (request.method !== "OPTIONS" || request.headers["access-control-request-method"] === undefined) return false;
    if (!allowed) {
      answerError(request, response, new MillraceError("ORIGIN_NOT_ALLOWED", { origin: origin.slice(0, 200) }));
      return true;
    }
    response.writeHead(204, {
      "Access-Control-Allow-Methods": "POST",
      "Access-Control-Allow-Headers": REQUEST_HEADERS,
      "Access-Control-Max-Age": PREFLIGHT_S,
    });
    response.end();
    return true;
  };
}

/** @throws SETTING_INVALID when one of them is no origin */
function readOrigins(text: string): string[] {
  const origins = text
    .split(",")
    .map((origin) => origin.trim())
    .filter((origin) => origin !== "" && origin !== "none");
  for (const origin of origins) {
    if (origin === "*" || ORIGIN.test(origin)) continue;
    throw new MillraceError("SETTING_INVALID", {
      name: "corsOrigins",
      source: "given",
      allowed: "none, *, or origins such as https://app.example.com and https://*.example.com, separated by commas",
      got: JSON.stringify(origin),
    });
  }
  return origins;
}

/** Scheme, host, maybe a port; no path, for browsers send none. */
const ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/(?:\*\.)?(?:[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])(?::\d+)?$/;

function escaped(text: string): string {
  return text.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&");
}
