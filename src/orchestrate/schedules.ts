import { CronExpressionParser } from "cron-parser";
import type { Trigger } from "../define/triggers.ts";
import type { NewRun } from "./run-table.ts";
import type { TriggerName, TriggerStates } from "./trigger-states.ts";

export type CronTrigger = Trigger & { readonly kind: "cron" };

/** Makes a run of a workflow, with its concurrency key and all that belongs to one. */
export type Draft = (
  workflow: string,
  run: Pick<NewRun, "cause" | "input" | "scheduledAtMs"> & { readonly idempotencyKey: string },
) => NewRun;

interface Schedule {
  readonly name: TriggerName;
  readonly trigger: CronTrigger;
  /** The newest moment that has been dealt with. */
  doneMs: number;
  nextMs: number;
  /** Undefined when no run is being made. */
  firing: Promise<void> | undefined;
}

/** A moment that is less than this past is simply due. */
const MISSED_AFTER_MS = 60_000;
const MOST_MISSED = 1_000;

/**
 * Runs by time. The moments come from cron-parser, in the time zone of each trigger: a local time that the clocks skip in spring is due an
 * hour later by the clock on the wall, and one that comes twice in autumn is due the first time.
 */
export class Schedules {
  readonly #states: TriggerStates;
  readonly #draft: Draft;
  readonly #clock: () => number;
  readonly #report: (error: unknown, what: string) => void;
  readonly #fired: () => void;
  #schedules: Schedule[] = [];
  #lastMs = Number.NEGATIVE_INFINITY;

  constructor(parts: {
    states: TriggerStates;
    draft: Draft;
    clock: () => number;
    report: (error: unknown, what: string) => void;
    /** Told when runs were made. */
    fired: () => void;
  }) {
    this.#states = parts.states;
    this.#draft = parts.draft;
    this.#clock = parts.clock;
    this.#report = parts.report;
    this.#fired = parts.fired;
  }

  /** A schedule that is new begins now: what would have been due before it was defined is not missed. */
  async open(triggers: readonly { readonly name: TriggerName; readonly trigger: CronTrigger }[]): Promise<void> {
    const nowMs = this.#clock();
    for (const { name, trigger } of triggers) {
      const known = this.#states.get<{ doneMs: number }>(name);
      if (known === undefined) await this.#states.fire(name, { doneMs: nowMs }, []);
      const doneMs = Math.min(known?.doneMs ?? nowMs, nowMs);
      this.#schedules.push({ name, trigger, doneMs, nextMs: nextMs(trigger, doneMs), firing: undefined });
    }
  }

  tick(): void {
    const nowMs = this.#clock();
    // A clock set back must not hold anything up until it is where it was. Moments that come again are known by their runs.
    if (nowMs < this.#lastMs)
      for (const schedule of this.#schedules) {
        schedule.doneMs = Math.min(schedule.doneMs, nowMs);
        schedule.nextMs = nextMs(schedule.trigger, schedule.doneMs);
      }
    this.#lastMs = nowMs;
    for (const schedule of this.#schedules) {
      if (schedule.nextMs > nowMs || schedule.firing !== undefined) continue;
      schedule.firing = this.#fire(schedule, nowMs)
        .catch((error: unknown) => this.#report(error, `starting ${schedule.name.workflow} by its schedule`))
        .finally(() => {
          schedule.firing = undefined;
        });
    }
  }

  /** Waits for runs that are being made. */
  async close(): Promise<void> {
    await Promise.all(this.#schedules.map(({ firing }) => firing));
  }

  async #fire(schedule: Schedule, nowMs: number): Promise<void> {
    const { name, trigger, doneMs } = schedule;
    const { expression, timezone, missed } = trigger;
    const due = dueMoments(trigger, doneMs, nowMs, missed === "run-all" ? MOST_MISSED : 1);
    const newest = due.at(-1) ?? nowMs;
    const wanted = missed === "skip" ? due.filter((dueMs) => dueMs > nowMs - MISSED_AFTER_MS) : due;
    const runs = wanted.map((dueMs) => {
      const scheduledAt = new Date(dueMs).toISOString();
      return this.#draft(name.workflow, {
        cause: { kind: "cron", by: timezone === "UTC" ? expression : `${expression} ${timezone}` },
        input: { scheduledAt },
        scheduledAtMs: dueMs,
        idempotencyKey: `${name.trigger} ${scheduledAt}`,
      });
    });
    await this.#states.fire(name, { doneMs: newest }, runs);
    schedule.doneMs = this.#states.get<{ doneMs: number }>(name)?.doneMs ?? newest;
    schedule.nextMs = nextMs(trigger, schedule.doneMs);
    if (runs.length > 0) this.#fired();
  }
}

function nextMs({ expression, timezone }: CronTrigger, afterMs: number): number {
  return CronExpressionParser.parse(expression, { tz: timezone, currentDate: new Date(afterMs) })
    .next()
    .getTime();
}

/**
 * The newest `most` moments in (afterMs, nowMs], oldest first. `next` alone decides what a moment is: `prev` of cron-parser leaves out local
 * times that the clocks skip and counts doubled ones twice. It only says where to begin, so that a long absence costs no more than a
 * short one.
 */
export function dueMoments(
  { expression, timezone }: Pick<CronTrigger, "expression" | "timezone">,
  afterMs: number,
  nowMs: number,
  most: number,
): number[] {
  const back = CronExpressionParser.parse(expression, { tz: timezone, currentDate: new Date(nowMs + 1) });
  let fromMs = nowMs;
  for (let step = 0; step <= most && fromMs > afterMs; step++) fromMs = back.prev().getTime();
  const currentDate = new Date(Math.max(afterMs, fromMs - 1));
  const walk = CronExpressionParser.parse(expression, { tz: timezone, currentDate });
  const due: number[] = [];
  for (let moment = walk.next().getTime(); moment <= nowMs; moment = walk.next().getTime()) due.push(moment);
  return due.slice(-most);
}
