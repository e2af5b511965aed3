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
 * index's own, when a file was lost or damaged, or because another process stored the events, that part is read from bronze. Bronze recorded
 * which events were second arrivals, so nothing is decided anew.
 */
export class StreamIndex {
  readonly #o: StreamIndexOptions;
  #opening: Promise<IdIndex> | undefined;
  #index: IdIndex | undefined;
  /** Every event up to this offset is in the index, be it only in memory. */
  #knownTo = -1;
  #catchingUp: Promise<void> | undefined;
  #closed = false;

  private constructor(options: StreamIndexOptions) {
    this.#o = options;
  }

  static async open(options: StreamIndexOptions): Promise<StreamIndex> {
    const index = new StreamIndex(options);
    await index.#open();
    return index;
  }

  /** Opens the index when it is first asked for something. */
  static later(options: StreamIndexOptions): StreamIndex {
    return new StreamIndex(options);
  }

  /**
   * Resolves once every event up to an offset is known, by default all that bronze has; bronze has committed those that were not
   * staged here.
   */
  async knows(to: number = storedTo(this.#o)): Promise<void> {
    if (this.#index === undefined) await this.#open();
    if (this.#knownTo < to) await this.#catchUp();
  }

  /** For each entry the offset of the stored event it repeats, or -1. */
  lookup(batch: IdBatch): Promise<Float64Array> {
    return this.#mending((index) => index.lookup(batch));
  }

  /** Makes the entries that repeat nothing count for later look-ups. */
  stage(batch: IdBatch, duplicateOf: ArrayLike<number>): void {
    if (this.#index === undefined) throw new MillraceError("INTERNAL", { what: `staging ids for ${this.#o.dir}` });
    this.#index.stage(batch, duplicateOf);
  }

  /** All events up to an offset have been staged. */
  staged(to: number): void {
    this.#knownTo = Math.max(this.#knownTo, to);
  }

  /** Makes staged entries durable; bronze is committed up to `to` by now. */
  async commit(to: number): Promise<void> {
    if (this.#index === undefined) return; // it finds them in bronze when it is opened
    if (this.#knownTo < to) return this.#catchUp();
    await this.#mending((index) => index.commit(to));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await (await this.#opening?.catch(() => undefined))?.close();
  }

  async #open(): Promise<IdIndex> {
    if (this.#closed) throw new MillraceError("SHUTTING_DOWN");
    this.#opening ??= this.#openOnce().catch((error: unknown) => {
      this.#opening = undefined; // the next call tries again
      throw error;
    });
    return this.#opening;
  }

  async #openOnce(): Promise<IdIndex> {
    const { dir, stream, filesModule } = this.#o;
    const index = await openIdIndex(dir, { horizonMs: stream.horizonMs, storedTo: storedTo(this.#o), filesModule });
    try {
      await this.#bringUp(index);
    } catch (error) {
      await index.close();
      throw error;
    }
    this.#index = index;
    return index;
  }

  /** Damage may show only when a file is read: the index then asks to be brought up to date, once per call. */
  async #mending<T>(work: (index: IdIndex) => Promise<T>): Promise<T> {
    const index = this.#index ?? (await this.#open());
    try {
      return await work(index);
    } catch (error) {
      if (!(error instanceof MillraceError && error.code === "DEDUPE_INDEX_BEHIND")) throw error;
      await this.#bringUp(index);
      return work(index);
    }
  }

  /** One at a time: what comes meanwhile finds most of it done. */
  async #catchUp(): Promise<void> {
    const index = this.#index ?? (await this.#open());
    const before = this.#catchingUp;
    const turn = (before ?? Promise.resolve()).catch(() => undefined).then(() => this.#bringUp(index));
    this.#catchingUp = turn;
    await turn;
  }

  async #bringUp(index: IdIndex): Promise<void> {
    const to = storedTo(this.#o);
    if (index.coveredTo < to) await index.rebuild(this.#stored(index.coveredTo + 1, to), to);
    this.#knownTo = Math.max(this.#knownTo, to);
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
