/**
 * A feature, online. What its value is, `define/feature-sql.ts` says and computes from the stored events; this computes the same, event by event.
 *
 * A lane sees each event once: what the tables drop as a repetition does not come here.
 */
import { MOST_AHEAD_MS, MOST_US } from "../../define/feature-sql.ts";
import type { Feature } from "../../define/read-feature.ts";
import type { EventView, LaneServices, Operator, OperatorKind } from "../operator.ts";
import { microseconds } from "../windows/event-time.ts";
import { compileCondition } from "./condition.ts";
import { type Fold, fold } from "./fold.ts";
import { blockCodec, Histories, historyCodec } from "./history.ts";

export type FeatureValue = number | string | boolean | null;

/** What `read` of a feature's operator takes: the values of keys as of a time. */
export interface FeatureRead {
  readonly keys: readonly string[];
  /** Microseconds since 1970. */
  readonly atUs: number;
  /** Milliseconds since 1970: a key from which nothing has come for longer than `idle` by then is forgotten. */
  readonly nowMs: number;
}

export interface FeatureAnswer {
  /** In the order of the keys. Null too where the time is further back than the feature remembers exactly. */
  readonly values: readonly FeatureValue[];
}

export const featureKind: OperatorKind<Feature, unknown> = {
  open: (plan, _definition, lane) => new FeatureOperator(plan, lane),
};

/** Changes with everything that what is kept of a key depends on. */
export function featureStateHash({ key, time, windowMs, latenessMs, idleMs, aggregate, where }: Feature): string {
  const { function: name, field } = aggregate;
  return JSON.stringify([1, key.name, key.type, time, windowMs, latenessMs, idleMs, name, field, where?.condition]);
}

export class FeatureOperator implements Operator {
  readonly feature: Feature;
  readonly #histories: Histories;
  readonly #fold: Fold;
  readonly #wanted: ((event: EventView["value"]) => boolean) | undefined;
  readonly #windowUs: number;
  readonly #latenessUs: number;

  constructor(feature: Feature, lane: Pick<LaneServices, "state">) {
    const { name, where, windowMs, latenessMs, idleMs, aggregate } = feature;
    this.feature = feature;
    this.#fold = fold(aggregate);
    this.#wanted = where && compileCondition(where.condition);
    this.#windowUs = windowMs * 1000;
    this.#latenessUs = latenessMs * 1000;
    const { kind } = this.#fold;
    // An entry that is one millisecond longer idle is forgotten, so that one exactly as long is not.
    const keys = lane.state(name, { codec: historyCodec(kind), ttlMs: idleMs + 1 });
    this.#histories = new Histories(keys, lane.state(`${name} blocks`, { codec: blockCodec(kind) }), this.#fold);
  }

  apply(event: EventView): void {
    const key = this.keyOf(event);
    const us = this.#countedTime(event);
    if (key === undefined || us === undefined) return;
    const arrivedMs = event.receivedAtMs;
    const known = this.#histories.get(key);
    if (known !== undefined && event.offset <= known.lastOffset) return;
    const idle = known === undefined || arrivedMs - known.arrivedMs > this.feature.idleMs;
    const before = idle ? this.#histories.fresh(key, known) : known;
    const clockUs = Math.max(before.clockUs, Math.min(us, arrivedMs * 1000));
    let history = { ...before, clockUs, arrivedMs, lastOffset: event.offset };
    if (us >= clockUs - this.#latenessUs) {
      const value = this.#valueOf(event);
      if (value !== NOTHING) history = this.#histories.with(key, history, us, value);
    }
    this.#histories.keep(key, history, clockUs - this.#latenessUs - this.#windowUs);
  }

  /** The key of an event, as text; undefined where it has none. */
  keyOf({ value }: EventView): string | undefined {
    const key = value[this.feature.key.name] ?? undefined;
    return key === undefined ? undefined : String(key);
  }

  /** The value at an event that has been applied as the lane's last one; of its own key, or of another one as of its time. */
  at(event: EventView, key = this.keyOf(event)): FeatureValue {
    const us = this.#countedTime(event);
    return key === undefined || us === undefined ? null : this.#valueAt(key, us, event.receivedAtMs);
  }

  read(request: unknown): FeatureAnswer {
    const { keys, atUs, nowMs } = request as FeatureRead;
    return { values: keys.map((key) => this.#valueAt(key, atUs, nowMs)) };
  }

  #valueAt(key: string, us: number, nowMs: number): FeatureValue {
    const known = this.#histories.get(key);
    const history = known !== undefined && nowMs - known.arrivedMs > this.feature.idleMs ? undefined : known;
    if (history !== undefined && us < history.clockUs - this.#latenessUs) return null;
    const value = this.#histories.value(key, history, us - this.#windowUs, us);
    return value ?? this.feature.default ?? null;
  }

  /** The event's time in microseconds; undefined where it has none, or one of a wrong clock. */
  #countedTime({ value, receivedAtMs }: EventView): number | undefined {
    const { time } = this.feature;
    if (time === undefined) return receivedAtMs * 1000;
    const us = microseconds(value[time.name]);
    if (us === undefined || us < -MOST_US || us > MOST_US) return undefined;
    return us <= (receivedAtMs + MOST_AHEAD_MS) * 1000 ? us : undefined;
  }

  #valueOf({ value }: EventView): unknown {
    if (this.#wanted !== undefined && !this.#wanted(value)) return NOTHING;
    const { field } = this.feature.aggregate;
    if (field === undefined) return undefined;
    const given = value[field.name] ?? null;
    return given === null ? NOTHING : this.#fold.read(given);
  }
}

/** An event that is not aggregated. */
const NOTHING = Symbol("nothing");
