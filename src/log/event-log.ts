/**
 * The log: the one place an event must reach before its sender is told "accepted".
 *
 * What every adapter promises (the weakest of them, so that nobody relies on more):
 * - **Durability**: when `append` resolves, the batch survives the death of this process and a power cut on honest disks.
 * - **Order**: within a partition, offsets count up by one from 0 with no gap, in the order of acknowledgement.
 * - **Atomicity**: a batch becomes readable whole or not at all. A batch whose `append` rejected may still become
 *   readable later (its bytes may have reached the disk); it is never half there.
 * - **Visibility**: what `ends` reports as `end` is durable and can be read at once.
 * - **Other processes**: a log may be shared. `ends` is what this process knows; `refresh` brings it up to everything that any process was
 *   told is durable. A log of one process has nothing to ask.
 *
 * A stream or partition that is not open is LOG_PARTITION_UNKNOWN to every method.
 */
export interface EventLog {
  /**
   * Which log this is, the same for every process that shares it and for no other one: two logs over one lake would give offsets that
   * are taken. Absent where nobody can meet another log.
   */
  readonly identity?: string;

  /**
   * Declares a stream and opens or creates its partitions: as many as asked for, or as there are already when those are
   * more. Calling it again for the same stream does nothing.
   * @throws LOG_STREAM_NAME when the log cannot hold a stream of that name. A log on a network also KAFKA_UNREACHABLE, KAFKA_CREDENTIALS, KAFKA_TLS,
   * KAFKA_NOT_ALLOWED, KAFKA_TOO_OLD and KAFKA_TOPIC_UNFIT, each naming the setting or the topic.
   */
  open(stream: string, options?: { partitions?: number }): Promise<void>;

  /** Number of partitions of an open stream. */
  partitions(stream: string): number;

  /**
   * Appends events durably. The payload must not be changed before the answer.
   * @throws LOG_UNAVAILABLE (retryable) when the disk or the brokers do not make it durable; nothing was acknowledged. LOG_BATCH_INVALID for a
   * batch that is not what `Batch` says, LOG_BATCH_TOO_LARGE for one that the log cannot keep whole. LOG_WENT_BACK when what the log
   * has acknowledged before is no longer there: nothing is appended then, for its offset would be one that is taken.
   */
  append(stream: string, partition: number, batch: Batch): Promise<Appended>;

  /** The first offset still kept and the one after the last durable event, as far as this process knows: see `refresh`. */
  ends(stream: string, partition: number): Ends;

  /**
   * Resolves once `ends` of the streams (default: all that are open) covers everything that was acknowledged, by any process, before the
   * call. Calls of one moment share the work.
   * @throws LOG_UNREADABLE (retryable) when that cannot be learned now, LOG_WENT_BACK as `append` does.
   */
  refresh(streams?: Iterable<string>): Promise<void>;

  /**
   * Reads durable events from `from` on: about `maxBytes` of them at most, and at least one. A run may be shorter for the
   * log's own reasons (a file ends, damage follows): only `undefined` says that `from` is the end.
   * @throws LOG_OFFSET_GONE when `from` is below the first kept offset, LOG_OFFSET_AHEAD when it is above the end;
   * LOG_CORRUPT when the bytes of `from` do not match their checksum, with `details` {stream, partition, file, from, to,
   * at, bytes, receivedAtMs, source}: the events around the offsets `from`..`to` stay readable, so reading may go on at `to + 1`;
   * LOG_UNREADABLE (retryable) when the disk or the broker does not answer; LOG_WENT_BACK as `append` does.
   */
  read(stream: string, partition: number, from: number, maxBytes: number): Promise<Run | undefined>;

  /** Resolves once `end > offset`, whoever appended, or when the signal aborts. */
  wait(stream: string, partition: number, offset: number, signal: AbortSignal): Promise<void>;

  /**
   * Tells the log that events below `offset` are no longer needed by any consumer. They are removed once they are also
   * older than the retention time, in whole segments. Of processes that share a log only the one that knows every consumer calls it.
   */
  release(stream: string, partition: number, offset: number): Promise<void>;

  /**
   * Keeps every file that is in the log now until the hold is released, so that they can be copied. Only logs whose events are
   * files of this machine have it.
   */
  hold?(): LogHold;

  /** What keeps parts of the log from taking or giving events at this moment, a sentence each. Absent where every failure is one of a call. */
  problems?(): readonly string[];

  /**
   * Stops taking batches, finishes those under way and closes every file. From then on every call that would append, read
   * or wait, and every wait under way, rejects with SHUTTING_DOWN.
   */
  close(): Promise<void>;
}

export interface Batch {
  /** NDJSON: `count` events, each one line of UTF-8 without raw line breaks, each ended by `\n`. */
  readonly payload: Uint8Array;
  readonly count: number;
  /** Where the events came from, stored as `_source`; at most 200 characters. */
  readonly source: string;
  /**
   * For who may lose to another process what he appends for: asked right before the bytes go, each time they do. Once it is false they do not, and the
   * append fails with LOG_UNAVAILABLE. A log of one process need not ask.
   */
  readonly may?: () => boolean;
}

export interface Appended {
  /** First and last offset of the batch, both inclusive. */
  readonly from: number;
  readonly to: number;
  /**
   * Time of arrival, milliseconds since the epoch (UTC), the same for every reader. Never earlier than that of an earlier batch in the partition, as long
   * as one machine keeps it: where brokers take over from each other, as far as their clocks agree.
   */
  readonly receivedAtMs: number;
}

export interface Ends {
  readonly start: number;
  readonly end: number;
}

/** Consecutive events of one partition, `from` to `to` inclusive: the unit that flows downstream. */
export interface Run {
  readonly from: number;
  readonly to: number;
  /** NDJSON, one event per line, `to - from + 1` lines. */
  readonly bytes: Uint8Array;
  /** Who sent what when; spans are consecutive and cover the run. */
  readonly spans: readonly Span[];
}

export interface Span {
  readonly from: number;
  readonly to: number;
  readonly receivedAtMs: number;
  readonly source: string;
}

/** What a log consists of, for as long as it is held. Appends go on meanwhile. */
export interface LogHold {
  /** What is durable at the moment of the call: every event acknowledged before it, and perhaps some that are just about to be. */
  contents(): Promise<LogContents>;
  /** Lets retention remove what is old. Again: nothing. */
  release(): void;
}

export interface LogContents {
  /** `start`: first offset kept; `end`: the one after the last durable event. Streams that are not open are not told of. */
  readonly partitions: readonly ({ readonly stream: string; readonly partition: number } & Ends)[];
  readonly files: readonly LogFileContents[];
}

export interface LogFileContents {
  /** `/`-separated, relative to the log's folder. */
  readonly name: string;
  readonly path: string;
  /** What is durable of it; the file may have become longer since. */
  readonly bytes: number;
}
