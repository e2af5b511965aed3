/** Signs requests by AWS's document alone, so that a test can get any part of it wrong. */
import { createHmac, hash } from "node:crypto";
import { REGION, SECRET } from "./open-kinesis.ts";

export interface Signing {
  readonly accessKeyId?: string;
  readonly secret?: string;
  readonly atMs?: number;
  readonly region?: string;
  readonly service?: string;
  /** Beside those that every request has. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Headers that are sent and not signed. */
  readonly unsigned?: readonly string[];
  readonly query?: string;
  readonly contentType?: string;
}

export const JSON_TYPE = "application/x-amz-json-1.1";

/** The headers of a signed request to an operation. */
export function signedHeaders(
  operation: string,
  body: string | Uint8Array,
  host: string,
  signing: Signing = {},
): Record<string, string> {
  const time = basicTime(signing.atMs ?? Date.now());
  const headers: Record<string, string> = {
    host,
    "content-type": signing.contentType ?? JSON_TYPE,
    "x-amz-date": time,
    "x-amz-target": `Kinesis_20131202.${operation}`,
    ...signing.headers,
  };
  const names = Object.keys(headers)
    .filter((name) => !signing.unsigned?.includes(name))
    .sort();
  const scope = scopeOf(time, signing);
  const signature = sign(names, headers, signing.query ?? "", hash("sha256", body, "hex"), time, scope, signing);
  const credential = `Credential=${signing.accessKeyId ?? "ADMIN"}/${scope}`;
  headers["authorization"] = `AWS4-HMAC-SHA256 ${credential}, SignedHeaders=${names.join(";")}, Signature=${signature}`;
  return headers;
}

/** The query of a request that was signed beforehand, for the headers host and x-amz-target. */
export function presignedQuery(
  operation: string,
  body: string,
  host: string,
  expiresS: number,
  signing: Signing = {},
): string {
  const time = basicTime(signing.atMs ?? Date.now());
  const scope = scopeOf(time, signing);
  const headers = { host, "x-amz-target": `Kinesis_20131202.${operation}` };
  const parameters: Record<string, string> = {
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": `${signing.accessKeyId ?? "ADMIN"}/${scope}`,
    "X-Amz-Date": time,
    "X-Amz-Expires": String(expiresS),
    "X-Amz-SignedHeaders": "host;x-amz-target",
  };
  const query = Object.entries(parameters)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .sort()
    .join("&");
  const names = ["host", "x-amz-target"];
  return `${query}&X-Amz-Signature=${sign(names, headers, query, hash("sha256", body, "hex"), time, scope, signing)}`;
}

function sign(
  names: readonly string[],
  headers: Readonly<Record<string, string>>,
  query: string,
  bodyHash: string,
  time: string,
  scope: string,
  { secret = SECRET }: Signing,
): string {
  const lines = names.map((name) => `${name}:${headers[name]?.trim().replaceAll(/ +/g, " ")}\n`).join("");
  const canonical = `POST\n/\n${query}\n${lines}\n${names.join(";")}\n${bodyHash}`;
  let key: Buffer | string = `AWS4${secret}`;
  for (const part of scope.split("/")) key = createHmac("sha256", key).update(part).digest();
  const text = `AWS4-HMAC-SHA256\n${time}\n${scope}\n${hash("sha256", canonical, "hex")}`;
  return createHmac("sha256", key).update(text).digest("hex");
}

function scopeOf(time: string, { region = REGION, service = "kinesis" }: Signing): string {
  return `${time.slice(0, 8)}/${region}/${service}/aws4_request`;
}

function basicTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replaceAll(/[-:]/g, "")}Z`;
}
