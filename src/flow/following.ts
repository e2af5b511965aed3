/**
 * Keeps what this process knows up with what other processes do: the ends of the log, the newest commits of tables, and, behind those, what is
 * staged here of events that others have stored meanwhile. A process that works alone has none of it.
 *
 * Reads are zero-lag because every query asks for itself: the log for its ends, the tables for their newest commits, each at most once for
 * all queries of one moment. Notices and a look every few seconds serve those who wait for tables, and keep what is staged small.
 */
import type { Logger } from "pino";
import type { AppendTable, Project } from "../define/project.ts";
import type { Snapshot } from "../lake/delta-table.ts";
import type { EventLog } from "../log/event-log.ts";
import type { LakeTables } from "./lake-tables.ts";
import type { Unavailable } from "./mend-table.ts";
import type { Ownership } from "./ownership.ts";
import { committedTo, inputVersion } from "./progress.ts";
import { isStreamItself, sourceTable, type VirtualTable } from "./relations.ts";
import type { CommitNotices } from "./sharing.ts";
import type { Staging } from "./staging.ts";

/** Notices may be lost; whoever waits for a table hears of its commits after this time at the latest. */
const LOOK_MS = 10_000;
/** How soon an owner sees that events have come whose arrival it was not told of: far below the time until they are stored. */
const ENDS_MS = 500;

export interface FollowingParts {
  readonly project: Project;
  readonly lake: LakeTables;
  readonly log: Pick<EventLog, "refresh" | "partitions">;
  readonly stagings: ReadonlyMap<string, readonly Staging[]>;
  readonly virtual: ReadonlyMap<string, VirtualTable>;
  readonly ownership: Ownership;
  readonly notices: CommitNotices;
  /** Told which tables other processes have committed to. */
  readonly changed: (tables: readonly string[]) => void;
  /** Does work while nothing of the stream is flushed here. */
  readonly alone: (stream: string, work: () => Promise<void>) => Promise<void>;
  readonly logger: Logger;
}

export class Following {
  readonly #o: FollowingParts;
  /** The round that has not begun yet, and what it is to look at. */
  #next: { readonly tables: Set<string>; readonly done: Promise<ReadonlyMap<string, unknown>> } | undefined;
  #last: Promise<unknown> = Promise.resolve();
  /** Tables that are about to take events again. */
  #returning: ReadonlySet<string> = new Set();
  #reconsidering: Promise<void> = Promise.resolve();
  /** Since when tables lack events, of those that lack some now. */
  readonly #behindSince = new Map<string, number>();
  readonly #ends: (() => void)[] = [];
  readonly #looks = new Set<Promise<void>>();

  constructor(parts: FollowingParts) {
    this.#o = parts;
    parts.lake.share((tables) => this.refresh(tables));
  }

  start(): void {
    const { notices, lake, changed } = this.#o;
    const every = (ms: number, look: () => Promise<void>) => {
      const timer = setInterval(() => this.#look(look), ms);
      this.#ends.push(() => clearInterval(timer));
    };
    every(LOOK_MS, async () => {
      await this.all();
      await this.reconsider();
    });
    every(ENDS_MS, () => this.#refreshOwned());
    this.#ends.push(
      notices.on((tables) => this.#look(() => this.#heard(tables))),
      lake.onCommit((table, by) => (by === "us" ? notices.committed([table]) : changed([table]))),
    );
  }

  async stop(): Promise<void> {
    for (const end of this.#ends.splice(0)) end();
    await Promise.allSettled(this.#looks);
  }

  /** What queries of some names need: everything acknowledged and committed, by any process, before the call. */
  async bring(names: readonly string[], streams: ReadonlySet<string>): Promise<void> {
    if ([...names].some((name) => this.#o.virtual.get(name)?.ofEverything)) return this.all();
    await Promise.all([this.#o.log.refresh(streams), this.refresh(this.#tablesBehind(names, streams))]);
    await this.follow(streams);
  }

  /** The same for everything there is. */
  async all(): Promise<void> {
    await this.refresh(this.#o.lake.names());
    // Behind the tables, so that no table is found to hold more than the log.
    await this.#o.log.refresh();
    await this.follow(this.#o.project.streams.keys());
  }

  /** Brings tables to the newest commits there are at the moment of the call. */
  async refresh(tables: Iterable<string>): Promise<void> {
    const wanted = [...tables];
    if (this.#next === undefined) {
      const tables = new Set<string>();
      const begin = () => {
        this.#next = undefined;
        return this.#round(tables);
      };
      const done = this.#last.then(begin, begin);
      this.#last = done;
      this.#next = { tables, done };
    }
    for (const table of wanted) this.#next.tables.add(table);
    const failures = await this.#next.done;
    const failed = wanted.find((table) => failures.has(table));
    if (failed !== undefined) throw failures.get(failed);
  }

  /** Moves what is staged on behind what is stored. */
  async follow(streams: Iterable<string>): Promise<void> {
    const { project, lake, stagings } = this.#o;
    const all: Promise<void>[] = [];
    for (const stream of streams) {
      for (const staging of stagings.get(stream) ?? [])
        all.push(staging.follow(storedInAll(project, lake, stream, staging.partition, this.#returning)));
    }
    await Promise.all(all);
  }

  /**
   * Looks which tables stand still by what is known now. One that somebody has built takes events again: what of its streams is staged begins
   * anew where the table is. One that is left behind, because those who store do not know it yet, stands still until it is built.
   */
  reconsider(): Promise<void> {
    const turn = this.#reconsidering.then(() => this.#reconsider());
    this.#reconsidering = turn.catch(() => undefined); // told to whoever asked
    return turn;
  }

  async #reconsider(): Promise<void> {
    const { project, lake, stagings, alone } = this.#o;
    const next = lake.heldNow(project);
    const back = [...lake.unavailable().keys()].filter((name) => !next.has(name));
    this.#returning = new Set(back);
    try {
      const tables = back.flatMap((name) => project.tables.get(name) ?? []).filter((table) => table.mode === "append");
      for (const [stream, returning] of Map.groupBy(tables, (table) => table.stream)) {
        await alone(stream, async () => {
          for (const staging of stagings.get(stream) ?? []) {
            const from = storedInAll(project, lake, stream, staging.partition, this.#returning) + 1;
            await staging.restart(
              from,
              returning.filter((table) => !isStreamItself(table)),
            );
          }
          for (const { name } of returning) lake.take(name);
        });
      }
      lake.holdOnly(this.#patient(lake.heldNow(project)));
    } finally {
      this.#returning = new Set();
    }
    if (back.length > 0) this.#o.changed(back);
  }

  /** Without those that are behind for the first time: between the commits of one flush a table always is. */
  #patient(held: Map<string, Unavailable>): Map<string, Unavailable> {
    const nowMs = performance.now();
    for (const name of this.#behindSince.keys()) if (!held.has(name)) this.#behindSince.delete(name);
    for (const name of held.keys()) {
      const sinceMs = this.#behindSince.get(name) ?? nowMs;
      this.#behindSince.set(name, sinceMs);
      if (!this.#o.lake.held(name) && nowMs - sinceMs < LOOK_MS / 2) held.delete(name);
    }
    return held;
  }

  /** Looks at tables once, all of them at once. Resolves to those that could not be looked at, with the reason. */
  async #round(tables: ReadonlySet<string>): Promise<ReadonlyMap<string, unknown>> {
    const { lake } = this.#o;
    const found = new Map<string, Snapshot>();
    const failures = new Map<string, unknown>();
    for (let wanted: ReadonlySet<string> = tables; wanted.size > 0; wanted = this.#behind(found, failures)) {
      await Promise.all(
        [...wanted].map(async (name) => {
          if (!lake.has(name)) return;
          try {
            const snapshot = await lake.get(name).delta.snapshot();
            if (snapshot) found.set(name, snapshot);
          } catch (error) {
            failures.set(name, error);
          }
        }),
      );
    }
    lake.renew(found);
    return failures;
  }

  /**
   * Inputs that are older than what tables found were computed from. A picture with such a pair would show the rows in between twice, as
   * part of the one and as staged events of the other.
   */
  #behind(found: Map<string, Snapshot>, failures: Map<string, unknown>): Set<string> {
    const { project, lake } = this.#o;
    const behind = new Set<string>();
    for (const [name, snapshot] of found) {
      const table = project.tables.get(name);
      if (table?.mode !== "refresh") continue;
      for (const input of table.inputs) {
        const source = sourceTable(project, input);
        if (!lake.has(source)) continue;
        const newest = Math.max(found.get(source)?.version ?? -1, lake.get(source).snapshot.version);
        if (newest >= inputVersion(snapshot, input)) continue;
        const failure = failures.get(source);
        if (failure === undefined) behind.add(source);
        else {
          failures.set(name, failure);
          found.delete(name);
        }
      }
    }
    return behind;
  }

  /** The stored tables that queries of some names read, and all those that tell how far a stream is stored. */
  #tablesBehind(names: Iterable<string>, streams: ReadonlySet<string>): Set<string> {
    const { project, virtual, lake } = this.#o;
    const found = new Set<string>();
    const visit = (name: string) => {
      const computed = virtual.get(name);
      const table = project.tables.get(name);
      if (lake.has(name)) found.add(name);
      if (computed || table?.mode === "refresh") (computed ?? table)?.inputs.forEach(visit);
    };
    for (const name of names) visit(name);
    for (const stream of streams) for (const name of tablesOf(project, lake, stream)) found.add(name);
    return found;
  }

  async #heard(tables: readonly string[]): Promise<void> {
    await this.refresh(tables.filter((table) => this.#o.lake.has(table)));
    const streams = new Set(tables.map((name) => streamOf(this.#o.project, name)));
    await this.follow([...streams].filter((stream) => stream !== undefined));
  }

  async #refreshOwned(): Promise<void> {
    const { project, log, ownership } = this.#o;
    const owned = [...project.streams.keys()].filter((stream) =>
      Array.from({ length: log.partitions(stream) }, (_, p) => p).some((p) => ownership.owns(stream, p)),
    );
    if (owned.length > 0) await log.refresh(owned);
  }

  #look(look: () => Promise<void>): void {
    const watched = look()
      .catch((error: unknown) => this.#o.logger.warn({ err: error }, "looking at what other workers do failed"))
      .finally(() => this.#looks.delete(watched));
    this.#looks.add(watched);
  }
}

/** Last offset of a partition that every table of its stream has, of those that take events and some `more`. */
export function storedInAll(
  project: Project,
  lake: LakeTables,
  stream: string,
  partition: number,
  more: ReadonlySet<string> = new Set(),
): number {
  const stored = tablesOf(project, lake, stream, more).map((name) =>
    committedTo(lake.get(name).snapshot, stream, partition),
  );
  return stored.length === 0 ? -1 : Math.min(...stored);
}

/** Bronze and the append tables of a stream that take its events now. */
function tablesOf(project: Project, lake: LakeTables, stream: string, more: ReadonlySet<string> = new Set()): string[] {
  const tables = [...project.tables.values()].filter(
    (table): table is AppendTable => table.mode === "append" && table.stream === stream,
  );
  return [`bronze.${stream}`, ...tables.map(({ name }) => name)].filter(
    (name) => lake.has(name) && (more.has(name) || !lake.held(name)),
  );
}

/** The stream whose events come into a table one by one. */
function streamOf(project: Project, name: string): string | undefined {
  const table = project.tables.get(name);
  return table?.mode === "append" ? table.stream : /^bronze\.(.+)$/.exec(name)?.[1];
}
