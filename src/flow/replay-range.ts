/** From where on a table is replayed: what was asked, as the first offset of each partition. */
import type { SqlEngine } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import { pruneFiles } from "../lake/prune.ts";
import type { EventLog } from "../log/event-log.ts";
import type { LakeTables } from "./lake-tables.ts";
import { selectRows } from "./select-rows.ts";

export interface RangeRequest {
  /** First offset in every partition that has it, or by partition; partitions that are not named stay as they are. */
  readonly fromOffset?: number | ReadonlyMap<number, number> | undefined;
  /** Events received at that moment or later, in milliseconds since the epoch. */
  readonly fromTimeMs?: number | undefined;
}

export interface RangeParts {
  readonly lake: LakeTables;
  readonly log: EventLog;
  readonly engine: SqlEngine;
  readonly clock: () => number;
}

/** By partition the first offset to replay; undefined where there is none. */
export type Firsts = readonly (number | undefined)[];

/** @throws REPLAY_RANGE (beyond the end, in the future, no such partition), REPLAY_LOG_GONE, LOG_UNREADABLE */
export async function firstOffsets(
  o: RangeParts,
  stream: string,
  { fromOffset, fromTimeMs }: RangeRequest,
  source: "bronze" | "log",
): Promise<Firsts> {
  if (fromOffset !== undefined && fromTimeMs !== undefined) throw refused("give an offset or a time, not both");
  const ends = Array.from({ length: o.log.partitions(stream) }, (_, p) => o.log.ends(stream, p).end);
  const firsts =
    fromTimeMs !== undefined
      ? await byTime(o, stream, fromTimeMs, ends, source)
      : fromOffset !== undefined
        ? byOffset(stream, fromOffset, ends)
        : ends.map(() => 0);
  if (source === "log") {
    for (const [partition, offset] of firsts.entries()) {
      const { start } = o.log.ends(stream, partition);
      if (offset !== undefined && offset < start)
        throw new MillraceError("REPLAY_LOG_GONE", { stream, partition, offset, start });
    }
  }
  return firsts;
}

function byOffset(stream: string, wanted: number | ReadonlyMap<number, number>, ends: readonly number[]): Firsts {
  if (typeof wanted === "number") {
    if (wanted >= Math.max(...ends)) throw beyond(stream, wanted, Math.max(...ends));
    return ends.map((end) => (wanted < end ? wanted : undefined));
  }
  for (const [partition, offset] of wanted) {
    const end = ends[partition];
    if (end === undefined) throw refused(`${stream} has the partitions 0 to ${ends.length - 1}, and not ${partition}`);
    if (offset >= end) throw beyond(`${stream}/${partition}`, offset, end);
  }
  return ends.map((_, partition) => wanted.get(partition));
}

async function byTime(
  o: RangeParts,
  stream: string,
  timeMs: number,
  ends: readonly number[],
  source: "bronze" | "log",
): Promise<Firsts> {
  const now = o.clock();
  if (timeMs > now) {
    const moments = [timeMs, now].map((ms) => new Date(ms).toISOString());
    throw refused(`${moments[0]} is in the future: it is ${moments[1]}`);
  }
  const found: (number | undefined)[] = [];
  for (const [partition, end] of ends.entries()) {
    found.push(
      source === "bronze"
        ? await firstInBronze(o, stream, partition, timeMs)
        : await firstInLog(o.log, stream, partition, timeMs, end),
    );
  }
  return found;
}

/** Arrival times never go back within a partition, so one offset divides what came before from what came after. */
async function firstInBronze(
  { lake, engine }: RangeParts,
  stream: string,
  partition: number,
  timeMs: number,
): Promise<number | undefined> {
  const bronze = lake.get(`bronze.${stream}`);
  const moment = new Date(timeMs).toISOString();
  const files = pruneFiles(bronze.snapshot.files, [
    { column: "_received_at", op: ">=", value: moment },
    { column: "_partition", op: "=", value: partition },
  ]);
  if (files.length === 0) return undefined;
  const [row] = await selectRows(engine, {
    sql: `select min(_offset) as o from bronze where _partition = ${partition} and _received_at >= '${moment}'::timestamptz`,
    inputs: new Map([["bronze", lake.relation(bronze, bronze.snapshot, files)]]),
  });
  return row?.["o"] === null || row === undefined ? undefined : Number(row["o"]);
}

/** By halving. When the oldest kept event is not older than the moment, those before it may belong as well. */
async function firstInLog(
  log: EventLog,
  stream: string,
  partition: number,
  timeMs: number,
  end: number,
): Promise<number | undefined> {
  const { start } = log.ends(stream, partition);
  let [low, high] = [start, end];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const run = await log.read(stream, partition, middle, 1);
    if ((run?.spans[0]?.receivedAtMs ?? Number.POSITIVE_INFINITY) >= timeMs) high = middle;
    else low = middle + 1;
  }
  if (low === start && start > 0)
    throw new MillraceError("REPLAY_LOG_GONE", { stream, partition, offset: start - 1, start });
  return low === end ? undefined : low;
}

function beyond(where: string, offset: number, end: number): MillraceError {
  const last = end === 0 ? `${where} has no events yet` : `the last event of ${where} has the offset ${end - 1}`;
  return refused(`offset ${offset} lies beyond the end: ${last}`);
}

function refused(reason: string): MillraceError {
  return new MillraceError("REPLAY_RANGE", { reason });
}
