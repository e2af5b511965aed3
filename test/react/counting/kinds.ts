/**
 * What the operators of the tests do. Events are `{id, key, n, …}`; the operator counts those of each key, and emits what the plan asks for. An event may ask
 * for trouble by its field `do`.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { EventView, LaneServices, Operator, OperatorKind, Outlet } from "../../../src/react/operator.ts";

export interface CountingPlan {
  /** Stream that gets `{key, count, cause}` of every event whose count is a multiple of `every`. */
  readonly emitTo?: string;
  readonly every?: number;
  /** Gives promises, which take `n % 4` milliseconds. */
  readonly slow?: boolean;
  /** Those look at the state before they take their time. */
  readonly looksFirst?: boolean;
  readonly ttlMs?: number;
  readonly version?: string;
}

interface CountedEvent {
  readonly id: string;
  readonly key: string;
  readonly n: number;
  readonly do?:
    | "throw"
    | "refuse"
    | "hang"
    | "exit"
    | "reject"
    | "throw-later"
    | "emit-nonsense"
    | "eat"
    | "hang-later";
}

class Counting implements Operator {
  readonly #plan: CountingPlan;
  readonly #counts: ReturnType<LaneServices["state"]>;
  readonly keyOf?: (event: EventView) => string;

  constructor(plan: CountingPlan, lane: LaneServices) {
    this.#plan = plan;
    const codec = plan.version === undefined ? undefined : textCodec(plan.version);
    this.#counts = lane.state("counts", {
      ...(plan.ttlMs !== undefined && { ttlMs: plan.ttlMs }),
      ...(codec && { codec }),
    });
    if (plan.slow) this.keyOf = (event) => (event.value as unknown as CountedEvent).key;
  }

  apply(event: EventView, out: Outlet): void | Promise<void> {
    const value = event.value as unknown as CountedEvent;
    if (!this.#plan.slow) return this.#count(event, value, out);
    const seen = this.#plan.looksFirst ? Number(this.#counts.get(value.key) ?? 0) : undefined;
    return sleep(value.n % 4).then(() => this.#count(event, value, out, seen));
  }

  read(request: unknown): unknown {
    if (request === "hang") for (;;);
    if (request === "exit") process.exit(3);
    return this.#counts.get(String(request));
  }

  #count(event: EventView, { key, do: trouble }: CountedEvent, out: Outlet, seen?: number): void | Promise<void> {
    const count = (seen ?? Number(this.#counts.get(key) ?? 0)) + 1;
    this.#counts.set(key, count);
    const { emitTo, every = 1 } = this.#plan;
    if (emitTo !== undefined && count % every === 0) out.emit(emitTo, { key, count, cause: event.offset });
    switch (trouble) {
      case "throw":
        throw new Error("asked to throw");
      case "refuse":
        return out.refuse("ASKED_TO_REFUSE", "asked to refuse");
      case "emit-nonsense":
        return out.emit("results", 5 as never);
      case "hang":
        for (;;);
      case "hang-later":
        return sleep(1).then(() => {
          for (;;);
        });
      case "eat": {
        let eaten: unknown;
        for (;;) eaten = { eaten, more: [1, 2, 3] };
      }
      case "exit":
        process.exit(3);
        break;
      case "reject":
        return Promise.reject(new Error("asked to reject"));
      case "throw-later":
        setTimeout(() => {
          throw new Error("asked to throw later");
        }, 1);
        return undefined;
      default:
        return undefined;
    }
    return undefined;
  }
}

function textCodec(version: string) {
  return {
    version,
    encode: (value: unknown) => String(value),
    decode: (bytes: Uint8Array) => Number(Buffer.from(bytes).toString()),
  };
}

const counting: OperatorKind<CountingPlan, unknown> = { open: (plan, _, lane) => new Counting(plan, lane) };

export const operatorKinds = { function: counting };
