/**
 * Takes the records of one partition of a topic into a stream's log, each once.
 *
 *     records -> events -> the contract -> refused: dead letters (durable) -> accepted: the log (durable) -> position moves on
 *
 * **Once.** A batch's source says which records it holds (`source-mark.ts`), and of this partition one round of batches is under way at a time. After a
 * crash the marks behind the checkpoint's `ends` say for each partition of the stream how far it is; records up to there are judged again and not
 * appended. Which partition an event belongs into follows from the event and the number of partitions, so that number stays what it was until
 * everything that is marked lies behind. Dead letters have an id from their record: recorded again they are one.
 */
import { MillraceError } from "../../errors.ts";
import type { EventLog, Span } from "../../log/event-log.ts";
import { type CommittedRecords, committedRecords, type TopicRecord } from "./committed-records.ts";
import { type RecordRules, recordEvent, schemaId } from "./record-event.ts";
import type { FoundSchema, SchemaRegistry } from "./schema-registry.ts";
import type { SourceCheckpoint, SourceCheckpoints } from "./source-checkpoint.ts";
import { batchMark, markedTo, recordMark } from "./source-mark.ts";
import type { Fetched } from "./topic-client.ts";

/** The contract's word on an event. */
export type Admitted =
  | { readonly kind: "accepted"; readonly partition: number; readonly line: Uint8Array }
  | { readonly kind: "refused"; readonly code: string; readonly message: string };

/** `partitions`: how many the stream is taken to have; `otherwise`: the one for events that nothing else places. */
export type AdmitRecord = (stream: string, payload: Uint8Array, partitions: number, otherwise: number) => Admitted;

export interface SourceLetter {
  readonly id: string;
  readonly stream: string;
  readonly stage: "door";
  readonly code: string;
  readonly message: string;
  readonly payload: Uint8Array;
  readonly source: string;
}

export interface PartitionReaderParts {
  /** How errors name the source. */
  readonly subject: string;
  readonly stream: string;
  /** Of the topic. */
  readonly partition: number;
  /** What its marks begin with. */
  readonly prefix: string;
  readonly rules: RecordRules;
  readonly registry: SchemaRegistry | undefined;
  readonly maxEventBytes: number;
  readonly log: EventLog;
  readonly admit: AdmitRecord;
  readonly deadLetters: (letters: readonly SourceLetter[]) => Promise<void>;
  readonly checkpoints: SourceCheckpoints;
  /** Whether the partition is this process's; asked right before an append. */
  readonly owns: () => boolean;
  /** Pauses between attempts; the end of the platform cuts them short. */
  readonly pause: (ms: number) => Promise<void>;
}

export interface ReaderCounts {
  accepted: number;
  refused: number;
  skipped: number;
}

/** A round is a batch for each partition of the stream at most; whoever reads waits for so much. */
const ROUND_BYTES = 512 * 1024;
const ROUND_RECORDS = 2_000;
/** Beyond it no more is asked for. */
const MOST_QUEUED_BYTES = 4 * 1024 * 1024;
const IDLE_CHECKPOINT_MS = 60_000;
const FIRST_DELAY_MS = 50;
const MOST_DELAY_MS = 5_000;

export class PartitionReader {
  readonly #o: PartitionReaderParts;
  readonly counts: ReaderCounts = { accepted: 0, refused: 0, skipped: 0 };
  /** Why it stands still. */
  problem: MillraceError | undefined;
  /** First offset that is not settled. */
  position = 0;
  /** First offset that is not fetched. */
  fetched = 0;
  /** First offset that is not committed at the brokers, as far as is known. */
  end: number | undefined;
  #begun = false;
  #closed = false;
  #busy: Promise<void> | undefined;
  #queue: { readonly records: CommittedRecords; readonly bytes: number }[] = [];
  #queuedBytes = 0;
  /** Partitions that the stream is taken to have. */
  #partitions = 0;
  /** By partition of the stream the last offset that its log holds. */
  #done: number[] = [];
  #written: SourceCheckpoint | undefined;
  #writtenAtMs = 0;
  #writing: Promise<void> | undefined;
  /** Batches of a round are on their way, or may be in the log: it must be found there if the round comes to no end. */
  #inRound = false;
  #due = false;

  constructor(parts: PartitionReaderParts) {
    this.#o = parts;
  }

  get partition(): number {
    return this.#o.partition;
  }

  /** True where more may be fetched. */
  get hasRoom(): boolean {
    return this.#begun && !this.#closed && this.problem === undefined && this.#queuedBytes < MOST_QUEUED_BYTES;
  }

  /**
   * Finds out how far the partition is read. `start`: where to begin with one that nobody has read.
   * @throws SOURCE_PROGRESS_GONE; what the log and the store of checkpoints say
   */
  async begin(start: () => Promise<number>): Promise<void> {
    const { log, stream, checkpoints, partition } = this.#o;
    await log.refresh([stream]);
    let checkpoint = await checkpoints.read(partition);
    if (checkpoint === undefined) {
      checkpoint = { position: await start(), ends: this.#ends(log.partitions(stream)) };
      await checkpoints.write(partition, checkpoint);
    }
    this.#written = checkpoint;
    this.#partitions = checkpoint.ends.length;
    this.#done = await Promise.all(checkpoint.ends.map((from, target) => this.#markedIn(target, from)));
    this.position = checkpoint.position;
    this.fetched = checkpoint.position;
    await this.#widen();
    this.#begun = true;
  }

  /** Takes what was fetched from `from` on. */
  take(answer: Fetched, from: number): void {
    this.end = answer.end;
    if (this.#closed || from !== this.fetched) return;
    let records: CommittedRecords;
    try {
      records = committedRecords(answer.batches, answer.aborted, from);
    } catch (error) {
      const reason = (error as Error).message;
      this.problem = new MillraceError("SOURCE_UNREACHABLE", { source: this.#o.subject, reason }, { cause: error });
      return;
    }
    if (records.next === from) return;
    this.fetched = records.next;
    const bytes = records.records.reduce(
      (sum, { value, key }) => sum + 64 + (value?.length ?? 0) + (key?.length ?? 0),
      0,
    );
    this.#queue.push({ records, bytes });
    this.#queuedBytes += bytes;
    this.#busy ??= this.#work();
  }

  /** Called every few seconds: writes down how far it is. @throws what the store of checkpoints says */
  async tick(): Promise<void> {
    if (!this.#begun || this.#closed) return;
    // Ends that others move are written rarely: they only spare a search, and let the log go of what is old.
    if (this.#written?.position === this.position && performance.now() - this.#writtenAtMs < IDLE_CHECKPOINT_MS) return;
    this.#due = true;
    if (this.#busy === undefined) await this.#checkpointIfDue();
  }

  /** First offset of the stream's partition that a search for marks may begin at. */
  floor(target: number): number {
    return this.#written?.ends[target] ?? 0;
  }

  /** Finishes the round under way and writes down how far it is. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#busy;
    await this.#writing;
    if (this.#begun && this.#o.owns()) await this.#checkpoint();
  }

  async #work(): Promise<void> {
    try {
      for (let first = this.#queue[0]; first && !this.#closed; first = this.#queue[0]) {
        await this.#settle(first.records);
        this.#queue.shift();
        this.#queuedBytes -= first.bytes;
      }
    } catch (error) {
      // A partition that is no longer this process's is read by whoever has it.
      if (!(error instanceof Ended || this.#closed)) this.problem = asMillraceError(error, this.#o.subject);
    }
    this.#busy = undefined;
  }

  /** Round by round. */
  async #settle({ records, next }: CommittedRecords): Promise<void> {
    let at = 0;
    while (this.position < next) {
      if (this.#closed) throw new Ended();
      const round: TopicRecord[] = [];
      for (let bytes = 0; at < records.length && round.length < ROUND_RECORDS && bytes < ROUND_BYTES; at++) {
        const record = records[at] as TopicRecord;
        // A record that an answer repeats is settled.
        if (record.offset < this.position) continue;
        bytes += record.value?.length ?? 0;
        round.push(record);
      }
      const to = at < records.length ? (round.at(-1)?.offset ?? this.position - 1) : next - 1;
      this.#inRound = true;
      if (round.length > 0) await this.#round(round, to);
      this.position = to + 1;
      this.#inRound = false;
      await this.#widen();
      await this.#checkpointIfDue();
    }
  }

  async #round(records: readonly TopicRecord[], to: number): Promise<void> {
    const { stream, prefix, admit, partition, rules, maxEventBytes, deadLetters } = this.#o;
    const letters: SourceLetter[] = [];
    const lines: Uint8Array[][] = Array.from({ length: this.#partitions }, () => []);
    const counts: ReaderCounts = { accepted: 0, refused: 0, skipped: 0 };
    const refuse = ({ offset }: TopicRecord, code: string, message: string, payload: Uint8Array) => {
      counts.refused++;
      const source = recordMark(prefix, offset);
      const kept = payload.subarray(0, maxEventBytes);
      letters.push({ id: `${stream}/door/${source}`, stream, stage: "door", code, message, payload: kept, source });
    };
    for (const record of records) {
      const outcome = recordEvent(record, partition, rules, await this.#schemaOf(record));
      if (outcome.kind === "skipped") counts.skipped++;
      else if (outcome.kind === "refused") refuse(record, outcome.code, outcome.message, outcome.payload);
      else {
        const judged = admit(stream, outcome.payload, this.#partitions, partition % this.#partitions);
        if (judged.kind === "refused") refuse(record, judged.code, judged.message, outcome.payload);
        else {
          counts.accepted++;
          if (record.offset > (this.#done[judged.partition] ?? -1)) lines[judged.partition]?.push(judged.line);
        }
      }
    }
    // The dead letters come first: with their ids they may be recorded again, and what is marked in the log is not judged again.
    if (letters.length > 0) await this.#until(() => deadLetters(letters));
    const mark = batchMark(prefix, this.position, to);
    await Promise.all(
      lines.map((ofTarget, target) => (ofTarget.length > 0 ? this.#append(target, ofTarget, mark) : undefined)),
    );
    this.counts.accepted += counts.accepted;
    this.counts.refused += counts.refused;
    this.counts.skipped += counts.skipped;
  }

  async #append(target: number, lines: readonly Uint8Array[], source: string): Promise<void> {
    const { log, stream, owns: may } = this.#o;
    const batch = { payload: Buffer.concat(lines), count: lines.length, source, may };
    const from = log.ends(stream, target).end;
    await this.#until(async (attempt) => {
      // A batch whose append failed may be in the log all the same.
      if (attempt > 0) {
        await log.refresh([stream]);
        const marked = await lastSpan(log, stream, target, from, (span) => (span.source === source ? 1 : undefined));
        if (marked !== undefined) return;
      }
      if (this.#closed && attempt > 0) throw new Ended();
      if (!this.#o.owns()) throw new Ended();
      await log.append(stream, target, batch);
    });
  }

  /** Undefined for what needs none. */
  async #schemaOf({ value }: TopicRecord): Promise<FoundSchema | undefined> {
    const { registry } = this.#o;
    const id = registry && value && schemaId(value);
    if (registry === undefined || id === undefined) return undefined;
    const known = registry.known(id);
    if (known) return known;
    let found: FoundSchema | undefined;
    await this.#until(async () => {
      found = await registry.find(id).catch((error: Error) => {
        throw new MillraceError(
          "SOURCE_REGISTRY",
          { source: this.#o.subject, reason: error.message },
          { cause: error },
        );
      });
    });
    return found;
  }

  /** Tries until it works, and says meanwhile why it does not. @throws Ended */
  async #until(work: (attempt: number) => Promise<void>): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        await work(attempt);
        this.problem = undefined;
        return;
      } catch (error) {
        if (error instanceof Ended || this.#closed) throw new Ended();
        this.problem = asMillraceError(error, this.#o.subject);
        await this.#o.pause(Math.min(MOST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt));
        if (this.#closed) throw new Ended();
      }
    }
  }

  /** Goes over to the stream's partitions as they are now, once everything that is marked lies behind. */
  async #widen(): Promise<void> {
    const { log, stream } = this.#o;
    const partitions = log.partitions(stream);
    if (partitions === this.#partitions || this.#needsMarks) return;
    await this.#checkpoint(partitions);
    this.#partitions = partitions;
  }

  /** True while what is in the log already is not settled: a process after this one must find its marks again. */
  get #needsMarks(): boolean {
    return this.position <= Math.max(-1, ...this.#done);
  }

  async #checkpointIfDue(): Promise<void> {
    if (!this.#due) return;
    this.#due = false;
    await this.#checkpoint();
  }

  async #checkpoint(partitions = this.#partitions): Promise<void> {
    // The marks of a round that is under way must lie behind the ends.
    if (this.#inRound) return;
    const { checkpoints, partition } = this.#o;
    const written = this.#written;
    const ends = this.#needsMarks && written ? written.ends : this.#ends(partitions);
    const checkpoint = { position: this.position, ends };
    const isWritten = written?.position === checkpoint.position && written.ends.length === partitions;
    if (isWritten && checkpoint.ends.every((end, target) => end === written.ends[target])) return;
    this.#writing = checkpoints.write(partition, checkpoint).finally(() => {
      this.#writing = undefined;
    });
    await this.#writing;
    this.#written = checkpoint;
    this.#writtenAtMs = performance.now();
  }

  #ends(partitions: number): number[] {
    const { log, stream } = this.#o;
    return Array.from({ length: partitions }, (_, target) => log.ends(stream, target).end);
  }

  /** The last record that the log of a partition of the stream is marked to hold; -1 where no mark is found. */
  async #markedIn(target: number, from: number): Promise<number> {
    const { log, stream, prefix, subject } = this.#o;
    const { start } = log.ends(stream, target);
    if (start > from)
      throw new MillraceError("SOURCE_PROGRESS_GONE", { source: subject, partition: target, start, from });
    return (await lastSpan(log, stream, target, from, ({ source }) => markedTo(prefix, source))) ?? -1;
  }
}

/** The partition went to somebody else, or the platform stops. */
class Ended extends Error {}

const READ_BYTES = 1024 * 1024;

/** What `take` says of the last span, from an offset on, of which it says anything. */
async function lastSpan(
  log: EventLog,
  stream: string,
  partition: number,
  from: number,
  take: (span: Span) => number | undefined,
): Promise<number | undefined> {
  let found: number | undefined;
  const { end } = log.ends(stream, partition);
  for (let at = from; at < end; ) {
    try {
      const run = await log.read(stream, partition, at, READ_BYTES);
      if (!run) break;
      for (const span of run.spans) found = take(span) ?? found;
      at = run.to + 1;
    } catch (error) {
      if (!(error instanceof MillraceError) || error.code !== "LOG_CORRUPT") throw error;
      // The events are damaged, and their source is known all the same.
      const damaged = error.details as Span;
      found = take(damaged) ?? found;
      at = damaged.to + 1;
    }
  }
  return found;
}

function asMillraceError(error: unknown, subject: string): MillraceError {
  if (error instanceof MillraceError) return error;
  return new MillraceError("INTERNAL", { what: `reading ${subject}` }, { cause: error });
}
