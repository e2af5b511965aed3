/**
 * Replay: a table is rebuilt by its definition as it is now, from an event on or whole, while new events are acknowledged, visible
 * and stored in the old version as ever, by the definition that runs: their rows stay. Only the last moment, in which the files are
 * swapped, holds the stream's flushes back. A table that keeps the newest row per key mixes old and new, so it catches up with what came
 * meanwhile first. Until then nothing has happened that a reader could see: a replay that is cancelled, or a
 * platform that dies, leaves the old version in place and some files for vacuum.
 *
 * It carries on: append tables over the table are built from the same events, and tables that combine rows are refreshed after it, inputs
 * before what reads them.
 */
import type { AppendTable, Project, RefreshTable, Stream, Table } from "../define/project.ts";
import type { Relation, RunOptions, Statement } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import { pruneFiles } from "../lake/prune.ts";
import type { DeadLetterDesk } from "./dead-letter-desk.ts";
import { giveWay, MOST_ATTEMPTS } from "./give-way.ts";
import { committedTo, retriedMark } from "./progress.ts";
import type { Refresher } from "./refresh.ts";
import { parseBronze, sourceTable, unknownTable } from "./relations.ts";
import { Build, type BuildParts, cancelledOr } from "./replay-build.ts";
import { type Firsts, firstOffsets, type RangeParts, type RangeRequest } from "./replay-range.ts";
import { storedTo } from "./replay-source.ts";
import { rowCount, Swap, type SwapParts, type Swapped } from "./replay-swap.ts";
import { type Findings, readLetters } from "./replayed-letters.ts";

export interface ReplayRequest extends RangeRequest {
  /** Where the events are read; bronze unless it is bronze itself that is replayed. */
  readonly source?: "bronze" | "log" | undefined;
  /** Leaves the tables over this one to themselves. */
  readonly only?: boolean | undefined;
}

export interface ReplayOutcome {
  /** Version of the table that was asked for. */
  readonly version: number;
  /** Every table that was rebuilt or refreshed, in that order. */
  readonly tables: readonly ReplayedTable[];
}

export interface ReplayedTable extends Swapped {
  readonly kind: "rebuilt" | "refreshed";
  /** First offset that was replayed, by partition, where events were: null in a partition that stays as it was. */
  readonly from: readonly (number | null)[];
  /** Why a refresh after the replay failed; it is tried again by itself. */
  readonly failure?: string;
}

export interface ReplayProgress {
  readonly phase: "rebuild" | "swap" | "refresh";
  readonly table: string;
  /** Events taken in, of `total` so far. */
  readonly events: number;
  readonly total: number;
}

export interface ReplayOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ReplayProgress) => void;
}

export interface ReplayParts extends BuildParts, SwapParts, RangeParts {
  readonly lake: BuildParts["lake"];
  readonly engine: BuildParts["engine"];
  readonly log: BuildParts["log"];
  readonly refresher: Refresher;
  readonly desk: Pick<DeadLetterDesk, "inTurn">;
  /** True for a table that stands still: it is not carried along. */
  readonly held: (table: string) => boolean;
  /** Stores every event of a stream that was acknowledged before. */
  readonly flush: (stream: string) => Promise<void>;
  /** Runs work while nothing of the stream is flushed. */
  readonly alone: <T>(stream: string, work: () => Promise<T>) => Promise<T>;
  /** Told which tables have new commits. */
  readonly changed: (tables: readonly string[]) => void;
}

/** Tables that are built from the same events at once. */
interface Pass {
  readonly stream: string;
  readonly bronze: boolean;
  readonly tables: readonly AppendTable[];
  readonly firsts: Firsts;
  readonly source: "bronze" | "log";
  /** True for the one in which letters that concern every table are settled: the last. */
  readonly last: boolean;
  /** True when all append tables of the stream are replayed. */
  readonly everyTable: boolean;
  /** True for tables that have to take in what is stored meanwhile as well. */
  readonly catchesUp: boolean;
}

/** Rounds of catching up before the flushes are held back however much has come meanwhile. */
const MOST_ROUNDS = 8;
/** With fewer events than this to catch up, holding the flushes back costs less than another round. */
const FEW_EVENTS = 20_000;

export class Replays {
  readonly #p: ReplayParts;
  readonly #running = new Map<string, string>();
  readonly #ended = new AbortController();
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(parts: ReplayParts) {
    this.#p = parts;
  }

  /**
   * Rebuilds a table and what is over it.
   * @throws TABLE_UNKNOWN, REPLAY_RUNNING, REPLAY_RANGE, REPLAY_NOT_POSSIBLE, REPLAY_LOG_GONE, REPLAY_SOURCE_DAMAGED, REPLAY_CANCELLED,
   * FLUSH_FAILED, COMMIT_CONFLICT; nothing has changed then, or only tables before the one that is named
   */
  async replay(name: string, request: ReplayRequest = {}, options: ReplayOptions = {}): Promise<ReplayOutcome> {
    const signals = [this.#ended.signal, ...(options.signal ? [options.signal] : [])];
    const run = { ...options, signal: AbortSignal.any(signals) };
    const work = this.#replay(name, request, run);
    this.#underWay.add(work);
    try {
      return await work;
    } catch (error) {
      throw cancelledOr(error, name, run.signal);
    } finally {
      this.#underWay.delete(work);
    }
  }

  /** Cancels what is under way and waits for its end. */
  async close(): Promise<void> {
    this.#ended.abort();
    await Promise.allSettled(this.#underWay);
  }

  async #replay(name: string, request: ReplayRequest, options: ReplayOptions): Promise<ReplayOutcome> {
    const { project, lake } = this.#p;
    const table = project.tables.get(name);
    const stream = table?.mode === "append" ? table.stream : /^bronze\.(.+)$/.exec(name)?.[1];
    if (table === undefined && (stream === undefined || !project.streams.has(stream)))
      throw unknownTable(name, lake.names());
    if (table?.mode === "refresh") {
      const done = this.#claim(name, [name]);
      try {
        const first = await this.#refreshFrom(table, request, options);
        const tables = [first, ...(await this.#refreshOver(new Set([name]), request, options))];
        return { version: first.toVersion, tables };
      } finally {
        done();
      }
    }
    const over = request.only
      ? []
      : appendTablesOver(project, stream as string, table).filter((other) => !this.#p.held(other.name));
    const wanted = [...(table ? [table as AppendTable] : []), ...over];
    const done = this.#claim(name, [name, ...wanted.map((other) => other.name)]);
    try {
      const tables: ReplayedTable[] = [];
      for (const pass of await this.#passes(stream as string, table === undefined, wanted, request))
        tables.push(...(await this.#rebuild(name, pass, options)));
      const changed = new Set(tables.map((one) => one.table));
      this.#p.changed([...changed]);
      tables.push(...(await this.#refreshOver(changed, request, options)));
      return { version: lake.get(name).snapshot.version, tables };
    } finally {
      done();
    }
  }

  /** @throws REPLAY_RUNNING */
  #claim(name: string, tables: readonly string[]): () => void {
    for (const table of tables) {
      const other = this.#running.get(table);
      const together = other === table ? "" : `, with ${other}`;
      if (other !== undefined) throw new MillraceError("REPLAY_RUNNING", { table, with: together });
    }
    for (const table of tables) this.#running.set(table, name);
    return () => {
      for (const table of tables) this.#running.delete(table);
    };
  }

  async #passes(
    stream: string,
    bronze: boolean,
    tables: readonly AppendTable[],
    request: ReplayRequest,
  ): Promise<Pass[]> {
    const source = request.source ?? (bronze ? "log" : "bronze");
    if (bronze && source === "bronze") {
      const hint = `\`millrace replay bronze.${stream} --source log\` reads the log.`;
      throw new MillraceError("REPLAY_NOT_POSSIBLE", {
        table: `bronze.${stream}`,
        reason: "bronze is the source",
        hint,
      });
    }
    await this.#p.flush(stream);
    const firsts = await firstOffsets(this.#p, stream, request, source);
    const all = [...this.#p.project.tables.values()].filter((t) => t.mode === "append" && t.stream === stream);
    const everyTable = all.every((table) => tables.includes(table as AppendTable));
    const common = { stream, everyTable };
    // A table that stands still gets no events from the flow.
    const mixing = tables.filter((table) => table.key.length > 0 || this.#p.held(table.name));
    const others = tables.filter((table) => !mixing.includes(table));
    const passes: Pass[] = [];
    if (bronze || others.length > 0) {
      const last = mixing.length === 0;
      passes.push({ ...common, bronze, tables: others, firsts, source, last, catchesUp: false });
    }
    if (mixing.length > 0 && firsts.some((first) => first !== undefined)) {
      // What a key holds is decided by all of its changes; what the log no longer has, bronze does.
      const whole = firsts.some((first) => first !== 0);
      const from = { firsts: firsts.map(() => 0), source: whole ? ("bronze" as const) : source };
      passes.push({ ...common, bronze: false, tables: mixing, ...from, last: true, catchesUp: true });
    }
    return passes.filter((pass) => pass.firsts.some((first) => first !== undefined));
  }

  async #rebuild(name: string, pass: Pass, options: ReplayOptions): Promise<ReplayedTable[]> {
    for (let attempt = 1; ; attempt++) {
      // A retry that took events into the old version meanwhile would be undone; the second time none comes in between.
      const swapped =
        attempt === 1
          ? await this.#rebuildOnce(name, pass, options, (work) => this.#p.desk.inTurn(work))
          : await this.#p.desk.inTurn(() => this.#rebuildOnce(name, pass, options, (work) => work()));
      if (swapped) return swapped;
    }
  }

  /** Undefined when dead letters of the tables were retried meanwhile. */
  async #rebuildOnce(
    name: string,
    pass: Pass,
    { signal, onProgress = () => undefined }: ReplayOptions,
    inTurn: <T>(work: () => Promise<T>) => Promise<T>,
  ): Promise<ReplayedTable[] | undefined> {
    const run: RunOptions = signal ? { signal } : {};
    const stream = this.#p.project.streams.get(pass.stream);
    if (!stream) throw new MillraceError("INTERNAL", { what: `looking up stream ${pass.stream}` });
    const { build, swaps, marks } = await this.#begin(pass, stream);
    const tell = (phase: "rebuild" | "swap") =>
      onProgress({ phase, table: name, events: build.events, total: build.events + build.remaining() });
    try {
      for (let round = 0; round === 0 || (round < MOST_ROUNDS && build.remaining() > FEW_EVENTS); round++)
        await build.catchUp(run, () => tell("rebuild"));
      for (const swap of swaps) await swap.prepare(run);
      tell("swap");
      return await inTurn(() =>
        this.#p.alone(pass.stream, async () => {
          const swapped: ReplayedTable[] = [];
          for (const [i, swap] of swaps.entries()) {
            const settles = i === 0 && pass.last ? (pass.everyTable ? "all" : "failed") : "none";
            const table = swap.table.name;
            const isRetried = () => this.#retried(pass, table) !== marks.get(table);
            const one = await this.#swap(swap, build, settles, isRetried, async () => {
              await build.catchUp(run, () => tell("swap"));
              if (signal?.aborted && swapped.length === 0) throw signal.reason;
            });
            if (one === "retried") return undefined;
            swapped.push({ ...one, kind: "rebuilt", from: pass.firsts.map((first) => first ?? null) });
          }
          return swapped;
        }),
      );
    } finally {
      for (const swap of swaps) swap.close();
      await build.close();
    }
  }

  /** Takes in what has come and swaps the table, again while others store events in between. */
  async #swap(
    swap: Swap,
    build: Build,
    settles: Findings["settles"],
    isRetried: () => boolean,
    catchUp: () => Promise<void>,
  ): Promise<Swapped | "retried"> {
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
      await giveWay(attempt);
      await catchUp();
      const swapped = await swap.commit(build, settles, isRetried);
      if (swapped !== "behind") return swapped;
    }
    throw new MillraceError("COMMIT_CONFLICT", { table: swap.table.name });
  }

  /** Begins where bronze and the tables are all at the same event. */
  async #begin(
    pass: Pass,
    stream: Stream,
  ): Promise<{ build: Build; swaps: Swap[]; marks: ReadonlyMap<string, string> }> {
    const { alone, flush, lake } = this.#p;
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
      await giveWay(attempt);
      const begun = await alone(pass.stream, async () => {
        if (!pass.catchesUp && !this.#isEven(pass)) return undefined;
        const ends = pass.firsts.map((_, partition) => storedTo(lake, pass.stream, partition) + 1);
        const states = new Map(lake.names().map((name) => [name, lake.get(name).snapshot]));
        const built = [...(pass.bronze ? [`bronze.${pass.stream}`] : []), ...pass.tables.map(({ name }) => name)];
        const marks = new Map(built.map((name) => [name, this.#retried(pass, name)]));
        return { marks, ends, states };
      });
      if (begun) {
        const { marks, ends, states } = begun;
        const watched = () => this.#watched(pass);
        const build = await Build.open(this.#p, { ...pass, ...(pass.catchesUp ? {} : { ends }), stream, watched });
        const swaps = build.built.map((one) => {
          const state = pass.catchesUp ? undefined : states.get(one.lakeTable.name);
          return new Swap(this.#p, pass.stream, pass.firsts, one, build, state);
        });
        return { build, swaps, marks };
      }
      await flush(pass.stream); // a flush that stored in some tables and failed in others is done again
    }
    throw new MillraceError("COMMIT_CONFLICT", { table: pass.tables.map(({ name }) => name).join(", ") });
  }

  #isEven({ stream, tables, firsts }: Pass): boolean {
    const { lake } = this.#p;
    return firsts.every((_, partition) =>
      tables.every(
        ({ name }) => committedTo(lake.get(name).snapshot, stream, partition) === storedTo(lake, stream, partition),
      ),
    );
  }

  /** Which retries of dead letters a table has taken, as text to be compared. */
  #retried({ stream, firsts }: Pass, table: string): string {
    const { txn } = this.#p.lake.get(table).snapshot;
    return firsts.map((_, partition) => txn.get(retriedMark(stream, partition)) ?? -1).join();
  }

  /** By table and partition, the events that have dead letters. */
  async #watched({ tables }: Pass): Promise<Map<string, Map<number, number[]>>> {
    const watched = new Map<string, Map<number, number[]>>();
    for (const table of tables) {
      const letters = await readLetters(this.#p, table);
      const byPartition = Map.groupBy(letters, ({ partition }) => partition);
      watched.set(
        table.name,
        new Map([...byPartition].map(([partition, list]) => [partition, list.map(({ offset }) => offset)])),
      );
    }
    return watched;
  }

  /** Refreshes what the changed tables reach, inputs before what reads them. */
  async #refreshOver(
    changed: Set<string>,
    { only }: ReplayRequest,
    { signal, onProgress }: ReplayOptions,
  ): Promise<ReplayedTable[]> {
    if (only) return [];
    const { project, refresher, lake } = this.#p;
    const refreshed: ReplayedTable[] = [];
    for (const table of project.tables.values()) {
      const due = table.inputs.some((input) => changed.has(sourceTable(project, input)) || changed.has(input));
      if (table.mode !== "refresh" || changed.has(table.name) || !due || signal?.aborted) continue;
      onProgress?.({ phase: "refresh", table: table.name, events: 0, total: 0 });
      const before = lake.get(table.name).snapshot;
      try {
        await refresher.refresh(table.name, signal ? { signal } : {});
      } catch (error) {
        if (signal?.aborted) break; // the swap is done; what is left follows by itself, as after every commit
        const failure = error instanceof Error ? error.message : String(error);
        refreshed.push({ ...this.#refreshed(table, before), failure });
        continue;
      }
      changed.add(table.name);
      refreshed.push(this.#refreshed(table, before));
    }
    return refreshed;
  }

  #refreshed(
    { name }: Table,
    before: { version: number; files: Parameters<typeof rowCount>[0]["files"] },
  ): ReplayedTable {
    const { snapshot } = this.#p.lake.get(name);
    return {
      table: name,
      kind: "refreshed",
      from: [],
      fromVersion: before.version,
      toVersion: snapshot.version,
      rowsBefore: rowCount(before),
      rowsAfter: rowCount(snapshot),
      lettersOpened: 0,
      lettersClosed: 0,
    };
  }

  /** A table that combines rows: all of it, or the values of `by` that rows of the events touch. */
  async #refreshFrom(table: RefreshTable, request: ReplayRequest, options: ReplayOptions): Promise<ReplayedTable> {
    const { lake, refresher, project } = this.#p;
    const impossible = (reason: string, hint: string) =>
      new MillraceError("REPLAY_NOT_POSSIBLE", { table: table.name, reason, hint });
    if (request.source === "log")
      throw impossible("it combines rows of other tables", "Replay the tables it reads; it follows them.");
    const before = lake.get(table.name).snapshot;
    options.onProgress?.({ phase: "refresh", table: table.name, events: 0, total: 0 });
    const run = options.signal ? { signal: options.signal } : {};
    if (request.fromOffset === undefined && request.fromTimeMs === undefined) {
      await refresher.refresh(table.name, { ...run, full: true });
      return this.#refreshed(table, before);
    }
    const whole = "Replay all of it, without an offset or a time.";
    if (table.byInputs.length === 0)
      throw impossible("it has no `by` that would tell which rows an event reaches", whole);
    const sources = table.byInputs.map((input) => ({ input, source: project.tables.get(input) }));
    for (const { input, source } of sources) {
      if (source?.mode === "refresh") throw impossible(`${input} combines rows, which come from no one event`, whole);
    }
    const streams = new Set(sources.map(({ input, source }) => (source?.mode === "append" ? source.stream : input)));
    if (request.fromOffset !== undefined && streams.size > 1) {
      throw impossible(`it reads ${[...streams].join(" and ")}, each with offsets of its own`, "Give a time.");
    }
    const rows: Relation[] = [];
    const firsts = new Map<string, Firsts>();
    for (const stream of streams) {
      await this.#p.flush(stream);
      firsts.set(stream, await firstOffsets(this.#p, stream, request, "bronze"));
    }
    for (const { input, source } of sources) {
      const stream = source?.mode === "append" ? source.stream : input;
      rows.push(this.#rowsFrom(input, firsts.get(stream) ?? []));
    }
    await refresher.refresh(table.name, { ...run, rows });
    return { ...this.#refreshed(table, before), from: [...firsts.values()].flat().map((first) => first ?? null) };
  }

  /** The rows of an input that events from some offsets on brought. */
  #rowsFrom(input: string, firsts: Firsts): Relation {
    const { lake, project } = this.#p;
    const source = lake.get(sourceTable(project, input));
    const parts = firsts.flatMap((first, partition) =>
      first === undefined ? [] : [`(_partition = ${partition} and _offset >= ${first})`],
    );
    const least = Math.min(...firsts.map((first) => first ?? Number.POSITIVE_INFINITY));
    const files = Number.isFinite(least)
      ? pruneFiles(source.snapshot.files, [{ column: "_offset", op: ">=", value: least }])
      : [];
    const stored = lake.relation(source, source.snapshot, files);
    const stream = project.streams.get(input);
    const rows: Relation =
      stream && source.name === `bronze.${input}` ? { kind: "view", statement: parseBronze(stream, stored) } : stored;
    const statement: Statement = {
      sql: `select * from rows where ${parts.join(" or ") || "false"}`,
      inputs: new Map([["rows", rows]]),
    };
    return { kind: "view", statement };
  }
}

/** The append tables that a table brings rows, over any number of steps; over bronze all of its stream. */
function appendTablesOver(project: Project, stream: string, table: Table | undefined): AppendTable[] {
  const over = new Set<string>(table ? [table.name] : []);
  const found: AppendTable[] = [];
  for (const other of project.tables.values()) {
    if (other.mode !== "append" || other.stream !== stream || other === table) continue;
    if (table !== undefined && !over.has(other.driver)) continue;
    over.add(other.name);
    found.push(other);
  }
  return found;
}
