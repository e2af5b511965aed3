/** How everything does now: one stream of pulses for the whole page, with the rates that follow from them. */
import { useSyncExternalStore } from "react";
import type { NodePulse, Pulse } from "../../../src/serve/map-route.ts";

export interface Beat extends Pulse {
  /** Per second, over the last few pulses, by the node's id. */
  readonly rates: Readonly<Record<string, number>>;
}

export type LiveState =
  | { readonly kind: "connecting" }
  | { readonly kind: "live"; readonly beat: Beat }
  /** What was last heard, and since when nothing more was. */
  | { readonly kind: "lost"; readonly beat: Beat | undefined; readonly sinceMs: number };

/** Rates are taken over so much time: long enough to be steady, short enough to be now. */
const OVER_MS = 5_000;
/** A minute's worth, for the small charts. */
const KEPT = 60;

class LiveStore {
  #state: LiveState = { kind: "connecting" };
  #source: EventSource | undefined;
  readonly #listeners = new Set<() => void>();
  readonly #pulses: Pulse[] = [];
  readonly #history = new Map<string, number[]>();

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    if (this.#source === undefined) this.#open();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#close();
    };
  };

  state = (): LiveState => this.#state;

  /** Rates of a node, oldest first: one a second. */
  history(id: string): readonly number[] {
    return this.#history.get(id) ?? [];
  }

  #open(): void {
    const source = new EventSource("/v1/live");
    this.#source = source;
    source.addEventListener("pulse", (event) => this.#take(JSON.parse((event as MessageEvent<string>).data) as Pulse));
    source.addEventListener("error", () => {
      const { beat } = this.#state as { beat?: Beat };
      if (this.#state.kind !== "lost") this.#set({ kind: "lost", beat, sinceMs: Date.now() });
      // A browser gives up where the answer is an error, as after a restart that takes long.
      if (source.readyState === EventSource.CLOSED && this.#source === source) {
        setTimeout(() => {
          if (this.#source === source && this.#listeners.size > 0) this.#open();
        }, 2_000);
      }
    });
  }

  #close(): void {
    this.#source?.close();
    this.#source = undefined;
    this.#pulses.length = 0;
    this.#state = { kind: "connecting" };
  }

  #take(pulse: Pulse): void {
    const last = this.#pulses.at(-1);
    // Counters begin again with the process.
    if (last !== undefined && last.startedAtMs !== pulse.startedAtMs) this.#pulses.length = 0;
    this.#pulses.push(pulse);
    if (this.#pulses.length > KEPT) this.#pulses.shift();
    const since = this.#pulses.find(({ atMs }) => pulse.atMs - atMs <= OVER_MS) ?? pulse;
    const seconds = (pulse.atMs - since.atMs) / 1000;
    const rates: Record<string, number> = {};
    for (const [id, { count }] of Object.entries(pulse.nodes)) {
      const before = since.nodes[id]?.count ?? count;
      rates[id] = seconds > 0 ? Math.max(0, (count - before) / seconds) : 0;
      const history = this.#history.get(id) ?? [];
      history.push(rates[id]);
      if (history.length > KEPT) history.shift();
      this.#history.set(id, history);
    }
    this.#set({ kind: "live", beat: { ...pulse, rates } });
  }

  #set(state: LiveState): void {
    this.#state = state;
    for (const listener of this.#listeners) listener();
  }
}

const store = new LiveStore();

export function useLive(): LiveState {
  return useSyncExternalStore(store.subscribe, store.state);
}

export function useNode(id: string): { pulse: NodePulse | undefined; rate: number; history: readonly number[] } {
  const state = useLive();
  const beat = state.kind === "connecting" ? undefined : state.beat;
  return { pulse: beat?.nodes[id], rate: beat?.rates[id] ?? 0, history: store.history(id) };
}
