/**
 * Asks about tables when it is time to: after commits of what an alert reads, or by the clock; at the start in any case, so that nothing which came
 * about while the platform was down is missed. SQL that fails is an alert itself.
 *
 * What is found is written in this order: what the alert remembers, then the change of `_alerts`. A crash in between leaves an alert that is
 * remembered and not told; the next start tells it before it asks again. `Alerts.settle` tells none twice.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Alert } from "../../define/alert-event.ts";
import { isComputed, type TableAlert } from "../../define/bind-alerts.ts";
import { MillraceError } from "../../errors.ts";
import type { Alerts } from "../../flow/alerts.ts";
import type { AlertMemory } from "./alert-memory.ts";
import type { Row } from "./judgement.ts";
import { DEFINED } from "./occasion.ts";
import { type Memory, TableJudge } from "./table-alert.ts";

export interface TableAlertsParts {
  readonly alerts: Iterable<TableAlert>;
  /** Runs one SELECT as a user would, over everything that is acknowledged. @throws what queries throw; ALERT_ROWS when it gives more rows than that */
  readonly query: (
    sql: string,
    options: QueryOptions,
  ) => Promise<{ readonly columns: readonly string[]; readonly rows: readonly Row[] }>;
  readonly settled: Pick<Alerts, "settle" | "standing" | "hold">;
  readonly memory: AlertMemory;
  readonly clock: () => number;
  readonly report: (error: unknown, what: string) => void;
}

export interface QueryOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  readonly mostRows: number;
}

/** The alert of an alert whose SQL fails. Its key is that one's name. */
export const ALERT_FAILED = "alert_failed";

const TICK_MS = 200;
/** Commits of one flush come together. */
const DEBOUNCE_MS = 300;
/** How often SQL is run over tables of the platform, which are computed when they are read and never commit. */
const COMPUTED_MS = 15_000;
const MOST_ROWS = 10_000;
/** Queries at once: users' own go first. */
const MOST_AT_ONCE = 2;
const FIRST_RETRY_MS = 5_000;
const LONGEST_RETRY_MS = 300_000;

interface Watched {
  readonly alert: TableAlert;
  readonly judge: TableJudge;
  memory: Memory | undefined;
  /** By the platform's clock. */
  dueMs: number;
  running: boolean;
  /** In a row. */
  failures: number;
}

export class TableAlerts {
  readonly #o: TableAlertsParts;
  readonly #watched: Watched[];
  /** By table, those that read it and have no times of their own. */
  readonly #byTable = new Map<string, Watched[]>();
  readonly #stop = new AbortController();
  readonly #running = new Set<Promise<void>>();
  /** By name of the alert. */
  readonly #failing = new Map<string, Alert>();
  readonly #asked = new Set<string>();
  #telling: Promise<void> = Promise.resolve();
  /** Which alerts fail could not be told; by the platform's clock, when it is tried again. */
  #untold: { readonly failures: number; dueMs: number } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastMs: number;
  #nextMoment: ((expression: string, timezone: string, afterMs: number) => number) | undefined;

  constructor(parts: TableAlertsParts) {
    this.#o = parts;
    this.#lastMs = parts.clock();
    const state = { memory: undefined, dueMs: Number.NEGATIVE_INFINITY, running: false, failures: 0 };
    this.#watched = [...parts.alerts].map((alert) => ({ alert, judge: new TableJudge(alert), ...state }));
    for (const watched of this.#watched) {
      const { every, inputs } = watched.alert;
      if (every !== undefined) continue;
      for (const name of inputs) {
        const of = this.#byTable.get(name) ?? [];
        of.push(watched);
        this.#byTable.set(name, of);
      }
    }
  }

  /** Begins to ask; resolves at once. */
  start(): void {
    this.#run(this.#begin());
  }

  /** Told of a commit. A stream's rows come with its bronze. */
  committed(table: string): void {
    const stream = table.startsWith("bronze.") ? table.slice("bronze.".length) : undefined;
    const dueMs = this.#o.clock() + DEBOUNCE_MS;
    for (const name of stream === undefined ? [table] : [table, stream])
      for (const watched of this.#byTable.get(name) ?? []) watched.dueMs = Math.min(watched.dueMs, dueMs);
  }

  /** Asks what is due. */
  tick(): void {
    const nowMs = this.#o.clock();
    // What waits for a moment must not wait for a clock that was set back to come there again.
    const waiting = this.#untold === undefined ? this.#watched : [...this.#watched, this.#untold];
    if (nowMs < this.#lastMs) for (const one of waiting) one.dueMs -= this.#lastMs - nowMs;
    this.#lastMs = nowMs;
    if (this.#untold !== undefined && this.#untold.dueMs <= nowMs) {
      this.#untold.dueMs = Number.POSITIVE_INFINITY;
      this.#run(this.#tell());
    }
    const due = this.#watched
      .filter(({ running, dueMs }) => !running && dueMs <= nowMs)
      .sort((a, b) => a.dueMs - b.dueMs);
    for (const watched of due.slice(0, Math.max(0, MOST_AT_ONCE - this.#running.size))) {
      watched.running = true;
      watched.dueMs = this.#next(watched.alert, nowMs);
      this.#run(
        this.#ask(watched).finally(() => {
          watched.running = false;
        }),
      );
    }
  }

  /** Resolves when nothing is being asked or told. */
  async quiet(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
  }

  /** Asks nothing more, and waits for what is being told. */
  async close(): Promise<void> {
    this.#stop.abort();
    clearInterval(this.#timer);
    await Promise.allSettled(this.#running);
  }

  async #begin(): Promise<void> {
    const { memory, report } = this.#o;
    let pauseMs = FIRST_RETRY_MS;
    while (!this.#stop.signal.aborted) {
      try {
        if (this.#watched.some(({ alert }) => typeof alert.every === "object")) await this.#loadCron();
        await memory.open();
        // Alerts of definitions that are gone are over.
        if (this.#watched.length === 0) await this.#tell();
        this.#timer = setInterval(() => this.tick(), TICK_MS);
        this.#timer.unref();
        this.tick();
        return;
      } catch (error) {
        report(error, "opening alerts over tables; it is tried again");
        await sleep(pauseMs, undefined, { signal: this.#stop.signal }).catch(() => undefined); // aborted: the loop ends
        pauseMs = Math.min(2 * pauseMs, LONGEST_RETRY_MS);
      }
    }
  }

  async #loadCron(): Promise<void> {
    const { CronExpressionParser } = await import("cron-parser");
    this.#nextMoment = (expression, timezone, afterMs) =>
      CronExpressionParser.parse(expression, { tz: timezone, currentDate: new Date(afterMs) })
        .next()
        .getTime();
  }

  /** When it is asked again if nothing else happens. */
  #next({ every, inputs }: TableAlert, nowMs: number): number {
    if (typeof every === "number") return nowMs + every;
    if (every !== undefined) return this.#nextMoment!(every.expression, every.timezone, nowMs);
    return inputs.some(isComputed) ? nowMs + COMPUTED_MS : Number.POSITIVE_INFINITY;
  }

  async #ask(watched: Watched): Promise<void> {
    const { alert, judge } = watched;
    const { query, settled, memory, clock, report } = this.#o;
    try {
      watched.memory ??= await this.#remember(alert, judge);
      const { signal } = this.#stop;
      const { columns, rows } = await query(alert.sql, { signal, timeoutMs: alert.timeoutMs, mostRows: MOST_ROWS });
      const found = judge.evaluate(columns, rows, watched.memory, clock());
      if (Object.keys(found.memory.keys).length + Object.keys(watched.memory.keys).length > 0)
        await memory.write(alert.name, found.memory);
      watched.memory = found.memory;
      await settled.settle(DEFINED, alert.name, found.firing);
      if (found.againInMs !== undefined) watched.dueMs = Math.min(watched.dueMs, clock() + found.againInMs + 1);
      watched.failures = 0;
      this.#failing.delete(alert.name);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      watched.failures += 1;
      watched.dueMs = Math.min(watched.dueMs, clock() + againInMs(watched.failures));
      // A table that is being built says nothing yet, and that is as it should be.
      const waits = error instanceof MillraceError && error.code === "TABLE_BUILDING";
      if (waits) this.#failing.delete(alert.name);
      else this.#failing.set(alert.name, failureOf(alert, error));
      report(error, `asking for the alert "${alert.name}"; it is tried again`);
    }
    this.#asked.add(alert.name);
    await this.#tell();
  }

  /** What the alert remembers, with what is durable of what it told. What was remembered and not told is told now. */
  async #remember(alert: TableAlert, judge: TableJudge): Promise<Memory> {
    const { settled, memory, clock } = this.#o;
    const stored = await memory.read(alert.name);
    const { firing, resolvedByHand } = await settled.standing(DEFINED, alert.name);
    const begun = judge.begin(clock(), stored, firing);
    const remembered = Object.entries(begun.keys).flatMap(([key, { firing: one }]) =>
      one ? [[key, one] as const] : [],
    );
    for (const [key] of remembered) if (resolvedByHand.has(key)) await settled.hold(DEFINED, alert.name, key);
    const alerts = remembered.map(([, one]) => one);
    await settled.settle(DEFINED, alert.name, alerts, { resolve: false });
    return begun;
  }

  /** Alerts that fail are told one after the other, since they are all of one name. */
  #tell(): Promise<void> {
    const tell = async () => {
      const resolve = this.#watched.every(({ alert }) => this.#asked.has(alert.name));
      try {
        await this.#o.settled.settle(DEFINED, ALERT_FAILED, [...this.#failing.values()], { resolve });
        this.#untold = undefined;
      } catch (error) {
        const failures = (this.#untold?.failures ?? 0) + 1;
        this.#untold = { failures, dueMs: this.#o.clock() + againInMs(failures) };
        throw error;
      }
    };
    this.#telling = this.#telling.then(tell, tell);
    return this.#telling;
  }

  /** Work that nobody waits for, but `close`. */
  #run(work: Promise<void>): void {
    const watched = work
      .catch((error: unknown) => {
        if (!this.#stop.signal.aborted) this.#o.report(error, "telling of alerts over tables; it is tried again");
      })
      .finally(() => this.#running.delete(watched));
    this.#running.add(watched);
  }
}

/** How long to wait after so many failures in a row. */
function againInMs(failures: number): number {
  return Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(failures - 1, 10));
}

function failureOf({ name, inputs }: TableAlert, error: unknown): Alert {
  const code = error instanceof MillraceError ? error.code : "INTERNAL";
  const message = error instanceof Error ? error.message : String(error);
  return {
    kind: DEFINED,
    name: ALERT_FAILED,
    key: name,
    severity: "critical",
    summary: `The alert "${name}" cannot be asked for: ${message}`,
    details: { alert: name, code, message, over: inputs },
  };
}
