import type { Calls, Events, FieldsByStream } from "./event-types.ts";

export interface Options<E = Events, F = FieldsByStream<E>, C = Calls<E>> {
  /**
   * Where the platform answers, such as `https://collect.example.com`. Of several the first is used as long as it answers, and again
   * once it does. All of them must lead to one platform, for that is who knows an event that was sent twice.
   */
  readonly endpoints: string | readonly string[];
  /** A key with the scope `ingest` and no other. */
  readonly key: string;
  /** Per stream, the fields that the tracker fills in; fields given to `track` go before them. */
  readonly streams?: F;
  /** The streams that `page`, `screen`, `identify`, `alias` and `group` send to. */
  readonly calls?: C;
  /** Queues and identities of different names do not meet. Default `tracker`. */
  readonly name?: string;
  readonly appVersion?: string;
  /** `required`: before `consent(true)` events wait in memory, and nothing is stored or sent. */
  readonly consent?: "required";
  /** Most events that wait. Default 10,000. */
  readonly maxQueue?: number;
  /** Which events go when more come; each is told to `onDrop`. Default `drop-oldest`. */
  readonly whenFull?: "drop-oldest" | "drop-newest";
  /** Largest single event. Default 32,768. */
  readonly maxEventBytes?: number;
  /** Longest time an event waits for others to share its packet. Default 5,000 ms in a browser, 1,000 on Node. */
  readonly flushIntervalMs?: number;
  /** So many waiting events are sent at once. Default 20. */
  readonly flushEvents?: number;
  /** Most events of a packet. Default 500. */
  readonly packetEvents?: number;
  /** Most bytes of a packet, before compression. Default 262,144. */
  readonly packetBytes?: number;
  /** Time for an answer before the packet counts as lost and is sent again. Default 30,000. */
  readonly requestTimeoutMs?: number;
  /** So long without an event ends a session. Default 30 minutes. */
  readonly sessionTimeoutMs?: number;
  /** Each event the tracker gives up, and why. Default: a warning on the console. */
  readonly onDrop?: (drop: Drop) => void;
  /** Trouble that is met by trying again. Default: a warning on the console. */
  readonly onError?: (error: Trouble) => void;
}

export interface Drop {
  readonly stream: string;
  readonly event: unknown;
  /** `QUEUE_FULL`, `EVENT_TOO_LARGE`, `NOT_JSON`, `CLOSED`, or the platform's own, such as `EVENT_INVALID` or `STREAM_UNKNOWN`. */
  readonly code: string;
  readonly message: string;
}

export interface Trouble {
  readonly message: string;
  /** Of the answer; 0 where none came. */
  readonly status?: number;
  readonly endpoint?: string;
  readonly retryInMs?: number;
}
