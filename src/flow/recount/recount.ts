/**
 * The ledger's recount: it counts again, all the time and independently of who wrote it, what the tables hold, and compares that with
 * the counters committed beside the rows, with bronze, with the log and with the dead letters.
 *
 * Round by round it takes the files it has not counted yet, the newest first, a few at a time; when a stream has none left, its hops
 * are compared at one consistent set of versions. When nothing is new, files counted longest ago are counted again, so that damage to
 * what has long been stored is found as well. Between rounds it rests for a multiple of the time it worked: it never takes more than a
 * small share of the machine, whatever there is to count.
 *
 * Nothing is kept over a restart: the whole history is then counted anew, which is the point of counting.
 */
import type { Logger } from "pino";
import type { AppendTable, Project } from "../../define/project.ts";
import type { SqlEngine } from "../../engine/sql-engine.ts";
import { MillraceError } from "../../errors.ts";
import type { Snapshot } from "../../lake/delta-table.ts";
import type { Ends, EventLog } from "../../log/event-log.ts";
import type { Alerts } from "../alerts.ts";
import { isInternal } from "../dead-letters.ts";
import type { LakeTable, LakeTables } from "../lake-tables.ts";
import { isStreamItself, type Relations } from "../relations.ts";
import { CountedFiles, type Snapshots } from "./counted-files.ts";
import { deadCounts } from "./dead-counts.ts";
import { type FileToCount, sumCounts } from "./file-counts.ts";
import {
  compareBronze,
  compareProgress,
  compareTable,
  type Difference,
  type HopTotals,
  hopTotals,
} from "./hop-totals.ts";
import { type Imbalance, imbalanceAlert, imbalanceKey, type Range, rangesText, streamOf } from "./imbalance.ts";
import { type LocateParts, locateInBronze, locateInTable, type Part } from "./locate.ts";
import { PartitionedEvents } from "./partitioned-events.ts";

/** How often it looks for what is new. */
const ROUND_MS = 1000;
/** Share of the time in which a statement of the recount runs: at 10 million rows a second, 100 million rows take a few minutes. */
const SHARE = 0.05;
/** While there is more to count. A file that the disk did not give is tried again after it. */
const PAUSE_MS = 200;
/** Dead letters are compared with the counters at once when either has changed, and this often while only others of the events move on. */
const DEAD_MS = 30_000;
export interface RecountParts {
  readonly project: Project;
  readonly lake: LakeTables;
  readonly log: EventLog;
  readonly engine: SqlEngine;
  readonly relations: Relations;
  readonly alerts: Alerts;
  /** Does work while neither a flush of the stream nor a retry of dead letters is under way. */
  readonly exclusively: <T>(stream: string, work: () => Promise<T>) => Promise<T>;
  /** Whether this process counts by itself, and says what does not balance. */
  readonly leads: () => boolean;
  /** Brings tables up to what other processes have committed; undefined while there are none. */
  readonly fresh: (() => Promise<void>) | undefined;
  readonly logger: Logger;
  readonly clock: () => number;
}

export interface Verified {
  /** Last offset of the partition that was compared. */
  readonly to: number;
  readonly atMs: number;
}

export interface RecountFigures {
  /** Data files counted since the start, those counted again among them. */
  readonly files: number;
  /** Time spent at it since the start. */
  readonly seconds: number;
  /** Files that have not been counted yet. */
  readonly waiting: number;
}

/** One hop at the versions that are compared. */
interface Hop {
  readonly stream: string;
  readonly partition: number;
  readonly table: LakeTable;
  readonly snapshot: Snapshot;
  readonly totals: HopTotals;
}

/** One consistent set of versions, so that what is committed meanwhile is no part of a comparison. */
interface Picture {
  readonly snapshots: Snapshots;
  readonly ends: ReadonlyMap<string, readonly Ends[]>;
}

export class Recount {
  readonly #o: RecountParts;
  readonly #stop = new AbortController();
  readonly #files: CountedFiles;
  readonly #verified = new Map<string, Verified>();
  readonly #partitioned: PartitionedEvents;
  /** By stream, and by table for what concerns files. */
  readonly #found = new Map<string, readonly Imbalance[]>();
  /** By stream: what the dead letters were compared at, and when. */
  readonly #deadAt = new Map<string, { state: string; committed: string; atMs: number }>();
  /** By stream: the versions that were compared. */
  readonly #compared = new Map<string, string>();
  /** True once everything has been counted and compared since the start: only then is what was wrong before known to be right. */
  #complete = false;
  #running: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #busyMs = 0;
  #waiting = 0;

  constructor(parts: RecountParts) {
    this.#o = parts;
    this.#files = new CountedFiles(parts);
    this.#partitioned = new PartitionedEvents(parts);
  }

  start(): void {
    this.#later(ROUND_MS);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    await this.#running;
  }

  /** Until where a hop was found balanced, and when; undefined while it has not been compared since the start. */
  verified(hop: string, partition: number): Verified | undefined {
    return this.#verified.get(`${hop}/${partition}`);
  }

  /** What does not balance, the files of tables included. */
  imbalances(): Imbalance[] {
    return [...this.#found.values()].flat();
  }

  figures(): RecountFigures {
    return { files: this.#files.total, seconds: this.#busyMs / 1000, waiting: this.#waiting };
  }

  /** Counts every file of every table now, also those counted before, and compares. Resolves to what does not balance. */
  async verify(): Promise<Imbalance[]> {
    const turn = this.#running.then(async () => {
      this.#files.forget();
      this.#compared.clear();
      this.#deadAt.clear();
      this.#partitioned.forget();
      while (await this.#round());
    });
    this.#running = turn.catch(() => undefined); // the caller sees the failure; the next round starts afresh
    await turn;
    return this.imbalances();
  }

  #later(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#running = this.#running.then(() => this.#turn());
    }, ms);
    this.#timer.unref();
  }

  async #turn(): Promise<void> {
    const busyBefore = this.#busyMs;
    try {
      if (!this.#o.leads()) this.#leaveToOthers();
      else if (!this.#stop.signal.aborted && !(await this.#round())) await this.#again();
    } catch (error) {
      if (!this.#stop.signal.aborted)
        this.#o.logger.error({ err: error }, "the ledger's recount failed; it is tried again");
    }
    if (this.#stop.signal.aborted) return;
    this.#later(Math.max(this.#waiting > 0 ? PAUSE_MS : ROUND_MS, (this.#busyMs - busyBefore) * (1 / SHARE - 1)));
  }

  /** What was found is told by whoever counts now. */
  #leaveToOthers(): void {
    this.#found.clear();
    this.#verified.clear();
    this.#compared.clear();
    this.#deadAt.clear();
    this.#complete = false;
  }

  /** Resolves to whether there is more to count at once. */
  async #round(): Promise<boolean> {
    const began = performance.now();
    try {
      const picture = await this.#takePicture();
      await this.#count(this.#files.uncounted(picture.snapshots));
      this.#waiting = this.#files.uncounted(picture.snapshots).length;
      for (const [name, snapshot] of picture.snapshots) {
        this.#note(`file ${name}`, this.#files.damaged(name, snapshot));
      }
      for (const stream of picture.ends.keys()) await this.#compare(stream, picture);
      this.#complete ||= this.#waiting === 0 && [...picture.ends.keys()].every((stream) => this.#settled(stream));
      const alerts = this.imbalances().map(imbalanceAlert);
      if (this.#o.leads()) await this.#o.alerts.settle("ledger", "imbalance", alerts, { resolve: this.#complete });
      return this.#waiting > 0;
    } finally {
      this.#busyMs += performance.now() - began;
    }
  }

  /** Tables first: what they hold is in the log by the time that its ends are taken. */
  async #takePicture(): Promise<Picture> {
    const { log, project, fresh } = this.#o;
    await fresh?.();
    const snapshots = this.#snapshots();
    if (fresh) await log.refresh();
    const ends = new Map<string, Ends[]>();
    for (const stream of project.streams.keys()) {
      if (isInternal(stream)) continue;
      const partitions = Array.from({ length: log.partitions(stream) }, (_, partition) => partition);
      ends.set(
        stream,
        partitions.map((partition) => log.ends(stream, partition)),
      );
    }
    return { snapshots, ends };
  }

  /** Taken without a pause, as every commit of the platform is seen by all of it at once. */
  #snapshots(): Snapshots {
    const { lake } = this.#o;
    return new Map(lake.names().map((name) => [name, lake.get(name).snapshot]));
  }

  /** Counts files again that were counted longest ago, and those that were damaged. */
  async #again(): Promise<void> {
    const began = performance.now();
    try {
      await this.#count(this.#files.due(this.#snapshots()));
    } finally {
      this.#busyMs += performance.now() - began;
    }
  }

  async #count(files: readonly FileToCount[]): Promise<void> {
    for (const { table } of await this.#files.count(files, this.#stop.signal)) {
      const stream = streamOf(this.#o.project, table.name);
      if (stream !== undefined) this.#compared.delete(stream);
    }
  }

  /** Compares the hops of a stream, once every file of theirs is counted. */
  async #compare(stream: string, picture: Picture): Promise<void> {
    const { project, lake } = this.#o;
    // A table that stands still is told of elsewhere, and is compared when it is back.
    const there = (name: string) => lake.has(name) && lake.held(name) === undefined;
    const definitions = appendTables(project, stream).filter(({ name }) => there(name));
    if (!there(`bronze.${stream}`)) return;
    const tables = [`bronze.${stream}`, ...definitions.map(({ name }) => name)].map((name) => lake.get(name));
    const snapshots = tables.map(({ name, snapshot }) => picture.snapshots.get(name) ?? snapshot);
    const versions = snapshots.map(({ version }, i) => `${tables[i]?.name}@${version}`).join(" ");
    if (this.#compared.get(stream) === versions && !this.#deadDue(stream)) return;
    const counts = tables.map((table, i) => this.#files.of(table.name, snapshots[i] as Snapshot));
    if (counts.includes(undefined)) return;
    const found: Imbalance[] = [];
    const balanced: Hop[] = [];
    for (const [partition, ends] of (picture.ends.get(stream) ?? []).entries()) {
      const hops = tables.map((table, i): Hop => {
        const snapshot = snapshots[i] as Snapshot;
        const count = sumCounts(counts[i] ?? [], partition);
        return { stream, partition, table, snapshot, totals: hopTotals(snapshot, stream, partition, count) };
      });
      const [bronze] = hops;
      if (!bronze) continue;
      for (const [i, hop] of hops.entries()) {
        const definition = definitions[i - 1];
        const differences = compareProgress(hop.totals, ends);
        if (!definition) differences.push(...compareBronze(hop.totals));
        else differences.push(...(await this.#compareTable(definition, hop, bronze.totals)));
        for (const difference of differences) found.push(await this.#locate(difference, hop, bronze, definition));
        if (differences.length === 0) balanced.push(hop);
      }
    }
    const dead = await this.#compareDead(stream, balanced);
    found.push(...dead);
    this.#note(`stream ${stream}`, found);
    this.#compared.set(stream, versions);
    const atMs = this.#o.clock();
    for (const { table, partition, totals } of balanced) {
      if (dead.some((one) => one.hop === table.name && one.partition === partition)) continue;
      this.#verified.set(`${table.name}/${partition}`, { to: totals.committed, atMs });
    }
  }

  async #compareTable(definition: AppendTable, hop: Hop, bronze: HopTotals): Promise<Difference[]> {
    const kind = { itself: isStreamItself(definition), keyed: definition.key.length > 0 };
    const differences = compareTable(hop.totals, bronze, kind);
    const inSeveralFiles = hop.table.partitionColumns.length > 0 && !kind.keyed;
    if (!inSeveralFiles || !differences.some(({ what }) => what === "stored")) return differences;
    // The rows of one event may lie in several files there, and each of these has counted it.
    const events = await this.#partitioned.count(
      this.#part(hop),
      hop.totals.committed,
      this.#stop.signal,
      this.#files.pass,
    );
    return compareTable({ ...hop.totals, count: { ...hop.totals.count, events } }, bronze, kind);
  }

  /**
   * Dead letters are settled step by step, so a difference may be a retry under way. It counts only if it is there as well while no
   * retry and no flush runs.
   */
  async #compareDead(stream: string, hops: readonly Hop[]): Promise<Imbalance[]> {
    const { log } = this.#o;
    const letters = ["_dead_letters", "_dead_letter_actions"].map((name) => log.ends(name, 0).end);
    const state = JSON.stringify([letters, hops.map(({ table, totals }) => [table.name, totals.counters.dead])]);
    const committed = hops.map(({ totals }) => totals.committed).join(" ");
    const before = this.#deadAt.get(stream);
    if (before?.state === state && (before.committed === committed || !this.#deadDue(stream))) {
      if (before.committed === committed) this.#deadAt.set(stream, { ...before, atMs: this.#o.clock() });
      return this.#knownDead(stream);
    }
    let wrong = await this.#wrongDead(hops);
    if (wrong.length > 0) {
      wrong = await this.#o.exclusively(stream, () =>
        this.#wrongDead(
          wrong.map(([hop]) => {
            const { snapshot } = hop.table;
            return { ...hop, snapshot, totals: hopTotals(snapshot, stream, hop.partition, hop.totals.count) };
          }),
        ),
      );
    }
    const found: Imbalance[] = [];
    for (const [hop, expected] of wrong) {
      const { dead } = hop.totals.counters;
      found.push(await this.#locate({ what: "dead", expected, found: dead }, hop, hop, undefined));
    }
    this.#deadAt.set(stream, { state, committed, atMs: this.#o.clock() });
    return found;
  }

  #deadDue(stream: string): boolean {
    const age = this.#o.clock() - (this.#deadAt.get(stream)?.atMs ?? 0);
    return age > DEAD_MS || age < 0;
  }

  #knownDead(stream: string): Imbalance[] {
    return (this.#found.get(`stream ${stream}`) ?? []).filter(({ what }) => what === "dead");
  }

  /** The hops whose counter of dead-lettered events is not what their letters say, with the number these say. */
  async #wrongDead(hops: readonly Hop[]): Promise<[Hop, number][]> {
    // Every accepted event goes into bronze, so letters are of the hops behind it.
    const behind = hops.filter(({ table }) => table.definition !== undefined);
    if (behind.length === 0) return [];
    const { relations, engine } = this.#o;
    const places = behind.map(({ stream, partition, table, totals }) => ({
      ...{ stream, partition, hop: table.name, committed: totals.committed },
    }));
    const counts = await deadCounts({ relations, engine, signal: this.#stop.signal }, places);
    return behind.flatMap((hop, i): [Hop, number][] => {
      const count = counts[i] ?? 0;
      return count === hop.totals.counters.dead ? [] : [[hop, count]];
    });
  }

  /** True when a stream has been compared, or stands still and so keeps what was found. */
  #settled(stream: string): boolean {
    return this.#compared.has(stream) || this.#o.lake.held(`bronze.${stream}`) !== undefined;
  }

  async #locate(
    difference: Difference,
    hop: Hop,
    bronze: Hop,
    definition: AppendTable | undefined,
  ): Promise<Imbalance> {
    const { what, expected, found } = difference;
    const { stream, partition, table, totals } = hop;
    const known = this.#found
      .get(`stream ${stream}`)
      ?.find((one) => one.what === what && one.hop === table.name && one.partition === partition);
    // Where it lies was looked for when it was first met; only another extent is worth another look.
    if (known && known.expected === expected && known.found === found) return known;
    const ranges = await this.#ranges(difference, hop, bronze, definition);
    const [first, last] = [ranges[0], ranges.at(-1)];
    const [from, to] = first && last ? [first.from, Math.max(...ranges.map((range) => range.to))] : this.#since(hop);
    const place = `${table.name}, partition ${partition} of stream ${stream}`;
    const where = first ? `at offsets ${rangesText(ranges)}` : `somewhere in offsets ${from} to ${to}`;
    return {
      ...{ what, stream, hop: table.name, partition, from, to, ranges, expected, found, file: undefined },
      message: `${place}: ${sentence(difference, totals)}, ${where}`,
      sinceMs: known?.sinceMs ?? this.#o.clock(),
    };
  }

  async #ranges(
    { what, expected, found }: Difference,
    hop: Hop,
    bronze: Hop,
    definition: AppendTable | undefined,
  ): Promise<Range[]> {
    const { committed, count } = hop.totals;
    const o: LocateParts = { ...this.#o, signal: this.#stop.signal, pass: this.#files.pass };
    if (what === "progress") return [{ from: committed + 1, to: count.max }];
    if (what === "log") {
      return found < expected ? [{ from: found, to: expected - 1 }] : [{ from: expected, to: found - 1 }];
    }
    try {
      if (what === "rows") return await locateInBronze(o, this.#part(hop), committed);
      if (what === "stored" && definition) {
        const looksFor = found < expected ? "missing" : "surplus";
        return await locateInTable(o, definition, this.#part(hop), this.#part(bronze), committed, looksFor);
      }
    } catch (error) {
      // The difference stands whether its place can be told or not, and a file that cannot be read is named by itself.
      if (!(error instanceof MillraceError) || this.#stop.signal.aborted) throw error;
      this.#o.logger.warn({ err: error, table: hop.table.name }, "an imbalance could not be located");
    }
    return [];
  }

  /** Where a difference must lie that could not be located: behind what was found balanced before. */
  #since({ table, partition, totals }: Hop): [number, number] {
    const { to = -1 } = this.verified(table.name, partition) ?? {};
    return [to < totals.committed ? to + 1 : 0, Math.max(0, totals.committed)];
  }

  #part({ table, partition, snapshot }: Hop): Part {
    return this.#files.part(table, snapshot, partition);
  }

  /** Notes what was found somewhere; what was there before keeps the moment it was first seen. */
  #note(where: string, found: readonly Imbalance[]): void {
    const before = new Map((this.#found.get(where) ?? []).map((one) => [imbalanceKey(one), one]));
    for (const one of found) {
      if (!before.has(imbalanceKey(one)))
        this.#o.logger.error({ imbalance: one }, `the ledger does not balance: ${one.message}`);
    }
    const kept = found.map((one) => ({ ...one, sinceMs: before.get(imbalanceKey(one))?.sinceMs ?? one.sinceMs }));
    if (kept.length > 0) this.#found.set(where, kept);
    else this.#found.delete(where);
  }
}

function appendTables(project: Project, stream: string): AppendTable[] {
  return [...project.tables.values()].filter((t): t is AppendTable => t.mode === "append" && t.stream === stream);
}

function sentence({ what, expected, found }: Difference, { committed, count }: HopTotals): string {
  switch (what) {
    case "rows":
      return `${committed + 1} events were stored, there are ${count.rows} rows of ${count.events} events`;
    case "stored":
      return `${expected} events were counted as stored, there are ${found}`;
    case "duplicate":
      return `${found} events were counted as second arrivals, bronze marks ${expected}`;
    case "dead":
      return `${found} events were counted as dead-lettered, there are letters of ${expected}`;
    case "counters":
      return `the counters say what became of ${found} events, ${expected} were taken`;
    case "progress":
      return `events up to ${expected} were taken, there are rows up to ${found}`;
    case "log":
      return found < expected
        ? `${expected} events were taken, the log ends at ${found}`
        : `${expected} events were taken, the log begins at ${found}`;
  }
}
