/**
 * Several aggregates over the same events, as windows and features hold them: their state is two flat lists (`Slots`), in which each aggregate has its
 * places, so that a record of several windows can be one list of numbers.
 */
import type { AggregatePlan } from "../../define/read-aggregates.ts";
import type { StateCodec } from "../operator.ts";
import { type Accumulator, accumulator, type Slots, type ValueKind } from "./accumulators.ts";
import { decodeSlots, encodeSlots, SLOTS_VERSION } from "./slots-codec.ts";

export type { Slots } from "./accumulators.ts";

interface Part {
  readonly accumulator: Accumulator;
  readonly name: string;
  readonly field: string | undefined;
  /** Where its numbers and values begin. */
  readonly n: number;
  readonly v: number;
}

export class Aggregates {
  /** How many numbers and other values a state has. */
  readonly numbers: number;
  readonly values: number;
  readonly #parts: readonly Part[];
  readonly #emptyNumbers: readonly number[];
  readonly #kinds: readonly ValueKind[];

  constructor(plans: readonly AggregatePlan[]) {
    const parts: Part[] = [];
    const numbers: number[] = [];
    const kinds: ValueKind[] = [];
    for (const plan of plans) {
      const made = accumulator(plan);
      const { name } = plan.column;
      parts.push({ accumulator: made, name, field: plan.field?.name, n: numbers.length, v: kinds.length });
      numbers.push(...made.numbers);
      kinds.push(...made.values);
    }
    this.#parts = parts;
    this.#emptyNumbers = numbers;
    this.#kinds = kinds;
    this.numbers = numbers.length;
    this.values = kinds.length;
  }

  /** The state before the first event. */
  empty(): Slots {
    return { numbers: this.#emptyNumbers.slice(), values: this.#kinds.map(() => undefined) };
  }

  /** Appends the state before the first event to lists that hold other things as well. */
  append(to: Slots): void {
    for (const value of this.#emptyNumbers) to.numbers.push(value);
    for (let i = 0; i < this.values; i++) to.values.push(undefined);
  }

  /** The state with an event more; the one given is not changed. */
  added(state: Slots, event: Readonly<Record<string, unknown>>, micros: number, offset: number): Slots {
    const next = { numbers: state.numbers.slice(), values: state.values.slice() };
    this.add(next, 0, 0, event, micros, offset);
    return next;
  }

  /** Takes an event into the state that begins at `n` and `v` of `into`, which is changed. */
  add(
    into: Slots,
    n: number,
    v: number,
    event: Readonly<Record<string, unknown>>,
    micros: number,
    offset: number,
  ): void {
    for (const part of this.#parts) {
      let value: unknown;
      if (part.field !== undefined) {
        const given = event[part.field];
        if (given === undefined || given === null) continue;
        value = part.accumulator.read(given);
      }
      part.accumulator.add(into, n + part.n, v + part.v, value, micros, offset);
    }
  }

  /** Takes the state that begins at `fromN` and `fromV` of `from` into the one at `n` and `v` of `into`, which is changed. */
  merge(into: Slots, n: number, v: number, from: Slots, fromN: number, fromV: number): void {
    for (const part of this.#parts) {
      part.accumulator.merge(into, n + part.n, v + part.v, from, fromN + part.n, fromV + part.v);
    }
  }

  /** The state of all events of both; neither is changed. */
  merged(a: Slots, b: Slots): Slots {
    const next = { numbers: a.numbers.slice(), values: a.values.slice() };
    this.merge(next, 0, 0, b, 0, 0);
    return next;
  }

  /** What the state that begins at `n` and `v` gives, by name, put into `row`. */
  results(from: Slots, n: number, v: number, row: Record<string, unknown>): Record<string, unknown> {
    for (const part of this.#parts) row[part.name] = part.accumulator.result(from, n + part.n, v + part.v);
    return row;
  }

  /** As a checkpoint holds it: one state, or several one after the other with numbers of others' before them. */
  encode(state: Slots): Uint8Array {
    return encodeSlots(state, this.#kinds);
  }

  decode(bytes: Uint8Array): Slots {
    return decodeSlots(bytes, this.#kinds);
  }

  /** For `LaneServices.state`; `shape` names what is in the lists. */
  codec(shape: string): StateCodec<Slots> {
    return {
      version: `${shape}/${SLOTS_VERSION}`,
      encode: (state) => this.encode(state),
      decode: (bytes) => this.decode(bytes),
    };
  }

  /** The fields that aggregates read of an event, each once. */
  get fields(): readonly string[] {
    return [...new Set(this.#parts.flatMap(({ field }) => (field === undefined ? [] : [field])))];
  }
}
