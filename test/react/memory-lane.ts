/** A lane in memory: takes events in order, keeps state as JSON as a checkpoint does, and can begin again from a checkpoint. */
import { LookupTable } from "../../src/react/lookups/lookup-table.ts";
import type { EventView, KeyedState, LaneServices, Operator, OperatorKind } from "../../src/react/operator.ts";

export interface Emitted {
  readonly stream: string;
  readonly event: Record<string, unknown>;
}

export class MemoryLane<Plan, Options> {
  readonly emitted: Emitted[] = [];
  readonly #kind: OperatorKind<Plan, Options>;
  readonly #plan: Plan;
  readonly #definition: { readonly name: string; readonly options: Options };
  #states = new Map<string, Map<string, string>>();
  #operator: Operator;
  #offset = 0;

  constructor(kind: OperatorKind<Plan, Options>, plan: Plan, definition: { name: string; options: Options }) {
    this.#kind = kind;
    this.#plan = structuredClone(plan);
    this.#definition = definition;
    this.#operator = this.#open();
  }

  apply(value: Record<string, unknown>, receivedAtMs: number): Record<string, unknown>[] {
    const event: EventView = { value, partition: 0, offset: this.#offset++, receivedAtMs, source: "test" };
    const emitted: Emitted[] = [];
    void this.#operator.apply(event, {
      emit: (stream, one) => emitted.push({ stream, event: JSON.parse(JSON.stringify(one)) }),
      refuse: (code, message) => {
        throw new Error(`${code}: ${message}`);
      },
    });
    this.emitted.push(...emitted);
    return emitted.map(({ event: one }) => one);
  }

  /** Opens the operator anew over the state it has. */
  reopen(plan: Plan = this.#plan): void {
    this.#operator = this.#kind.open(structuredClone(plan), this.#definition, this.#services());
  }

  entries(state: string): number {
    return this.#states.get(state)?.size ?? 0;
  }

  #open(): Operator {
    return this.#kind.open(this.#plan, this.#definition, this.#services());
  }

  #services(): LaneServices {
    return {
      stream: "test",
      partition: 0,
      before: new Map(),
      lookup: (plan) => new LookupTable(plan),
      state: <V>(name: string): KeyedState<V> => {
        const entries = this.#states.get(name) ?? new Map<string, string>();
        this.#states.set(name, entries);
        return {
          get: (key) => {
            const text = entries.get(key);
            return text === undefined ? undefined : (JSON.parse(text) as V);
          },
          set: (key, value) => {
            entries.set(key, JSON.stringify(value));
          },
          delete: (key) => {
            entries.delete(key);
          },
          get size() {
            return entries.size;
          },
          keys: () => entries.keys(),
          *entries() {
            for (const [key, text] of entries) yield [key, JSON.parse(text) as V] as [string, V];
          },
        };
      },
    };
  }
}
