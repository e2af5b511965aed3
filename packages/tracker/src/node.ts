/** The tracker on Node. */
import { randomUUID } from "node:crypto";
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Calls, Events, EventsOf, FieldsByStream } from "./event-types.ts";
import type { FieldName } from "./fields.ts";
import type { State } from "./host.ts";
import { nodeFields } from "./node-fields.ts";
import type { Options } from "./options.ts";
import { openQueueFolder } from "./queue-folder.ts";
import { startTracker, type Tracker } from "./tracker.ts";

export type { EventsOf } from "./event-types.ts";
export type { FieldName, FieldValues } from "./fields.ts";
export type { Drop, Options, Trouble } from "./options.ts";
export type { Tracker } from "./tracker.ts";

export interface NodeOptions<E = Events, F = FieldsByStream<E>, C = Calls<E>> extends Options<E, F, C> {
  /**
   * Folder of the queue. Several processes may name the same: each writes a file of its own, and takes over what dead ones left. It must
   * be on a disk of this machine.
   */
  readonly dir: string;
}

/**
 * A tracker of a process: `createTracker<typeof streams>()({ dir, endpoints, key, … })` where the types of events come from the project's
 * streams, `createTracker({ dir, endpoints, key, … })` where they do not.
 */
export function createTracker<Streams>(): <
  const F extends FieldsByStream<EventsOf<Streams>> = Record<never, never>,
  const C extends Calls<EventsOf<Streams>> = Record<never, never>,
>(
  options: NodeOptions<EventsOf<Streams>, F, C>,
) => Tracker<EventsOf<Streams>, F, C>;
export function createTracker(options: NodeOptions): Tracker;
export function createTracker(options?: NodeOptions): unknown {
  return options ? create(options) : create;
}

/** The session's clock is written so often; its other changes at once. */
const TOUCH_MS = 60_000;

function create(options: NodeOptions): Tracker {
  const dir = resolve(options.dir, options.name ?? "tracker");
  const file = join(dir, "state.json");
  let saved = 0;
  let state = readState(file);
  return startTracker(
    options,
    {
      open: () => openQueueFolder(dir, (error) => (options.onError ?? console.warn)(error)),
      load: () => state,
      save(changed, touched) {
        state = changed;
        if (touched && Date.now() - saved < TOUCH_MS) return;
        saved = Date.now();
        writeState(dir, file, changed);
      },
      value: (field: FieldName) => nodeFields[field]?.(),
      exclusively: (work) => work(),
      now: () => Date.now(),
      random: () => Math.random(),
      uuid: randomUUID,
    },
    1_000,
  ).tracker;
}

function readState(file: string): State | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as State;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function writeState(dir: string, file: string, state: State): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const draft = `${file}.${process.pid}`;
  const handle = openSync(draft, "w", 0o600);
  try {
    writeSync(handle, JSON.stringify(state));
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  renameSync(draft, file);
}
