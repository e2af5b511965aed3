import { didYouMean } from "../define/nearest.ts";
import { MillraceError } from "../errors.ts";
import type { PlatformStatus } from "../serve/admin-route.ts";
import type { HttpClient } from "./http-client.ts";

/**
 * The stream that rows for the target go into: the stream of that name, or the one that brings the rows of the table of that name.
 * @throws IMPORT_TARGET_UNCLEAR
 */
export async function importTarget(client: HttpClient, target: string): Promise<string> {
  const { streams, tables } = await client.json<Pick<PlatformStatus, "streams" | "tables">>("/v1/status");
  if (streams.some(({ name }) => name === target)) return target;
  const table = tables.find(({ name }) => name === target);
  if (table === undefined) {
    const known = [...streams, ...tables].map(({ name }) => name);
    const reason = `there is no stream or table of that name${didYouMean(target, known)}`;
    throw new MillraceError("IMPORT_TARGET_UNCLEAR", { target, reason });
  }
  const [stream, ...more] = table.streams;
  if (stream !== undefined && more.length === 0) return stream;
  const list = table.streams.join(", ") || "none";
  throw new MillraceError("IMPORT_TARGET_UNCLEAR", { target, reason: `its rows come from several streams: ${list}` });
}
