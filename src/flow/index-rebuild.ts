import type { Stream } from "../define/project.ts";
import type { LocalSql, SqlEngine } from "../engine/sql-engine.ts";
import { type IdBatch, type IdIndex, openIdIndex } from "./dedupe/id-index.ts";
import type { LakeTables } from "./lake-tables.ts";
import { committedTo } from "./progress.ts";

/** Events taken into the index at once: some 64 MB of columns. */
const BATCH = 2_000_000;

/**
 * Opens the id index of a stream's partition, up to date with bronze: after a crash between a commit and the index's own, or with an
 * index that was lost or damaged, the missing part is read from bronze. Bronze recorded which events were second arrivals, so
 * nothing is decided anew.
 */
export async function openStreamIndex(
  dir: string,
  engine: SqlEngine & { readonly local: LocalSql },
  lake: LakeTables,
  stream: Stream,
  partition: number,
  nowMs: number,
  filesModule?: string,
): Promise<IdIndex> {
  const storedTo = committedTo(lake.get(`bronze.${stream.name}`).snapshot, stream.name, partition);
  const index = await openIdIndex(dir, { horizonMs: stream.horizonMs, storedTo, filesModule });
  if (index.coveredTo < storedTo) {
    const since = nowMs - stream.horizonMs;
    await index.rebuild(storedIds(engine, lake, stream, partition, index.coveredTo + 1, storedTo, since), storedTo);
  }
  return index;
}

async function* storedIds(
  engine: SqlEngine & { readonly local: LocalSql },
  lake: LakeTables,
  stream: Stream,
  partition: number,
  from: number,
  to: number,
  sinceMs: number,
): AsyncGenerator<IdBatch> {
  const inputs = new Map([["bronze", lake.relation(lake.get(`bronze.${stream.name}`))]]);
  for (let first = from; first <= to; first += BATCH) {
    const sql = `select md5_number_lower(_id) as low, md5_number_upper(_id) as high, _offset::double as o,
        epoch_ms(_received_at)::double as t
      from bronze where _partition = ${partition} and _duplicate_of is null
        and _offset between ${first} and ${Math.min(first + BATCH - 1, to)} and epoch_ms(_received_at) >= ${sinceMs}
      order by _offset`;
    const [low, high, offset, arrival] = await engine.local.columns(await engine.local.compile({ sql, inputs }));
    yield {
      hashLow: low as BigUint64Array,
      hashHigh: high as BigUint64Array,
      offset: offset as Float64Array,
      receivedAtMs: arrival as Float64Array,
    };
  }
}
