/**
 * Takes changes to a stream of the project, each exactly once. All that a run of changes gives for a partition is appended in one batch, whose source says
 * which changes these are:
 *
 *     deliver:<destination>:<from>-<to>      the events of all changes with offsets from..to that go to this partition
 *
 * How far the stream's partitions reached is recorded together with the position; after a crash they are read from there on, and the highest `to` that is
 * found says what must not be appended again. It holds as long as a change gives the same event for the same partition each time.
 */
import type { AlertChange } from "../../define/destinations.ts";
import { MillraceError, messageOf } from "../../errors.ts";
import type { EventLog } from "../../log/event-log.ts";
import { type Change, told } from "./sender.ts";

/** The contract of streams, for an event that no sender waits for. The same event must always be given the same partition. */
export type Admit = (
  stream: string,
  payload: Uint8Array,
) =>
  | { readonly kind: "accepted"; readonly partition: number; readonly line: Uint8Array }
  | { readonly kind: "refused"; readonly code: string; readonly message: string };

export interface StreamCourierParts {
  /** The destination's name. */
  readonly name: string;
  readonly stream: string;
  readonly event: ((change: AlertChange) => Readonly<Record<string, unknown>>) | undefined;
  readonly log: EventLog;
  readonly admit: Admit;
  /** Whether this process still is the one that delivers. */
  readonly may: () => boolean;
}

/** What could not be appended, and why. */
export interface RefusedChange {
  readonly change: Change;
  readonly message: string;
}

/** How much of a stream is read at once when marks are looked for. */
const READ_BYTES = 4 * 1024 * 1024;

export class StreamCourier {
  readonly #o: StreamCourierParts;
  /** By partition: all changes up to this offset have their events there. */
  readonly #appended: number[] = [];

  constructor(parts: StreamCourierParts) {
    this.#o = parts;
  }

  /** How far each partition reaches now. */
  ends(): number[] {
    const { log, stream } = this.#o;
    return Array.from({ length: log.partitions(stream) }, (_, partition) => log.ends(stream, partition).end);
  }

  /**
   * Appends the event of one change that was refused before, unless it is found behind `ends`, which is how far the stream reached before an
   * earlier attempt. Resolves to why there is none, or undefined.
   */
  async retake(change: Change, ends: readonly number[] | undefined): Promise<string | undefined> {
    const { log, stream, name, admit, may } = this.#o;
    const source = `deliver:${name}:retry-${change.offset}`;
    if (ends !== undefined && (await this.#has(source, ends))) return undefined;
    const made = this.#eventOf(change);
    const judged = typeof made === "string" ? { kind: "refused" as const, message: made } : admit(stream, made);
    if (judged.kind === "refused") return judged.message;
    await log.append(stream, judged.partition, { payload: judged.line, count: 1, source, may });
    return undefined;
  }

  /** Finds out what is in the stream already, looking from the given ends on. */
  async recover(ends: readonly number[]): Promise<void> {
    const mark = new RegExp(`^deliver:${this.#o.name}:\\d+-(\\d+)$`);
    await this.#sources(ends, (source, partition) => {
      const to = Number(mark.exec(source)?.[1] ?? -1);
      this.#appended[partition] = Math.max(this.#appended[partition] ?? -1, to);
    });
  }

  async #has(wanted: string, ends: readonly number[]): Promise<boolean> {
    let found = false;
    await this.#sources(ends, (source) => {
      found ||= source === wanted;
    });
    return found;
  }

  /** Who sent what the stream has behind `ends`. */
  async #sources(ends: readonly number[], see: (source: string, partition: number) => void): Promise<void> {
    const { log, stream } = this.#o;
    // What another process has delivered, and what was stored though nobody said so.
    await log.refresh([stream]);
    for (let partition = 0; partition < log.partitions(stream); partition++) {
      for (let next = Math.max(ends[partition] ?? 0, log.ends(stream, partition).start); ; ) {
        const run = await log.read(stream, partition, next, READ_BYTES).catch((error: unknown) => {
          // Damaged events are none of ours that could be judged; those behind them are read.
          if (!(error instanceof MillraceError) || error.code !== "LOG_CORRUPT") throw error;
          return { to: (error.details as { to: number }).to, spans: [] };
        });
        if (run === undefined) break;
        for (const { source } of run.spans) see(source, partition);
        next = run.to + 1;
      }
    }
  }

  /**
   * Appends the events of changes, which come in the order of their offsets, and resolves to those that gave none that the stream takes.
   * @throws LOG_UNAVAILABLE and others of the log; after `recover` with the ends from before, the same changes can be given again
   */
  async take(changes: readonly Change[]): Promise<RefusedChange[]> {
    const { log, stream, name, admit, may } = this.#o;
    const refused: RefusedChange[] = [];
    const lines = new Map<number, { from: number; to: number; lines: Uint8Array[] }>();
    for (const change of changes) {
      const made = this.#eventOf(change);
      const judged = typeof made === "string" ? { kind: "failed" as const, message: made } : admit(stream, made);
      if (judged.kind !== "accepted") {
        const reason = judged.kind === "refused" ? `${judged.code}: ${judged.message}` : judged.message;
        const message = messageOf("DELIVERY_REFUSED", { destination: `toStream "${name}"`, reason });
        refused.push({ change, message });
        continue;
      }
      const { partition, line } = judged;
      if (change.offset <= (this.#appended[partition] ?? -1)) continue;
      const batch = lines.get(partition) ?? { from: change.offset, to: change.offset, lines: [] };
      batch.lines.push(line);
      batch.to = change.offset;
      lines.set(partition, batch);
    }
    await Promise.all(
      [...lines].map(async ([partition, { from, to, lines: events }]) => {
        const payload = Buffer.concat(events);
        const source = `deliver:${name}:${from}-${to}`;
        await log.append(stream, partition, { payload, count: events.length, source, may });
        this.#appended[partition] = to;
      }),
    );
    return refused;
  }

  /** The event as JSON, or why there is none. */
  #eventOf(change: Change): Uint8Array | string {
    const { event } = this.#o;
    try {
      const made: unknown = event === undefined ? told(change) : event(told(change));
      if (typeof made !== "object" || made === null || Array.isArray(made) || made instanceof Promise)
        return "its function gave no event; it must give an object";
      return Buffer.from(JSON.stringify(made), "utf8");
    } catch (error) {
      return `its function failed: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
}
