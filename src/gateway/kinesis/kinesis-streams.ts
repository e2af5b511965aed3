/** Streams as Kinesis names them, and who may do what with them. */
import type { Principal } from "../auth.ts";
import type { StreamDoor } from "../stream-door.ts";
import { AwsError, invalidArgument, validation } from "./aws-error.ts";
import type { Parameters } from "./parameters.ts";
import { optionalText } from "./parameters.ts";

/** An AWS account has 12 digits; here there is one, and it is nobody's. */
export const ACCOUNT = "000000000000";

export type Access = "send" | "read" | "describe" | "administer";

export function streamArn(region: string, name: string): string {
  return `arn:aws:kinesis:${region}:${ACCOUNT}:stream/${name}`;
}

/** The name given as `StreamName`, or in `StreamARN` (or another parameter that holds an ARN). @throws AwsError */
export function streamName(input: Parameters, arnIn = "StreamARN"): string {
  const name = optionalText(input, "StreamName", 128);
  const arn = optionalText(input, arnIn);
  const named =
    arn === undefined ? undefined : /^arn:[^:]*:kinesis:[^:]*:[^:]*:stream\/([a-zA-Z0-9_.-]{1,128})$/.exec(arn)?.[1];
  if (arn !== undefined && named === undefined) {
    throw validation(arn, arnIn.charAt(0).toLowerCase() + arnIn.slice(1), "Member must be the ARN of a stream");
  }
  if (name === undefined && named === undefined)
    throw invalidArgument("Missing required parameter: StreamName or StreamARN.");
  if (name !== undefined && named !== undefined && name !== named) {
    throw invalidArgument(`StreamName ${name} and StreamARN ${arn} do not name the same stream.`);
  }
  return (name ?? named) as string;
}

/** @throws AwsError AccessDeniedException */
export function requireAccess(principal: Principal, access: Access, stream: string | undefined): void {
  if (mayAccess(principal, access, stream)) return;
  const scope = { send: "ingest", read: "query", describe: "ingest or query", administer: "admin" }[access];
  const what = stream === undefined ? "" : ` on resource: ${streamArn("*", stream)}`;
  const message = `User: ${principal.name} is not authorized to perform this operation${what}: the key has the scopes ${[...principal.scopes].join(", ")} and needs ${scope}.`;
  throw new AwsError("AccessDeniedException", message);
}

export function mayAccess({ scopes }: Principal, access: Access, stream: string | undefined): boolean {
  if (scopes.has("admin")) return true;
  const writes = scopes.has("ingest") || (stream !== undefined && scopes.has(`write:${stream}`));
  switch (access) {
    case "send":
      return writes;
    case "read":
      return scopes.has("query");
    case "describe":
      return writes || scopes.has("query");
    default:
      return false;
  }
}

/** @throws AwsError ResourceNotFoundException, which names the definition to write */
export function openStream(doors: ReadonlyMap<string, StreamDoor>, name: string): StreamDoor {
  const door = doors.get(name);
  if (door !== undefined) return door;
  const message = `Stream ${name} under account ${ACCOUNT} not found. Streams are defined in the project: ${definitionOf(name)}`;
  throw new AwsError("ResourceNotFoundException", message);
}

/** How a stream comes to be here. */
export function definitionOf(name: string): string {
  const fit = /^[a-z][a-z0-9_]{0,99}$/.test(name);
  const own = fit
    ? name
    : name
        .toLowerCase()
        .replaceAll(/[^a-z0-9]+/g, "_")
        .replace(/^[^a-z]+/, "")
        .slice(0, 100) || "events";
  const why = fit ? "" : ` (names are lower case, digits and _, and begin with a letter)`;
  return `add \`export const ${own} = stream("${own}", { schema: z.object({ … }) })\` to one of its modules and start it again${why}.`;
}
