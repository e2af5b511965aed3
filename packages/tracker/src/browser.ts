/** The tracker in a browser. */

import type { Calls, EventsOf, FieldsByStream } from "./event-types.ts";
import type { FieldName } from "./fields.ts";
import type { State } from "./host.ts";
import { indexedDbStore } from "./indexed-db.ts";
import { localStore } from "./local-storage.ts";
import type { Options } from "./options.ts";
import { type Field, pageFields } from "./page-fields.ts";
import { startTracker, type Tracker } from "./tracker.ts";

export type { EventsOf } from "./event-types.ts";
export type { FieldName, FieldValues } from "./fields.ts";
export type { Drop, Options, Trouble } from "./options.ts";
export type { Tracker } from "./tracker.ts";

/**
 * A tracker of a page: `createTracker<typeof streams>()({ endpoints, key, … })` where the types of events come from the project's streams,
 * `createTracker({ endpoints, key, … })` where they do not.
 */
export function createTracker<Streams>(): <
  const F extends FieldsByStream<EventsOf<Streams>> = Record<never, never>,
  const C extends Calls<EventsOf<Streams>> = Record<never, never>,
>(
  options: Options<EventsOf<Streams>, F, C>,
) => Tracker<EventsOf<Streams>, F, C>;
export function createTracker(options: Options): Tracker;
export function createTracker(options?: Options): unknown {
  return options ? create(options) : create;
}

function create(options: Options): Tracker {
  const name = `millrace.${options.name ?? "tracker"}`;
  /** False once the browser refuses; what is in memory holds from then on. */
  let stores = true;
  const { tracker, leave, wake } = startTracker(
    options,
    {
      open: () => indexedDbStore(name).catch(() => localStore(name)),
      load() {
        try {
          const text = stores && localStorage.getItem(name);
          return text ? (JSON.parse(text) as State) : undefined;
        } catch {
          return undefined;
        }
      },
      save(state) {
        try {
          localStorage.setItem(name, JSON.stringify(state));
        } catch {
          stores = false;
        }
      },
      value: (field: FieldName) => pageFields[field as Field]?.(),
      async exclusively(work) {
        let begun = false;
        try {
          await navigator.locks.request(name, () => {
            begun = true;
            return work();
          });
        } catch (error) {
          if (begun) throw error;
          // No locks: an old browser, a page without TLS, blocked storage. Two tabs may then send one event, and its id makes it one.
          await work();
        }
      },
      now: () => Date.now(),
      random: () => Math.random(),
      uuid,
    },
    5_000,
  );
  addEventListener("pagehide", leave);
  document.addEventListener("visibilitychange", () => document.hidden && leave());
  addEventListener("online", wake);
  return tracker;
}

/** A version 4 UUID; `randomUUID` is missing on pages without TLS. */
function uuid(): string {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return "00000000-0000-4000-8000-000000000000".replace(/[08]/g, (_, at: number) => {
    const n = ((bytes[at >> 1] as number) >> (at & 1 ? 4 : 0)) & 15;
    return (at === 19 ? 8 | (n & 3) : n).toString(16);
  });
}
