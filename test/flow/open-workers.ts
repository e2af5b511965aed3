/**
 * Several flows over one log and one lake, each with an engine and a data folder of its own, as several processes have them. Who owns what, who
 * leads, and what is heard of commits, is the test's to say: nothing may depend on any of it but the time that things take.
 */
import { mkdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setImmediate } from "node:timers/promises";
import { pino } from "pino";
import { loadProject } from "../../src/define/load-project.ts";
import { openDuckdbEngine } from "../../src/engine/duckdb-engine.ts";
import { Flow } from "../../src/flow/flow.ts";
import type { Sharing } from "../../src/flow/sharing.ts";
import { openFsStore } from "../../src/lake/fs-store.ts";
import type { ObjectStore } from "../../src/lake/object-store.ts";
import type { Assignment, GroupOptions, Membership, Owned } from "../../src/log/assignment.ts";
import { openEmbeddedLog } from "../../src/log/embedded-log.ts";
import type { Appended, Batch, Ends, EventLog, Run } from "../../src/log/event-log.ts";
import { keepPoolAwake } from "../../src/platform/wake-pool.ts";
import { DAY_MS } from "./open-flow.ts";

export interface ClusterOptions {
  readonly partitions?: number;
  readonly segmentBytes?: number;
  readonly clock?: () => number;
}

export interface WorkerOptions {
  readonly name: string;
  readonly project?: string;
  readonly leads?: boolean;
  /** False for a worker that stores nothing. */
  readonly stores?: boolean;
  readonly flushIntervalMs?: number;
  readonly flushBytes?: number;
  readonly refreshDebounceMs?: number;
  readonly retentionMs?: number;
  /** In place of the disk's own store. */
  readonly store?: (store: ObjectStore) => ObjectStore;
}

export type Worker = Awaited<ReturnType<Cluster["open"]>>;

export class Cluster {
  /** True while no worker hears of commits. */
  deaf = false;
  readonly dir: string;
  readonly log: EventLog;
  readonly #o: ClusterOptions;
  readonly #listeners = new Map<string, (tables: readonly string[]) => void>();
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #workers = new Set<Worker>();

  private constructor(dir: string, log: EventLog, options: ClusterOptions) {
    this.dir = dir;
    this.log = log;
    this.#o = options;
  }

  static async open(dir: string, options: ClusterOptions = {}): Promise<Cluster> {
    keepPoolAwake();
    const log = await openEmbeddedLog({
      ...{ dir: join(dir, "log"), segmentBytes: options.segmentBytes ?? 1 << 20, retentionMs: 7 * DAY_MS },
      clock: options.clock ?? Date.now,
    });
    return new Cluster(dir, log, options);
  }

  /** One event a line; strings as they are. */
  append(stream: string, partition: number, events: readonly unknown[], source = "test") {
    const payload = Buffer.from(events.map((e) => `${typeof e === "string" ? e : JSON.stringify(e)}\n`).join(""));
    return this.log.append(stream, partition, { payload, count: events.length, source });
  }

  async open(options: WorkerOptions) {
    const dataDir = join(this.dir, "workers", options.name);
    await mkdir(dataDir, { recursive: true });
    const lakeRoot = join(this.dir, "lake");
    const engine = await openDuckdbEngine({
      ...{ memoryBytes: 512 * 1024 ** 2, threads: 1, tempDir: join(dataDir, "tmp"), allowedDirs: [dataDir, lakeRoot] },
      geo: undefined,
    });
    const project = await loadProject(
      resolve(import.meta.dirname, "projects", options.project ?? "shop"),
      engine.inspector,
    );
    const group = new TestAssignment();
    const lead = new TestLead(options.leads ?? false);
    const disk = await openFsStore(lakeRoot);
    const shared: Sharing = {
      assignment: options.stores === false ? undefined : group,
      lead,
      turns: { inTurn: (name, work) => this.#inTurn(name, work) },
      notices: {
        committed: (tables) => {
          if (this.deaf) return;
          for (const [name, listener] of this.#listeners) if (name !== options.name) listener(tables);
        },
        on: (listener) => {
          this.#listeners.set(options.name, listener);
          return () => this.#listeners.delete(options.name);
        },
      },
    };
    const flow = await Flow.open({
      ...{ project, log: new ProcessLog(this.log), engine, dataDir, shared },
      store: options.store?.(disk) ?? disk,
      flushIntervalMs: options.flushIntervalMs ?? 3_600_000,
      flushBytes: options.flushBytes ?? 64 << 20,
      maxEventBytes: 1 << 20,
      refreshDebounceMs: options.refreshDebounceMs ?? 3_600_000,
      retentionMs: options.retentionMs ?? 7 * DAY_MS,
      horizonMs: 7 * DAY_MS,
      partitions: this.#o.partitions ?? 2,
      logger: pino({ level: process.env["TEST_LOG"] ?? "silent" }),
      clock: this.#o.clock ?? Date.now,
    });
    /** Rows as a query sees them; `names` are what the SQL reads. */
    const query = async (
      sql: string,
      names: readonly string[],
      reach: "acknowledged" | "committed" = "acknowledged",
    ) => {
      const { inputs, release } = await flow.resolve(
        names.map((name) => ({ name })),
        reach,
      );
      try {
        const result = await engine.query({ sql, inputs });
        const rows: unknown[][] = [];
        for await (const batch of result.batches) rows.push(...batch);
        return rows;
      } finally {
        release();
      }
    };
    let open = true;
    const end = async (drain: boolean) => {
      if (!open) return;
      open = false;
      this.#workers.delete(worker);
      this.#listeners.delete(options.name);
      await flow.close({ drain });
      await engine.close();
    };
    const worker = {
      ...{ name: options.name, flow, engine, project, group, lead, query, dataDir },
      /** Ends as a crash would, without storing anything or telling anybody. */
      crash: () => end(false),
      close: () => end(true),
      /** Forgets what the worker kept on its disk. */
      wipe: () => rm(dataDir, { recursive: true, force: true }),
    };
    this.#workers.add(worker);
    return worker;
  }

  /** Gives partitions from one worker to another, as the group does: only once the first has let go of them. */
  async handOver(from: Worker, to: Worker, partitions: readonly Owned[]): Promise<void> {
    await from.group.revoke(partitions);
    await to.group.give(partitions);
  }

  /**
   * Stores what was acknowledged before the call, each worker its own part. A worker that is done may find more to store a moment later, such as
   * the dead letters of another's events; its interval would see to it, were it not an hour here, so it is asked again until all are done.
   */
  async flush(workers: readonly Worker[], streams?: readonly string[]): Promise<void> {
    const round = () => Promise.all(workers.map(({ flow }) => flow.flush(streams)));
    const rounds: Promise<unknown>[] = [];
    const first = round();
    const again = setInterval(() => rounds.push(round().catch((error: unknown) => error)), 250);
    await first.finally(() => clearInterval(again));
    for (const failure of await Promise.all(rounds)) if (failure instanceof Error) throw failure;
  }

  async close(): Promise<void> {
    for (const worker of [...this.#workers]) await worker.crash();
    await this.log.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #inTurn<T>(name: string, work: (lost: AbortSignal) => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(name) ?? Promise.resolve())
      .catch(() => undefined)
      .then(() => work(new AbortController().signal));
    this.#turns.set(
      name,
      turn.catch(() => undefined),
    );
    return turn;
  }
}

/** The log as a process of a cluster knows it: what others append it hears of when it asks. */
class ProcessLog implements EventLog {
  readonly #log: EventLog;
  readonly #ends = new Map<string, Ends>();

  constructor(log: EventLog) {
    this.#log = log;
  }

  async open(stream: string, options?: { partitions?: number }): Promise<void> {
    await this.#log.open(stream, options);
    await this.refresh([stream]);
  }

  partitions(stream: string): number {
    return this.#log.partitions(stream);
  }

  async append(stream: string, partition: number, batch: Batch): Promise<Appended> {
    const appended = await this.#log.append(stream, partition, batch);
    this.#learn(stream, partition, appended.to + 1);
    return appended;
  }

  ends(stream: string, partition: number): Ends {
    return this.#ends.get(`${stream}/${partition}`) ?? { start: 0, end: 0 };
  }

  async refresh(streams?: Iterable<string>): Promise<void> {
    const opened = new Set([...this.#ends.keys()].map((name) => name.split("/")[0] as string));
    const asked = [...(streams ?? opened)].flatMap((stream) =>
      Array.from(
        { length: this.#log.partitions(stream) },
        (_, p) => [stream, p, this.#log.ends(stream, p).end] as const,
      ),
    );
    await setImmediate();
    for (const [stream, partition, end] of asked) this.#learn(stream, partition, end);
  }

  async read(stream: string, partition: number, from: number, maxBytes: number): Promise<Run | undefined> {
    const { end } = this.ends(stream, partition);
    if (from === end) return undefined;
    const run = await this.#log.read(stream, partition, from, maxBytes);
    if (run) this.#learn(stream, partition, run.to + 1);
    return run;
  }

  wait(stream: string, partition: number, offset: number, signal: AbortSignal): Promise<void> {
    return this.#log.wait(stream, partition, offset, signal);
  }

  async release(): Promise<void> {
    throw new Error("a process that shares a log does not know all who need its events");
  }

  async close(): Promise<void> {}

  #learn(stream: string, partition: number, end: number): void {
    const known = this.ends(stream, partition);
    this.#ends.set(`${stream}/${partition}`, { start: known.start, end: Math.max(end, known.end) });
  }
}

/** A group whose partitions the test gives out. */
class TestAssignment implements Assignment {
  #options: GroupOptions | undefined;
  #owned = new Map<string, Owned>();

  async join(options: GroupOptions): Promise<Membership> {
    this.#options = options;
    await options.gained([]);
    return {
      owns: (stream, partition) => this.#owned.has(`${stream}/${partition}`),
      owned: () => [...this.#owned.values()],
      confirmed: () => true,
      leave: () => this.revoke([...this.#owned.values()]),
    };
  }

  async close(): Promise<void> {
    await this.revoke([...this.#owned.values()]);
  }

  /** Everybody who is given a partition believes that it is his, also when it is somebody else's. */
  async give(partitions: readonly Owned[]): Promise<void> {
    for (const one of partitions) this.#owned.set(`${one.stream}/${one.partition}`, one);
    await this.#options?.gained(partitions);
  }

  async revoke(partitions: readonly Owned[], how: "revoked" | "fenced" = "revoked"): Promise<void> {
    for (const one of partitions) this.#owned.delete(`${one.stream}/${one.partition}`);
    if (partitions.length > 0) await this.#options?.lost(partitions, how);
  }
}

class TestLead {
  #held: boolean;
  readonly #listeners = new Set<(held: boolean) => void>();

  constructor(held: boolean) {
    this.#held = held;
  }

  held(): boolean {
    return this.#held;
  }

  onChange(listener: (held: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  set(held: boolean): void {
    this.#held = held;
    for (const listener of this.#listeners) listener(held);
  }
}

/** Every partition of a project's streams whose number is one of these. */
export function partitionsOf(worker: Worker, numbers: readonly number[], internal = false): Owned[] {
  return [...worker.flow.project.streams.keys()].flatMap((stream) => {
    if (stream.startsWith("_")) return internal ? [{ stream, partition: 0 }] : [];
    return numbers.map((partition) => ({ stream, partition }));
  });
}
