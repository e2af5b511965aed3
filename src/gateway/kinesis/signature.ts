/**
 * AWS Signature Version 4, as the one who is asked verifies it ("Create a signed AWS API request", AWS General Reference).
 *
 *     canonical request = method \n path \n query, sorted \n signed headers, sorted, one a line \n \n their names \n SHA-256 of the body
 *     string to sign    = AWS4-HMAC-SHA256 \n time \n scope \n SHA-256 of the canonical request
 *     signing key       = HMAC(HMAC(HMAC(HMAC("AWS4" + secret, day), region), service), "aws4_request")
 *     signature         = HMAC(signing key, string to sign)
 *
 * It stands in the `Authorization` header, or in the query of a request that was signed beforehand (`X-Amz-Signature`).
 */
import { createHmac, hash, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import type { Principal } from "../auth.ts";
import { AwsError } from "./aws-error.ts";

/** Knows access keys; answers from memory. */
export interface AccessKeys {
  /** Undefined for one that is unknown or revoked. */
  accessKey(accessKeyId: string): { readonly principal: Principal; readonly secretAccessKey: string } | undefined;
}

export interface SignedRequest {
  readonly method: string;
  /** Path and query as they came. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
}

/** Who says to have signed, and what there is to hold against it once the body is here. */
export interface Claim {
  readonly principal: Principal;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
  /** `20260131T081500Z` */
  readonly time: string;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
}

const SERVICE = "kinesis";
const ALGORITHM = "AWS4-HMAC-SHA256";
const SKEW_MS = 15 * 60_000;
const LONGEST_PRESIGNED_S = 7 * 86_400;

/** What the headers say of the signature: all that can be told before the body has come. @throws AwsError */
export function claimOf({ headers, url }: SignedRequest, keys: AccessKeys, nowMs: number): Claim {
  const { authorization } = headers;
  const query = new URLSearchParams(queryOf(url));
  const presigned = query.has("X-Amz-Signature") || query.has("X-Amz-Algorithm");
  if (authorization !== undefined && presigned) {
    const message = "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.";
    throw new AwsError("InvalidSignatureException", message);
  }
  if (authorization === undefined && !presigned) {
    throw new AwsError("MissingAuthenticationTokenException", "Missing Authentication Token");
  }
  const token = headers["x-amz-security-token"] ?? query.get("X-Amz-Security-Token");
  if (token !== undefined && token !== null) {
    const message =
      "The security token included in the request is invalid: keys of Millrace come without a session token (unset AWS_SESSION_TOKEN)";
    throw new AwsError("UnrecognizedClientException", message);
  }
  const said = authorization === undefined ? queryParts(query) : headerParts(authorization);
  const { credential, signedHeaders, signature } = said;
  const [accessKeyId = "", day = "", region = "", service = "", end = "", ...more] = credential.split("/");
  if (end === "" || more.length > 0) {
    const message = `Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '${shown(credential)}'`;
    throw new AwsError("IncompleteSignatureException", message);
  }
  const time = authorization === undefined ? (query.get("X-Amz-Date") ?? "") : timeOf(headers);
  const timeMs = parsedTime(time);
  if (timeMs === undefined) {
    const message = `Date must be in ISO-8601 'basic format'. Got '${shown(time)}'. See http://en.wikipedia.org/wiki/ISO_8601`;
    throw new AwsError("IncompleteSignatureException", message);
  }
  if (service !== SERVICE) throw mismatch(`Credential should be scoped to correct service: '${SERVICE}'. `);
  if (end !== "aws4_request") throw mismatch("Credential should be scoped with a valid terminator: 'aws4_request'. ");
  if (!/^[a-z0-9-]{1,50}$/.test(region)) throw mismatch("Credential should be scoped to a valid region. ");
  if (day !== time.slice(0, 8)) {
    throw mismatch(
      `Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '${shown(day)}' != '${time.slice(0, 8)}', from '${time}'.`,
    );
  }
  checkTime(time, timeMs, authorization === undefined ? lifetimeS(query) : undefined, nowMs);
  // Without these a signature would say little: where it was sent, and what it asks for.
  if (!signedHeaders.includes("host") && !signedHeaders.includes(":authority")) {
    throw mismatch("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.");
  }
  if (headers["x-amz-target"] !== undefined && !signedHeaders.includes("x-amz-target")) {
    throw mismatch("'x-amz-target' must be a 'SignedHeader' in the AWS Authorization.");
  }
  const key = keys.accessKey(accessKeyId);
  if (key === undefined) {
    throw new AwsError("UnrecognizedClientException", "The security token included in the request is invalid.");
  }
  return { ...key, accessKeyId, region, time, signedHeaders, signature };
}

/** Verifies signatures; keeps each access key's signing key of the day. */
export class Signatures {
  readonly #signingKeys = new Map<string, { readonly scope: string; readonly secret: string; readonly key: Buffer }>();

  /** @throws AwsError InvalidSignatureException */
  verify(request: SignedRequest, body: Uint8Array, claim: Claim): void {
    const { time, region, signature } = claim;
    const scope = `${time.slice(0, 8)}/${region}/${SERVICE}/aws4_request`;
    const canonical = canonicalRequest(request, claim.signedHeaders, hash("sha256", body, "hex"));
    const text = `${ALGORITHM}\n${time}\n${scope}\n${hash("sha256", canonical, "hex")}`;
    const expected = createHmac("sha256", this.#signingKey(claim, scope)).update(text).digest();
    const got = Buffer.from(signature, "hex");
    if (got.length === expected.length && timingSafeEqual(got, expected)) return;
    const message =
      "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.";
    throw new AwsError("InvalidSignatureException", message);
  }

  #signingKey({ accessKeyId, secretAccessKey, region, time }: Claim, scope: string): Buffer {
    const kept = this.#signingKeys.get(accessKeyId);
    if (kept?.scope === scope && kept.secret === secretAccessKey) return kept.key;
    let key: Buffer | string = `AWS4${secretAccessKey}`;
    for (const part of [time.slice(0, 8), region, SERVICE, "aws4_request"])
      key = createHmac("sha256", key).update(part).digest();
    // Bounded by the keys there are; a key that works in several regions makes its own again.
    this.#signingKeys.set(accessKeyId, { scope, secret: secretAccessKey, key: key as Buffer });
    return key as Buffer;
  }
}

function canonicalRequest(
  { method, url, headers }: SignedRequest,
  signed: readonly string[],
  bodyHash: string,
): string {
  let lines = "";
  for (const name of signed) {
    // HTTP/2 has the host in a field of its own.
    const value = headers[name] ?? (name === "host" ? headers[":authority"] : undefined) ?? "";
    const text = typeof value === "string" ? value : value.join(",");
    lines += `${name}:${text.trim().replaceAll(/ +/g, " ")}\n`;
  }
  const path = url.split("?", 1)[0] || "/";
  return `${method}\n${path}\n${canonicalQuery(queryOf(url))}\n${lines}\n${signed.join(";")}\n${bodyHash}`;
}

function canonicalQuery(query: string): string {
  if (query === "") return "";
  const pairs = query.split("&").map((pair) => {
    const [name = "", value = ""] = splitOnce(pair, "=");
    return [encoded(name), encoded(value)] as const;
  });
  return pairs
    .filter(([name]) => name !== "X-Amz-Signature")
    .toSorted(([a, x], [b, y]) => (a === b ? (x < y ? -1 : 1) : a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .join("&");
}

/** As RFC 3986 has it, from however it was written. */
function encoded(text: string): string {
  let plain: string;
  try {
    plain = decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return text; // no signer writes that; the signature will not match
  }
  return encodeURIComponent(plain).replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

interface Parts {
  readonly credential: string;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
}

function headerParts(authorization: string): Parts {
  const [algorithm, rest] = splitOnce(authorization, " ");
  if (algorithm !== ALGORITHM) {
    const message = `Unsupported AWS 'algorithm': '${shown(algorithm)}' (allowed: ${ALGORITHM}).`;
    throw new AwsError("IncompleteSignatureException", message);
  }
  const found = new Map<string, string>();
  for (const part of rest.split(",")) {
    const [name = "", value = ""] = splitOnce(part.trim(), "=");
    found.set(name, value);
  }
  return parts((name) => found.get(name), "Authorization header requires");
}

function queryParts(query: URLSearchParams): Parts {
  if (query.get("X-Amz-Algorithm") !== ALGORITHM) {
    throw new AwsError(
      "IncompleteSignatureException",
      `AWS query-string parameters must include 'X-Amz-Algorithm=${ALGORITHM}'.`,
    );
  }
  return parts((name) => query.get(`X-Amz-${name}`) ?? undefined, "AWS query-string parameters must include");
}

function parts(read: (name: string) => string | undefined, requires: string): Parts {
  const missing = ["Credential", "Signature", "SignedHeaders"].filter((name) => (read(name) ?? "") === "");
  if (missing.length > 0) {
    const message = missing.map((name) => `${requires} '${name}' parameter.`).join(" ");
    throw new AwsError("IncompleteSignatureException", message);
  }
  return {
    credential: read("Credential") as string,
    signedHeaders: (read("SignedHeaders") as string).toLowerCase().split(";"),
    signature: read("Signature") as string,
  };
}

function timeOf(headers: IncomingHttpHeaders): string {
  const own = headers["x-amz-date"];
  if (own !== undefined) return String(own);
  if (headers.date === undefined) {
    const message = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.";
    throw new AwsError("IncompleteSignatureException", message);
  }
  const ms = Date.parse(headers.date);
  return Number.isNaN(ms) ? headers.date : basicTime(ms);
}

function parsedTime(time: string): number | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(time);
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second] = match;
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(ms) ? undefined : ms;
}

function basicTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replaceAll(/[-:]/g, "")}Z`;
}

function lifetimeS(query: URLSearchParams): number {
  const text = query.get("X-Amz-Expires") ?? "";
  const seconds = /^\d{1,7}$/.test(text) ? Number(text) : Number.NaN;
  if (seconds >= 1 && seconds <= LONGEST_PRESIGNED_S) return seconds;
  throw new AwsError(
    "IncompleteSignatureException",
    `X-Amz-Expires must be 1 to ${LONGEST_PRESIGNED_S} seconds, got '${shown(text)}'.`,
  );
}

function checkTime(time: string, timeMs: number, lifetime: number | undefined, nowMs: number): void {
  const now = basicTime(nowMs);
  if (timeMs - nowMs > SKEW_MS) {
    const latest = basicTime(nowMs + SKEW_MS);
    throw mismatch(`Signature not yet current: ${time} is still later than ${latest} (${now} + 15 min.)`);
  }
  const allowedMs = lifetime === undefined ? SKEW_MS : lifetime * 1000;
  if (nowMs - timeMs <= allowedMs) return;
  const earliest = basicTime(nowMs - allowedMs);
  const allowed = lifetime === undefined ? "15 min." : `${lifetime} s`;
  throw mismatch(`Signature expired: ${time} is now earlier than ${earliest} (${now} - ${allowed})`);
}

function mismatch(message: string): AwsError {
  return new AwsError("InvalidSignatureException", message);
}

function queryOf(url: string): string {
  const at = url.indexOf("?");
  return at < 0 ? "" : url.slice(at + 1);
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

function shown(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
