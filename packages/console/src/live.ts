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
const HIDDEN_MS = 10_000;

class LiveStore {
  #state: LiveState = { kind: "connecting" };
  #source: EventSource | undefined;
  readonly #listeners = new Set<() => void>();
  held = false;
  #leaving: ReturnType<typeof setTimeout> | undefined;
  readonly #pulses: Pulse[] = [];
  readonly #nodes = new Map<string, NodeState>();
  #minute: Minute = { incoming: [], cpu: [], memory: [], eventLoop: [] };
  /** Times that the platform was away and came back. */
  #comebacks = 0;

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) document.addEventListener("visibilitychange", this.#onLook);
    if (this.#source === undefined) this.#open();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      document.removeEventListener("visibilitychange", this.#onLook);
      this.#close();
      this.#pulses.length = 0;
      this.#state = { kind: "connecting" };
    };
  };

  state = (): LiveState => this.#state;

  node(id: string): NodeState {
    return this.#nodes.get(id) ?? UNKNOWN;
  }

  flows(from: string, to: string): boolean {
    const { beat } = this.#state as { beat?: Beat };
    const reaches = beat?.rates[to];
    return (beat?.rates[from] ?? 0) > 0 && (reaches === undefined || reaches > 0);
  }

  minute = (): Minute => this.#minute;

  stamp(things: readonly string[]): string | undefined {
    const { beat } = this.#state as { beat?: Beat };
    if (beat === undefined) return undefined;
    return [this.#comebacks, ...things.map((thing) => beat.stamps[thing] ?? "")].join("|");
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
  }

  /** A page that nobody looks at does not keep one of the browser's few connections to the platform. */
  #onLook = (): void => {
    clearTimeout(this.#leaving);
    if (document.visibilityState === "hidden") this.#leaving = setTimeout(() => this.#close(), HIDDEN_MS);
    else if (this.#source === undefined) this.#open();
  };

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
    }
    for (const [id, node] of Object.entries(pulse.nodes)) this.#takeNode(id, node, rates[id] ?? 0);
    const incoming = Object.entries(rates).reduce(
      (sum, [id, rate]) => (id.startsWith("stream:") ? sum + rate : sum),
      0,
    );
    const { cpu, memory, eventLoop } = pulse.process;
    const longer = (values: readonly number[], value: number) => [...values, value].slice(-KEPT);
    this.#minute = {
      incoming: longer(this.#minute.incoming, incoming),
      cpu: longer(this.#minute.cpu, cpu),
      memory: longer(this.#minute.memory, memory.residentBytes),
      eventLoop: longer(this.#minute.eventLoop, eventLoop.p99Ms),
    };
    if (this.#state.kind === "lost") this.#comebacks += 1;
    this.#set({ kind: "live", beat: { ...pulse, rates } });
  }

  /** Most nodes are as they were a second ago, and whoever draws them draws nothing then. */
  #takeNode(id: string, pulse: NodePulse, rate: number): void {
    const before = this.#nodes.get(id) ?? UNKNOWN;
    const history = [...before.history, rate].slice(-KEPT);
    const quiet = history.every((value) => value === 0) && before.history.length > 0;
    if (quiet && before.rate === rate && isSame(before.pulse, pulse)) return;
    this.#nodes.set(id, { pulse, rate, history });
  }

  /** While it is held, pulses are taken in and told afterwards. */
  hold(held: boolean): void {
    this.held = held;
    if (!held) this.#tell();
  }

  #set(state: LiveState): void {
    this.#state = state;
    if (!this.held) this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}

const UNKNOWN: NodeState = { pulse: undefined, rate: 0, history: [] };

function isSame(one: NodePulse | undefined, other: NodePulse): boolean {
  return one !== undefined && (Object.keys(other) as (keyof NodePulse)[]).every((field) => one[field] === other[field]);
}

const store = new LiveStore();

/** What is dragged about shows the same figures until it stands still again: drawing new ones would make it stumble. */
export const hold = (): void => store.hold(true);
export const goOn = (): void => store.hold(false);
export const isHeld = (): boolean => store.held;

export function useLive(): LiveState {
  return useSyncExternalStore(store.subscribe, store.state);
}

/** Another text whenever one of the things has changed, or the platform was away; undefined while nothing is known. */
export function useStamp(things: readonly string[]): string | undefined {
  return useSyncExternalStore(store.subscribe, () => (things.length === 0 ? undefined : store.stamp(things)));
}

/** The last minute of the process that answers, one figure a second, oldest first. */
export interface Minute {
  /** Events a second into all streams. */
  readonly incoming: readonly number[];
  readonly cpu: readonly number[];
  readonly memory: readonly number[];
  readonly eventLoop: readonly number[];
}

export function useMinute(): Minute {
  return useSyncExternalStore(store.subscribe, store.minute);
}

/** Whether something goes from one node to another now. */
export function useFlows(from: string, to: string): boolean {
  return useSyncExternalStore(store.subscribe, () => store.flows(from, to));
}

export interface NodeState {
  readonly pulse: NodePulse | undefined;
  readonly rate: number;
  /** Rates, oldest first: one a second. Not kept up to date in a state that is otherwise the same. */
  readonly history: readonly number[];
}

/** Of one node; the same object as long as what is shown of it is the same. */
export function useNode(id: string): NodeState {
  return useSyncExternalStore(store.subscribe, () => store.node(id));
}
