/**
 * Who writes to a lake, written down once at its root:
 *
 *     _millrace/cluster.json    {"format": 1, "log": "kafka:u7VZ…/millrace."}
 *
 * The first process puts it there, and everybody after it compares: offsets in the tables are those of one log, and two would each give the
 * same ones.
 */
import { MillraceError } from "../errors.ts";
import type { ObjectStore } from "./object-store.ts";

export const CLUSTER_FILE = "_millrace/cluster.json";

export interface LakeOwner {
  /** Of what is kept in the log, the lake and the records, as processes share it. */
  readonly format: number;
  /** The log's identity. */
  readonly log: string;
}

/** @throws LAKE_OF_ANOTHER_LOG, WORKER_FORMAT, and what the store throws */
export async function claimLake(store: ObjectStore, place: string, own: LakeOwner): Promise<void> {
  await store.putIfAbsent(CLUSTER_FILE, Buffer.from(`${JSON.stringify(own)}\n`));
  const found = parsed(await store.get(CLUSTER_FILE));
  const what = `the lake in ${place}`;
  if (found === undefined) throw new MillraceError("WORKER_FORMAT", { what, got: "unknown", allowed: own.format });
  if (found.format !== own.format)
    throw new MillraceError("WORKER_FORMAT", { what, got: found.format, allowed: own.format });
  if (found.log !== own.log)
    throw new MillraceError("LAKE_OF_ANOTHER_LOG", { lake: place, expected: found.log, got: own.log });
}

function parsed(bytes: Uint8Array): LakeOwner | undefined {
  try {
    const owner = JSON.parse(Buffer.from(bytes).toString("utf8")) as Partial<LakeOwner> | null;
    return typeof owner?.format === "number" && typeof owner.log === "string" ? (owner as LakeOwner) : undefined;
  } catch {
    // Whoever wrote that is not of this format.
    return undefined;
  }
}
