import type { EventView, KeyedState, LaneServices, StateCodec } from "../../src/react/operator.ts";

/**
 * A lane's state without a lane: encoded at every `set` and decoded at every `get`, as after a restart, and expired by the arrival of the newest event.
 */
export class FeatureLane implements Pick<LaneServices, "state"> {
  readonly states = new Map<string, Map<string, { readonly bytes: Uint8Array; readonly atMs: number }>>();
  nowMs = 0;

  event(value: Readonly<Record<string, unknown>>, offset: number, receivedAtMs: number): EventView {
    this.nowMs = receivedAtMs;
    return { value, partition: 0, offset, receivedAtMs, source: "test" };
  }

  state<V>(name: string, options: { readonly codec?: StateCodec<V>; readonly ttlMs?: number } = {}): KeyedState<V> {
    const { codec, ttlMs = Number.POSITIVE_INFINITY } = options;
    if (codec === undefined) throw new Error("features bring their codecs");
    const entries = this.states.get(name) ?? new Map<string, { bytes: Uint8Array; atMs: number }>();
    this.states.set(name, entries);
    const get = (key: string): V | undefined => {
      const entry = entries.get(key);
      if (entry === undefined || this.nowMs - entry.atMs >= ttlMs) return undefined;
      return codec.decode(entry.bytes);
    };
    const lane = this;
    return {
      get,
      set(key, value) {
        const encoded = codec.encode(value);
        const bytes = typeof encoded === "string" ? Buffer.from(encoded) : encoded;
        entries.set(key, { bytes, atMs: lane.nowMs });
      },
      delete(key) {
        entries.delete(key);
      },
      get size() {
        return entries.size;
      },
      keys: () => entries.keys(),
      *entries(): IterableIterator<[string, V]> {
        for (const key of entries.keys()) {
          const value = get(key);
          if (value !== undefined) yield [key, value];
        }
      },
    };
  }
}
