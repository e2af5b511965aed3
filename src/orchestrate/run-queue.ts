/**
 * The queue of runs that are to be executed: pg-boss in the platform's own PostgreSQL. A job is a run's id and nothing else. It comes with the
 * run, in the same transaction; it is active from the moment the run begins until its end, waits included, so that pg-boss counts what
 * each concurrency group has under way; and it is deleted with the run's end. The runs' own table is the truth: whatever a crash left
 * in the queue is thrown away at the start, and the jobs of all runs that are not over are made again.
 */

import type { PgBoss } from "pg-boss";
import type { Session } from "../state/migrate.ts";
import type { State } from "../state/state.ts";

const QUEUE = "runs";
const SCHEMA = "millrace_queue";
/** The most that pg-boss allows. It is not relied upon: a run's job never expires while this process executes it. */
const EXPIRE_SECONDS = 24 * 3_600 - 1;

export interface QueuedRun {
  readonly id: string;
  /** Runs of one group are limited together. */
  readonly group: { readonly id: string; readonly limit: number } | undefined;
}

export class RunQueue {
  readonly #boss: PgBoss;
  /** How many runs each limit allows, as pg-boss wants to hear it: tier name -> limit. */
  readonly #tiers: Readonly<Record<string, number>>;

  private constructor(boss: PgBoss, limits: Iterable<number>) {
    this.#boss = boss;
    this.#tiers = Object.fromEntries([...limits].map((limit) => [tierOf(limit), limit]));
  }

  /** pg-boss is loaded here and nowhere else: a project without workflows does without it. */
  static async open(
    state: State,
    limits: Iterable<number>,
    report: (error: unknown, what: string) => void,
  ): Promise<RunQueue> {
    const { PgBoss } = await import("pg-boss");
    const boss = new PgBoss({
      db: database(state),
      schema: SCHEMA,
      // One process executes runs, and knows by itself what is due, what has ended and what a crash left.
      schedule: false,
      supervise: false,
    });
    boss.on("error", (error) => report(error, "the queue of runs"));
    const queue = new RunQueue(boss, limits);
    try {
      await boss.start();
      await boss.createQueue(QUEUE, { policy: "standard", retryLimit: 0, expireInSeconds: EXPIRE_SECONDS });
    } catch (error) {
      // Its timers are not to outlive it. What else fails now says no more than the first failure does.
      await queue.close().catch(() => undefined);
      throw error;
    }
    return queue;
  }

  /** Puts runs into the queue as part of a transaction. */
  async send(session: Session, runs: readonly QueuedRun[]): Promise<void> {
    if (runs.length === 0) return;
    const jobs = runs.map(({ id, group }) => ({
      id,
      data: {},
      ...(group === undefined ? {} : { group: { id: group.id, tier: tierOf(group.limit) } }),
    }));
    await this.#boss.insert(QUEUE, jobs, { db: database(session) });
  }

  /** Takes up to `count` runs whose groups have room. */
  async take(count: number): Promise<string[]> {
    const tiers = Object.keys(this.#tiers).length === 0 ? {} : { groupConcurrency: { default: 1, tiers: this.#tiers } };
    const jobs = await this.#boss.fetch(QUEUE, { batchSize: count, ...tiers });
    return jobs.map(({ id }) => id);
  }

  /** Takes runs out, whether they are under way or not; as part of a transaction where one is given. */
  async remove(runs: readonly string[], session?: Session): Promise<void> {
    if (runs.length === 0) return;
    await this.#boss.deleteJob(QUEUE, [...runs], session === undefined ? {} : { db: database(session) });
  }

  async clear(): Promise<void> {
    await this.#boss.deleteAllJobs(QUEUE);
  }

  async close(): Promise<void> {
    await this.#boss.stop({ graceful: false, close: false });
  }
}

function tierOf(limit: number): string {
  return `at-most-${limit}`;
}

function database(session: Session) {
  return {
    async executeSql(text: string, values: unknown[] = []) {
      return { rows: await session.query<Record<string, unknown>>(text, values) };
    },
  };
}
