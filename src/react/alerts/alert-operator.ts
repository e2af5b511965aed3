import type { Predicate } from "../../define/alert.ts";
import { ALERT_STREAM, type Alert, alertAgain, alertEvent, isGraver } from "../../define/alert-event.ts";
import type { StreamAlert } from "../../define/bind-alerts.ts";
import type { AlertRules } from "../../define/read-alert.ts";
import type { EventView, LaneServices, Operator, OperatorKind, OperatorPlan, Outlet } from "../operator.ts";
import { type Judge, judgeOf, type Row, valueAt } from "./judgement.ts";
import { type KeyClock, likelyMs, step } from "./key-clock.ts";
import { advance, ended, type KeyState, QUIET } from "./key-state.ts";
import { alertOf, keyOf } from "./occasion.ts";
import { Silent } from "./silent.ts";

/** What the worker thread is told: the alert without its functions, which it takes from the definition. */
export interface AlertPlan
  extends Pick<
    StreamAlert,
    "name" | "stream" | "key" | "time" | "finalsOnly" | "forMs" | "coolDownMs" | "resolveAfterMs"
  > {
  readonly when?: Exclude<AlertRules["when"], Predicate<never>>;
  readonly until?: Exclude<AlertRules["until"], Predicate<never>>;
  readonly severity?: Alert["severity"];
  readonly summary?: string;
}

/** What is left of the definition's options that cannot be sent to a thread. */
type AlertFunctions = Partial<Pick<AlertRules, "when" | "until" | "severity" | "summary">>;

/** How the operators of alerts over streams are told of. */
export function alertOperator(alert: StreamAlert): OperatorPlan {
  const { name, stream, key, time, finalsOnly, forMs, coolDownMs, resolveAfterMs } = alert;
  const { when, until, severity, summary } = alert;
  const plan: AlertPlan = {
    ...{ name, stream, key, time, finalsOnly, forMs, coolDownMs, resolveAfterMs },
    ...(typeof when === "object" && { when }),
    ...(typeof until === "object" && { until }),
    ...(typeof severity === "string" && { severity }),
    ...(typeof summary === "string" && { summary }),
  };
  // The state of a key outlives every change of the conditions; it means nothing for other keys.
  const stateHash = JSON.stringify([STATE_FORMAT, stream, key]);
  return { kind: "alert", name, stream, lane: `alert-${name}`, from: "now", stateHash, plan };
}

const STATE_FORMAT = 1;
/** A history of which nothing was heard for so long is forgotten. */
const HISTORY_TTL_MS = 100 * 86_400_000;
/** Of the row that an alert began with its details have a copy, unless it is long. */
const MOST_ROW_CHARACTERS = 8_192;

/** What is remembered of a key that is not simply quiet. */
interface Remembered {
  readonly state: KeyState;
  readonly clock: KeyClock;
  /** Arrival of its newest event. */
  readonly heardMs: number;
  readonly firing?: { readonly id: string; readonly alert: Alert };
}

/** Earlier values of a key, for the condition they were kept for. */
interface History {
  readonly of: string;
  readonly clock: KeyClock;
  readonly values: unknown;
}

export const alertKind: OperatorKind<AlertPlan, AlertFunctions> = {
  open: (plan, { options }, lane) => new AlertOperator(plan, options, lane),
};

/**
 * Judges the events of a stream, key by key. All that it says is a function of the events and their arrival times; ids of alerts are made of the
 * event that raised them.
 */
class AlertOperator implements Operator {
  readonly #plan: AlertPlan;
  readonly #rules: AlertRules & { readonly name: string };
  readonly #when: Judge;
  readonly #until: Judge | undefined;
  readonly #keys;
  readonly #histories;
  /** What the histories are for: those of another condition are begun anew. */
  readonly #condition: string;
  readonly #silent: Silent;

  constructor(plan: AlertPlan, functions: AlertFunctions, lane: LaneServices) {
    const { name, forMs, coolDownMs, resolveAfterMs } = plan;
    this.#plan = plan;
    const when = plan.when ?? asFunction(functions.when);
    const until = plan.until ?? asFunction(functions.until);
    const severity = plan.severity ?? asFunction(functions.severity);
    const summary = plan.summary ?? asFunction(functions.summary);
    this.#rules = { name, forMs, coolDownMs, resolveAfterMs, when, until, severity, summary };
    this.#when = judgeOf(when!, name);
    this.#until = until && judgeOf(until, name);
    this.#condition = JSON.stringify(plan.when ?? null);
    this.#keys = lane.state<Remembered>("keys");
    this.#histories = lane.state<History>("histories", { ttlMs: HISTORY_TTL_MS });
    const firing = [...this.#keys.entries()].filter(([, { state }]) => state.phase === "firing");
    this.#silent = new Silent(firing.map(([key, { heardMs }]) => [key, heardMs] as const));
  }

  apply(event: EventView, out: Outlet): void {
    const row = event.value;
    if (this.#plan.finalsOnly && row["final"] !== true) return;
    const key = keyOf(row, this.#plan.key);
    // Everything that can throw comes before the first change.
    const next = this.#judge(event, row, key);
    this.#resolveSilent(event, key, out);
    if (next === undefined) return;
    const { remembered, history, emit } = next;
    if (history !== undefined) this.#histories.set(key, history);
    if (remembered === undefined) this.#keys.delete(key);
    else this.#keys.set(key, remembered);
    if (remembered?.state.phase === "firing") this.#silent.heard(key, remembered.heardMs);
    else this.#silent.forget(key);
    if (emit !== undefined) out.emit(ALERT_STREAM, emit);
  }

  #judge(event: EventView, row: Row, key: string) {
    const before = this.#before(event, key);
    const history = this.#histories.get(key);
    const fitting = history?.of === this.#condition ? history : undefined;
    const { clock, late } = step(fitting?.clock ?? before?.clock, timeAt(row, this.#plan.time), event.receivedAtMs);
    const momentMs = likelyMs(timeAt(row, this.#plan.time), event.receivedAtMs);
    const at = { timeMs: clock.nowMs, momentMs, late };
    const when = this.#when.judge(row, at, fitting?.values);
    const state = before?.state ?? QUIET;
    const over =
      state.phase !== "firing"
        ? undefined
        : this.#until
          ? this.#until.judge(row, at, undefined).holds
          : when.holds === false;
    const change = advance(state, { holds: when.holds, over, atMs: clock.nowMs, late }, this.#rules);
    const kept = this.#when.remembers ? { of: this.#condition, clock, values: when.history } : undefined;
    const heardMs = event.receivedAtMs;
    const cause = { on: this.#plan.stream, by: this.#plan.key, partition: event.partition, offset: event.offset };
    if (change.event === "firing") {
      const id = (alert: Alert) => `${alert.kind}/${alert.name}/${key}/${event.partition}-${event.offset}`;
      const details = { ...cause, ...(late ? { late } : {}), row: shortRow(row) };
      const alert = alertOf(this.#rules, row, key, when.reason, details);
      const firing = { id: id(alert), alert };
      const emit = alertEvent(firing.id, alert, "firing", event.receivedAtMs);
      return { remembered: { state: change.state, clock, heardMs, firing }, history: kept, emit };
    }
    if (change.event === "resolved") {
      const { id, alert } = before!.firing!;
      const reason = this.#until ? this.#until.judge(row, at, undefined).reason : when.reason;
      const emit = alertEvent(id, { ...alert, details: { reason: reason ?? null, ...cause } }, "resolved", heardMs);
      return { remembered: worthKeeping({ state: change.state, clock, heardMs }), history: kept, emit };
    }
    const firing = before?.firing;
    if (firing && when.holds && !late && typeof this.#rules.severity === "function") {
      const alert = alertOf(this.#rules, row, key, when.reason, { ...cause, row: shortRow(row) });
      if (isGraver(alert.severity, firing.alert.severity)) {
        const graver = { state: change.state, clock, heardMs, firing: { id: firing.id, alert } };
        return { remembered: graver, history: kept, emit: alertAgain(firing.id, alert, heardMs, alert.severity) };
      }
    }
    const remembered = worthKeeping({ state: change.state, clock, heardMs, ...(firing && { firing }) });
    if (remembered === undefined && before === undefined && kept === undefined) return undefined;
    return { remembered, history: kept, emit: undefined };
  }

  /** What is remembered of the key, as if its silence had ended its alert already where it was too long. */
  #before(event: EventView, key: string): Remembered | undefined {
    const found = this.#keys.get(key);
    const limitMs = this.#plan.resolveAfterMs;
    const silent = limitMs !== undefined && found?.firing !== undefined && event.receivedAtMs - found.heardMs > limitMs;
    if (!silent) return found;
    return { state: ended(found.clock.nowMs, this.#rules), clock: found.clock, heardMs: found.heardMs };
  }

  /** Ends alerts whose keys were not heard of for too long when this event arrived. */
  #resolveSilent(event: EventView, ofEvent: string, out: Outlet): void {
    const { resolveAfterMs, stream, key: by } = this.#plan;
    if (resolveAfterMs === undefined) return;
    for (const key of this.#silent.before(event.receivedAtMs - resolveAfterMs)) {
      const { firing, clock, heardMs } = this.#keys.get(key)!;
      const text = `nothing was heard of it since ${new Date(heardMs).toISOString()}`;
      const details = { reason: { text, condition: "resolveAfter" }, on: stream, by };
      out.emit(ALERT_STREAM, alertEvent(firing!.id, { ...firing!.alert, details }, "resolved", event.receivedAtMs));
      this.#silent.forget(key);
      const rest = worthKeeping({ state: ended(clock.nowMs, this.#rules), clock, heardMs });
      if (key !== ofEvent && rest !== undefined) this.#keys.set(key, rest);
      else if (key !== ofEvent) this.#keys.delete(key);
    }
  }
}

/** What else a definition says is in the plan, as it was read. */
function asFunction<T>(given: T): Extract<T, (...args: never[]) => unknown> | undefined {
  return typeof given === "function" ? (given as Extract<T, (...args: never[]) => unknown>) : undefined;
}

/** Undefined for a key of which nothing needs to be remembered, as of most keys at most times. */
function worthKeeping(remembered: Remembered): Remembered | undefined {
  const { phase, notBeforeMs } = remembered.state;
  if (phase !== "quiet") return remembered;
  return notBeforeMs !== undefined && remembered.clock.nowMs < notBeforeMs ? remembered : undefined;
}

function timeAt(row: Row, field: string | undefined): number | undefined {
  const value = field === undefined ? undefined : valueAt(row, field);
  if (typeof value !== "string") return undefined;
  const ms = Date.parse(value);
  return Number.isNaN(ms) ? undefined : ms;
}

function shortRow(row: Row): Row | undefined {
  return JSON.stringify(row).length <= MOST_ROW_CHARACTERS ? row : undefined;
}
