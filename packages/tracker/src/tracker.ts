/**
 * The tracker, whatever it runs on.
 *
 *     track -> store (survives the page) -> packets of one stream, oldest first, one at a time -> 202 -> gone from the store
 *
 * An event leaves the store when the platform has acknowledged or refused it, and not before; each carries an id that was made
 * here, so what is sent again is the same event. What gives events up says so to `onDrop`.
 */
import type { Arguments, CallArguments, Calls, Events, FieldsByStream, FilledFields, Given } from "./event-types.ts";
import type { Host, State } from "./host.ts";
import type { Options } from "./options.ts";
import { sender } from "./sender.ts";
import { memoryStore, type QueuedEvent } from "./store.ts";

export interface Tracker<E = Events, F = FieldsByStream<E>, C = Calls<E>> {
  /**
   * Takes an event for a stream. Resolves true once it is stored and false when it is not (then `onDrop` or `onError` has the reason,
   * unless the user opted out); never rejects, and need not be awaited.
   */
  track<Name extends keyof E & string>(
    stream: Name,
    ...fields: Arguments<Given<E[Name], FilledFields<F, Name>>>
  ): Promise<boolean>;
  page(...fields: CallArguments<E, F, C, "page">): Promise<boolean>;
  screen(...fields: CallArguments<E, F, C, "screen">): Promise<boolean>;
  /** From now on events are this user's. Sends `user_id` and the traits when `calls.identify` names a stream. */
  identify(userId: string, ...traits: CallArguments<E, F, C, "identify", "user_id">): Promise<boolean>;
  /** Gives the user a new id. Sends `previous_id` and `user_id` when `calls.alias` names a stream. */
  alias(userId: string, ...fields: CallArguments<E, F, C, "alias", "user_id" | "previous_id">): Promise<boolean>;
  /** From now on events are this group's. Sends `group_id` and the traits when `calls.group` names a stream. */
  group(groupId: string, ...traits: CallArguments<E, F, C, "group", "group_id">): Promise<boolean>;
  /** Forgets user, group and session and makes a new anonymous id: for signing out. Waiting events are kept. */
  reset(): void;
  /** True: events may be stored and sent. False is `optOut`. */
  consent(granted: boolean): Promise<void>;
  /** Deletes the queue and every id, and takes nothing more until `consent(true)`. */
  optOut(): Promise<void>;
  ids(): { anonymousId: string; userId?: string | undefined; groupId?: string | undefined; sessionId?: string };
  /** Sends what waits. True when nothing is left. */
  flush(): Promise<boolean>;
  /** Flushes for at most so long (default 5,000 ms) and lets go of the queue; what is left is sent by the next tracker. */
  close(timeoutMs?: number): Promise<void>;
}

export interface Running {
  readonly tracker: Tracker;
  /** The page may go: sends what this tab has not, in a way that outlives it. */
  leave(): void;
  /** The network is back. */
  wake(): void;
}

/** What a page may have under way when it goes, in bytes (Fetch standard: 64 KiB); the rest waits in the store. */
const LAST_BYTES = 60_000;

type Waiting = readonly [QueuedEvent, (stored: boolean) => void];

export function startTracker(options: Options, host: Host, defaultFlushMs: number): Running {
  const {
    maxQueue = 10_000,
    maxEventBytes = 32_768,
    flushEvents = 20,
    flushIntervalMs = defaultFlushMs,
    onDrop = (drop) => console.warn("tracker: event dropped", drop),
    onError = (error) => console.warn("tracker:", error.message),
  } = options;
  const spare = memoryStore();
  const opening = host.open().catch((error: unknown) => {
    trouble(error);
    return memoryStore();
  });
  /** Of this tab, and not known to be sent. */
  const recent = new Map<string, QueuedEvent>();
  const leaving = new Set<string>();
  let held: Waiting[] = [];
  let fresh: Waiting[] = [];
  let writes: Promise<unknown> = opening;
  let trimming: Promise<unknown> = opening;
  let room = 0;
  let sending: Promise<void> | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let due = 0;
  let closed = false;

  // Callbacks are the page's code: what they throw is theirs and stops nothing here.
  const trouble = (error: unknown): void => queueMicrotask(() => onError(error as Error));
  const drop = (stream: string, event: unknown, code: string, message: string): void =>
    queueMicrotask(() => onDrop({ stream, event, code, message }));

  let state: State = {};
  const read = (): State => {
    state = host.load() ?? state;
    state.a ??= host.uuid();
    return state;
  };
  const granted = ({ c } = state): boolean => c ?? options.consent !== "required";
  const allowed = (): boolean => granted(read());
  const refused = (): boolean => read().c === false;
  /** Before consent nothing is stored, not even an id. */
  const save = (touched = false): void => {
    if (granted()) host.save(state, touched);
  };
  const change = (changed: State): void => {
    state = { ...read(), ...changed };
    save();
  };

  /** Goes by the state as `track` has just read it. */
  const session = (): NonNullable<State["s"]> => {
    const now = host.now();
    const last = state.s;
    const goesOn = last && now - last[2] <= (options.sessionTimeoutMs ?? 1_800_000);
    const next: NonNullable<State["s"]> = goesOn ? last : [host.uuid(), now, now, (last?.[3] ?? 0) + 1, 0];
    next[2] = now;
    next[4]++;
    state.s = next;
    save(!!goesOn);
    return next;
  };

  const track = (stream: string, fields?: object): Promise<boolean> => {
    const stored = Promise.resolve(false);
    if (closed) {
      drop(stream, fields, "CLOSED", "the tracker was closed");
      return stored;
    }
    if (refused()) return stored;
    const [sessionId, startedAt, now, number, sequence] = session();
    const i = host.uuid();
    const own: Record<string, unknown> = {
      event_id: i,
      occurred_at: new Date(now).toISOString(),
      anonymous_id: state.a,
      user_id: state.u,
      group_id: state.g,
      session_id: sessionId,
      session_started_at: new Date(startedAt).toISOString(),
      session_number: number,
      session_sequence: sequence,
      app_version: options.appVersion,
    };
    const event: Record<string, unknown> = {};
    for (const name of (options.streams as FieldsByStream<Record<string, never>>)?.[stream] ?? []) {
      event[name] = name in own ? own[name] : host.value(name);
    }
    let e: string;
    try {
      e = JSON.stringify({ ...event, ...fields });
    } catch (error) {
      drop(stream, fields, "NOT_JSON", String(error));
      return stored;
    }
    const b = new TextEncoder().encode(e).length;
    if (b > maxEventBytes) {
      drop(stream, fields, "EVENT_TOO_LARGE", `${b} bytes, maxEventBytes is ${maxEventBytes}`);
      return stored;
    }
    return new Promise((resolve) => {
      const waiting: Waiting = [{ i, s: stream, e, b }, resolve];
      if (granted()) write([waiting]);
      else {
        held.push(waiting);
        if (held.length > maxQueue) full([(options.whenFull === "drop-newest" ? held.pop() : held.shift()) as Waiting]);
      }
    });
  };

  const full = (gone: Waiting[]): void => {
    for (const [{ s, e }, resolve] of gone) {
      drop(s, JSON.parse(e), "QUEUE_FULL", `maxQueue is ${maxQueue}`);
      resolve(false);
    }
  };

  /** What is tracked in one go is stored in one go. */
  const write = (waiting: Waiting[]): void => {
    if (!fresh.length) queueMicrotask(() => (writes = Promise.all([writes, persist()])));
    fresh.push(...waiting);
    for (const [event] of waiting) recent.set(event.i, event);
  };

  const persist = async (): Promise<void> => {
    const batch = fresh;
    fresh = [];
    const events = batch.map(([event]) => event);
    const store = await opening;
    let stored = true;
    let gone: QueuedEvent[] = [];
    if (refused()) stored = false;
    else {
      try {
        await store.add(events);
      } catch (error) {
        trouble(error);
        stored = false;
        await spare.add(events);
      }
      room -= events.length;
      // Counting is not free, and other tabs fill the same queue: so it is done now and then.
      if (room < 0) {
        const trim = trimming.then(async () => {
          const queue = stored ? store : spare;
          const over = (await queue.size()) - maxQueue;
          room = Math.min(100, -over);
          if (over > 0) gone = await queue.cut(over, options.whenFull === "drop-newest");
        });
        trimming = trim.catch(trouble);
        await trimming;
      }
      schedule(recent.size < flushEvents ? flushIntervalMs : 0);
    }
    for (const event of gone) recent.delete(event.i);
    full(gone.map((event) => [event, () => {}]));
    const lost = new Set(gone.map((event) => event.i));
    for (const [event, resolve] of batch) resolve(stored && !lost.has(event.i));
  };

  const remove = async (events: readonly QueuedEvent[]): Promise<void> => {
    for (const event of events) recent.delete(event.i);
    await (await opening).remove(events);
    await spare.remove(events);
  };

  const { deliver, waitMs, wake, abort } = sender(options, host, { allowed, remove, drop, onError: trouble });

  const schedule = (delayMs: number): void => {
    const at = performance.now() + delayMs;
    if (closed || (timer && due <= at)) return;
    clearTimeout(timer);
    due = at;
    timer = setTimeout(() => {
      timer = undefined;
      void send();
    }, delayMs);
    // On Node a waiting packet does not keep the process: it is stored.
    (timer as { unref?: () => void }).unref?.();
  };

  const send = (): Promise<void> => {
    sending ??= host
      .exclusively(drain)
      .catch((error: unknown) => {
        trouble(error);
        schedule(5_000);
      })
      .finally(() => {
        sending = undefined;
      });
    return sending;
  };

  const drain = async (): Promise<void> => {
    await writes;
    for (const store of [await opening, spare]) {
      while (allowed()) {
        const stored = [...recent.values()].filter((event) => event.k);
        const events = await store.peek(options.packetEvents ?? 500, options.packetBytes ?? 262_144);
        if (!events.length) {
          // Another tab has sent them.
          for (const event of stored) recent.delete(event.i);
          break;
        }
        for (const packet of byStream(events)) {
          if (!(await deliver(packet))) {
            if (allowed()) schedule(waitMs());
            return;
          }
        }
      }
    }
  };

  const call = (name: keyof Calls<Events>, own: object | undefined, fields?: object): Promise<boolean> => {
    const stream = options.calls?.[name];
    if (stream) return track(stream, { ...fields, ...own });
    if (!own) throw new Error(`set calls.${name} to the stream that ${name}() sends to`);
    return Promise.resolve(!refused());
  };

  const consent = async (granted: boolean): Promise<void> => {
    const waiting = held;
    held = [];
    if (granted) {
      change({ c: true });
      if (waiting.length) write(waiting);
      schedule(0);
      return;
    }
    state = { c: false };
    host.save(state, false);
    abort();
    recent.clear();
    for (const [, resolve] of waiting) resolve(false);
    await (await opening).clear();
    await spare.clear();
  };

  const flush = async (): Promise<boolean> => {
    await sending;
    await send();
    return !((await (await opening).size()) + (await spare.size()));
  };

  // What was left by the last visit.
  void opening.then((store) => (refused() ? store.clear() : allowed() && schedule(0))).catch(trouble);

  const tracker = {
    track,
    page: (fields?: object) => call("page", undefined, fields),
    screen: (fields?: object) => call("screen", undefined, fields),
    identify(user_id: string, traits?: object) {
      change({ u: user_id });
      return call("identify", { user_id }, traits);
    },
    alias(user_id: string, fields?: object) {
      const { u, a } = read();
      change({ u: user_id });
      return call("alias", { previous_id: u ?? a, user_id }, fields);
    },
    group(group_id: string, traits?: object) {
      change({ g: group_id });
      return call("group", { group_id }, traits);
    },
    reset: () => change({ a: host.uuid(), u: undefined, g: undefined, s: undefined }),
    consent,
    optOut: () => consent(false),
    ids() {
      const { a, u, g, s } = read();
      return { anonymousId: a as string, userId: u, groupId: g, sessionId: s?.[0] };
    },
    flush,
    async close(timeoutMs = 5_000) {
      let limit: ReturnType<typeof setTimeout> | undefined;
      await Promise.race([flush(), new Promise((resolve) => (limit = setTimeout(resolve, timeoutMs)))]);
      clearTimeout(limit);
      closed = true;
      clearTimeout(timer);
      abort();
      await writes;
      await (await opening).close?.();
    },
  } as unknown as Tracker;

  return {
    tracker,
    wake() {
      wake();
      schedule(0);
    },
    leave() {
      let left = LAST_BYTES;
      const events: QueuedEvent[] = [];
      for (const event of recent.values()) {
        left -= event.b + 1;
        if (left < 0) break;
        if (!leaving.has(event.i)) events.push(event);
        leaving.add(event.i);
      }
      for (const packet of byStream(events)) {
        void deliver(packet, true)
          .catch(trouble)
          .finally(() => {
            for (const event of packet) leaving.delete(event.i);
          });
      }
    },
  };
}

function byStream(events: readonly QueuedEvent[]): QueuedEvent[][] {
  const packets = new Map<string, QueuedEvent[]>();
  for (const event of events) packets.set(event.s, [...(packets.get(event.s) ?? []), event]);
  return [...packets.values()];
}
