/** The tracker over a host of the test's own: its clock, its randomness, a store that outlives it. */
import { randomUUID } from "node:crypto";
import type { Host, State } from "../../packages/tracker/src/host.ts";
import type { Drop, Options, Trouble } from "../../packages/tracker/src/options.ts";
import { memoryStore, type Store } from "../../packages/tracker/src/store.ts";
import { startTracker, type Tracker } from "../../packages/tracker/src/tracker.ts";

export interface Surroundings {
  /** Survive the tracker, as a browser's do. */
  readonly store?: Store;
  readonly saved?: { state?: State };
  readonly now?: () => number;
  readonly random?: () => number;
}

export interface Tested {
  readonly tracker: Tracker;
  readonly drops: Drop[];
  readonly troubles: Trouble[];
  readonly saved: { state?: State };
  readonly store: Store;
  leave(): void;
  wake(): void;
}

export function testTracker(
  options: Partial<Options> & Pick<Options, "endpoints">,
  { store = memoryStore(), saved = {}, now = Date.now, random = () => 1 }: Surroundings = {},
): Tested {
  const drops: Drop[] = [];
  const troubles: Trouble[] = [];
  const host: Host = {
    open: async () => store,
    load: () => (saved.state === undefined ? undefined : structuredClone(saved.state)),
    save: (state) => {
      saved.state = structuredClone(state);
    },
    value: (name) => `value of ${name}`,
    exclusively: (work) => work(),
    now,
    random,
    uuid: randomUUID,
  };
  const all: Options = {
    key: "mk_test",
    onDrop: (drop) => drops.push(drop),
    onError: (trouble) => troubles.push(trouble),
    flushIntervalMs: 60_000,
    flushEvents: 1_000_000,
    ...options,
  };
  const { tracker, leave, wake } = startTracker(all, host, 60_000);
  return { tracker: tracker as Tested["tracker"], drops, troubles, saved, store, leave, wake };
}
