/**
 * The queue between an event and its packet. Events come out in the order they went in, and stay until they are removed.
 */
export interface Store {
  /** Resolves once the events survive the end of the page or process; sets the key of each. Calls may overlap. */
  add(events: QueuedEvent[]): Promise<void>;
  /** The oldest events, at least one if there is one, at most `count` and as many as `bytes` hold. */
  peek(count: number, bytes: number): Promise<QueuedEvent[]>;
  /** Events without a key, or no longer there, are passed over. */
  remove(events: readonly QueuedEvent[]): Promise<void>;
  size(): Promise<number>;
  /** Removes so many of the newest or oldest events and returns them. */
  cut(count: number, newest: boolean): Promise<QueuedEvent[]>;
  clear(): Promise<void>;
  close?(): Promise<void>;
}

/** Short names, for each event is stored with them. */
export interface QueuedEvent {
  /** The event's own id: resending makes no second event. */
  readonly i: string;
  /** Stream. */
  readonly s: string;
  /** The event as JSON. */
  readonly e: string;
  /** Bytes of `e`. */
  readonly b: number;
  /** Where the store keeps it. */
  k?: number | string;
}

/** Keeps events as long as the page or process lives: for where nothing can be stored. */
export function memoryStore(): Store {
  let events: QueuedEvent[] = [];
  return {
    async add(added) {
      events.push(...added);
    },
    peek: async (count, bytes) => fitting(events, count, bytes),
    async remove(gone) {
      const ids = new Set(gone.map((event) => event.i));
      events = events.filter((event) => !ids.has(event.i));
    },
    size: async () => events.length,
    cut: async (count, newest) => events.splice(newest ? -count : 0, count),
    async clear() {
      events = [];
    },
  };
}

/** The first events, as many as fit and at least one. */
export function fitting(events: readonly QueuedEvent[], count: number, bytes: number): QueuedEvent[] {
  let end = 0;
  for (let left = bytes; end < Math.min(count, events.length); end++) {
    left -= (events[end] as QueuedEvent).b + 1;
    if (left < 0 && end > 0) break;
  }
  return events.slice(0, end);
}
