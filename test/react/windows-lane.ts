/** A lane in memory for windows: takes events in order, and can go on from a checkpoint after any of them. */
import type { Problem } from "../../src/define/problem.ts";
import type { Stream } from "../../src/define/project.ts";
import { readStream } from "../../src/define/read-stream.ts";
import { type BoundWindow, bindWindow, readWindow } from "../../src/define/read-window.ts";
import type { StreamDefinition } from "../../src/define/stream.ts";
import type { WindowDefinition, WindowOptions } from "../../src/define/window.ts";
import { LookupTable } from "../../src/react/lookups/lookup-table.ts";
import type { EventView, KeyedState, LaneServices, Operator, Outlet, StateCodec } from "../../src/react/operator.ts";
import { openWindows } from "../../src/react/windows/window-operator.ts";

export type Row = Record<string, unknown>;

export interface Given {
  readonly offset: number;
  readonly stream: string;
  readonly row: Row;
}

export interface Refused {
  readonly offset: number;
  readonly code: string;
  readonly message: string;
}

type Bytes = ReadonlyMap<string, ReadonlyMap<string, Uint8Array>>;

interface State {
  readonly entries: Map<string, unknown>;
  readonly codec: StateCodec<unknown>;
}

export class WindowLane {
  readonly given: Given[] = [];
  readonly refused: Refused[] = [];
  readonly bound: BoundWindow;
  /** Windows that one event closes at most, from the next restart on. */
  mostClosed = 1_000_000;
  /** What every emission throws. */
  failing: Error | undefined;
  readonly #definition: { readonly name: string; readonly options: WindowOptions };
  #states = new Map<string, State>();
  #operator: Operator;
  #offset = 0;

  constructor(definition: WindowDefinition, on: StreamDefinition, late?: StreamDefinition, overWindow = false) {
    this.#definition = definition;
    this.bound = boundWindow(definition, on, late, overWindow);
    this.#operator = this.#open(new Map());
  }

  /** The event at the next offset, as JSON brought it. */
  apply(value: Row, receivedAtMs: number): void {
    const event: EventView = {
      ...{ value: Object.freeze(JSON.parse(JSON.stringify(value))), partition: 0, offset: this.#offset++ },
      ...{ receivedAtMs, source: "test" },
    };
    const unchanged = this.#frozen();
    const states = [...this.#states].map(([, { entries }]) => ({ entries, before: new Map(entries) }));
    const given = this.given.length;
    try {
      this.#operator.apply(event, this.#outlet(event.offset));
    } catch (error) {
      // Of an attempt that throws nothing is kept.
      this.given.length = given;
      for (const { entries, before } of states) {
        entries.clear();
        for (const [key, value] of before) entries.set(key, value);
      }
      throw error;
    } finally {
      unchanged();
    }
  }

  tick(nowMs: number): void {
    this.#operator.tick?.(nowMs, this.#outlet(-1));
  }

  get ticks(): boolean {
    return this.#operator.tick !== undefined;
  }

  /** Goes on as another process would, from the bytes of a checkpoint. Entries come in any order. */
  restart(): void {
    this.#operator = this.#open(this.#checkpoint());
  }

  entries(state: string): number {
    return this.#states.get(state)?.entries.size ?? 0;
  }

  /** Bytes of the checkpoint. */
  get bytes(): number {
    let bytes = 0;
    for (const entries of this.#checkpoint().values()) for (const value of entries.values()) bytes += value.length;
    return bytes;
  }

  #checkpoint(): Bytes {
    const text = new TextEncoder();
    return new Map(
      [...this.#states].map(([name, { entries, codec }]) => [
        name,
        new Map(
          [...entries].reverse().map(([key, value]) => {
            const encoded = codec.encode(value);
            return [key, typeof encoded === "string" ? text.encode(encoded) : encoded];
          }),
        ),
      ]),
    );
  }

  #open(from: Bytes): Operator {
    this.#states = new Map();
    const lane: LaneServices = {
      stream: "test",
      partition: 0,
      before: new Map(),
      lookup: (plan) => new LookupTable(plan),
      state: <V>(name: string, options?: { readonly codec?: StateCodec<V> }): KeyedState<V> => {
        const codec = (options?.codec ?? JSON_CODEC) as StateCodec<unknown>;
        const entries = new Map<string, unknown>();
        for (const [key, bytes] of from.get(name) ?? []) entries.set(key, codec.decode(bytes));
        this.#states.set(name, { entries, codec });
        return {
          get: (key) => entries.get(key) as V | undefined,
          set: (key, value) => void entries.set(key, value),
          delete: (key) => void entries.delete(key),
          keys: () => entries.keys(),
          entries: () => entries.entries() as IterableIterator<[string, V]>,
          get size() {
            return entries.size;
          },
        };
      },
    };
    return openWindows(structuredClone(this.bound.window.plan), this.#definition.options, lane, this.mostClosed);
  }

  /** Values of state must not be changed in place: the function it gives throws when one was. */
  #frozen(): () => void {
    const before = [...this.#states.values()].flatMap(({ entries, codec }) =>
      [...entries].slice(-3).map(([key, value]) => ({ key, value, codec, bytes: codec.encode(value) })),
    );
    return () => {
      for (const { key, value, codec, bytes } of before)
        if (String(codec.encode(value)) !== String(bytes)) throw new Error(`the state of ${key} was changed in place`);
    };
  }

  #outlet(offset: number): Outlet {
    return {
      emit: (stream, row) => {
        if (this.failing !== undefined) throw this.failing;
        this.given.push({ offset, stream, row: JSON.parse(JSON.stringify(row)) as Row });
      },
      refuse: (code, message) => void this.refused.push({ offset, code, message }),
    };
  }
}

const JSON_CODEC: StateCodec<unknown> = {
  version: "json",
  encode: (value) => JSON.stringify(value),
  decode: (bytes) => JSON.parse(new TextDecoder().decode(bytes)) as unknown,
};

export function boundWindow(
  definition: WindowDefinition,
  on: StreamDefinition,
  late?: StreamDefinition,
  overWindow = false,
): BoundWindow {
  const draft = readWindow(definition, "test.ts");
  if (!("on" in draft)) throw new Error(messages(draft));
  const bound = bindWindow(draft, streamOf(on), late && streamOf(late), overWindow);
  if (!("window" in bound)) throw new Error(messages(bound));
  return bound;
}

export function streamOf(definition: StreamDefinition): Stream {
  const read = readStream(definition, "test.ts", 7 * 86_400_000);
  if (!("columns" in read)) throw new Error(messages(read));
  return read;
}

function messages(problems: readonly Problem[]): string {
  return problems.map(({ code, message }) => `${code}: ${message}`).join("\n");
}
