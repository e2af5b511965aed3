import type { Stream } from "../define/project.ts";
import { quoteLiteral } from "../define/sql-text.ts";
import { jsonStructure } from "../define/types.ts";
import type { LocalSql, SqlEngine } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import { pruneFiles } from "../lake/prune.ts";
import { hashColumns } from "./dedupe/id-hash.ts";
import { type IdBatch, type IdIndex, openIdIndex } from "./dedupe/id-index.ts";
import { eventId } from "./event-id.ts";
import type { LakeTables } from "./lake-tables.ts";
import { committedTo } from "./progress.ts";

/** Events taken into the index at once: some 64 MB of columns. */
const BATCH = 2_000_000;

export interface StreamIndexOptions {
  readonly dir: string;
  readonly engine: SqlEngine & { readonly local: LocalSql };
  readonly lake: LakeTables;
  readonly stream: Stream;
  readonly partition: number;
  /** As in `IdIndexOptions`. */
  readonly filesModule?: string | undefined;
  /** Only events of bronze below this offset count; all of them unless given. */
  readonly below?: number;
}

/**
 * The id index of a stream's partition, kept up with bronze. Where part of it is missing, after a crash between a commit and the
 * index's own or when a file was lost or damaged, that part is read from bronze again. Bronze recorded which events
 * were second arrivals, so nothing is decided anew.
 */
export class StreamIndex {
  readonly #o: StreamIndexOptions;
  readonly #index: IdIndex;

  private constructor(options: StreamIndexOptions, index: IdIndex) {
    this.#o = options;
    this.#index = index;
  }

  static async open(options: StreamIndexOptions): Promise<StreamIndex> {
    const { dir, stream, filesModule } = options;
    const index = await openIdIndex(dir, { horizonMs: stream.horizonMs, storedTo: storedTo(options), filesModule });
    const opened = new StreamIndex(options, index);
    await opened.#catchUp();
    return opened;
  }

  /** For each entry the offset of the stored event it repeats, or -1. */
  lookup(batch: IdBatch): Promise<Float64Array> {
    return this.#mending(() => this.#index.lookup(batch));
  }

  /** Makes the entries that repeat nothing count for later look-ups. */
  stage(batch: IdBatch, duplicateOf: ArrayLike<number>): void {
    this.#index.stage(batch, duplicateOf);
  }

  /** Makes staged entries durable; bronze is committed up to `to` by now. */
  commit(to: number): Promise<void> {
    return this.#mending(() => this.#index.commit(to));
  }

  close(): Promise<void> {
    return this.#index.close();
  }

  /** Damage may show only when a file is read: the index then asks to be brought up to date, once per call. */
  async #mending<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof MillraceError && error.code === "DEDUPE_INDEX_BEHIND")) throw error;
      await this.#catchUp();
      return work();
    }
  }

  async #catchUp(): Promise<void> {
    const to = storedTo(this.#o);
    if (this.#index.coveredTo < to) await this.#index.rebuild(this.#stored(this.#index.coveredTo + 1, to), to);
  }

  async *#stored(from: number, to: number): AsyncGenerator<IdBatch> {
    const { engine, lake, stream, partition } = this.#o;
    const bronze = lake.get(`bronze.${stream.name}`);
    const files = pruneFiles(bronze.snapshot.files, [{ column: "_offset", op: "<=", value: to }]);
    const inputs = new Map([["bronze", lake.relation(bronze, bronze.snapshot, files)]]);
    // Bronze keeps the ids that events had when they were stored.
    const event = `from_json(case when json_valid(payload) then payload end, ${quoteLiteral(jsonStructure(stream.columns))})`;
    const id = stream.reidentified ? eventId(stream, event, "_partition || '-' || _offset") : "_id";
    const columns = async (sql: string) => engine.local.columns(await engine.local.compile({ sql, inputs }));
    // The next event may have arrived right after the last stored one, whatever the clock says now.
    const [last] = await columns(
      `select epoch_ms(_received_at)::double as t from bronze where _partition = ${partition} and _offset = ${to}`,
    );
    const since = Number(last?.[0] ?? 0) - stream.horizonMs;
    for (let first = from; first <= to; first += BATCH) {
      const [low, high, offset, arrival] = await columns(
        `select ${hashColumns(id)}, _offset::double as o, epoch_ms(_received_at)::double as t
         from bronze where _partition = ${partition} and _duplicate_of is null
           and _offset between ${first} and ${Math.min(first + BATCH - 1, to)} and epoch_ms(_received_at) >= ${since}
         order by _offset`,
      );
      yield {
        hashLow: low as BigUint64Array,
        hashHigh: high as BigUint64Array,
        offset: offset as Float64Array,
        receivedAtMs: arrival as Float64Array,
      };
    }
  }
}

function storedTo({ lake, stream, partition, below = Number.POSITIVE_INFINITY }: StreamIndexOptions): number {
  return Math.min(committedTo(lake.get(`bronze.${stream.name}`).snapshot, stream.name, partition), below - 1);
}
