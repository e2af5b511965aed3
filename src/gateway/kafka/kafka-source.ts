/**
 * One topic of others, read into a stream for as long as the platform runs: joins the group, reads the partitions that are its share, and begins anew,
 * by itself, after whatever went wrong.
 */
import type { TopicSource } from "../../define/read-kafka-topic.ts";
import { MillraceError } from "../../errors.ts";
import type { EventLog } from "../../log/event-log.ts";
import { type AdmitRecord, PartitionReader, type SourceLetter } from "./partition-reader.ts";
import type { SchemaRegistry } from "./schema-registry.ts";
import type { SourceCheckpoint, SourceCheckpoints, TopicBegun } from "./source-checkpoint.ts";
import { markPrefix } from "./source-mark.ts";
import { type GroupListener, OUT_OF_RANGE, type TopicAccess, TopicClient, type TopicFacts } from "./topic-client.ts";

export interface KafkaSourceParts {
  readonly stream: string;
  readonly source: TopicSource;
  readonly access: TopicAccess;
  readonly registry: SchemaRegistry | undefined;
  readonly checkpoints: SourceCheckpoints;
  readonly log: EventLog;
  readonly admit: AdmitRecord;
  readonly deadLetters: (letters: readonly SourceLetter[]) => Promise<void>;
  readonly maxEventBytes: number;
  readonly report: (error: unknown, what: string) => void;
}

/** How far a partition of a topic is read by this process. */
export interface SourcePartition {
  readonly partition: number;
  /** First offset that is not settled. */
  readonly position: number;
  /** First offset that is not committed at the brokers; null until they have said it. */
  readonly end: number | null;
  /** Offsets between the two; some may hold no record. */
  readonly lag: number;
  /** Since the partition came to this process. */
  readonly accepted: number;
  readonly refused: number;
  readonly skipped: number;
  readonly problem: string | null;
}

export interface SourceStatus {
  readonly stream: string;
  readonly topic: string;
  readonly group: string;
  /** Those that are read by this process. */
  readonly partitions: readonly SourcePartition[];
  /** Why nothing is read. */
  readonly problem: string | null;
}

const TICK_MS = 1_000;
/** Checkpoints cost a request where they lie on a network. */
const CHECKPOINT_MS = 2_000;
/** New partitions, and topics made anew, are noticed after this. */
const LOOK_MS = 15_000;
const MOST_FAILURES = 8;
const FIRST_DELAY_MS = 250;
const MOST_DELAY_MS = 10_000;

export class KafkaSource {
  readonly #o: KafkaSourceParts;
  readonly #closing = new AbortController();
  readonly #readers = new Map<number, PartitionReader>();
  /** Of partitions that this process does not read, or not yet. */
  #known: ReadonlyMap<number, SourceCheckpoint> = new Map();
  #running: Promise<void> | undefined;
  #problem: MillraceError | undefined;
  #reported = "";

  constructor(parts: KafkaSourceParts) {
    this.#o = parts;
  }

  /** Learns which events of the log are needed to find out how far it is. */
  async open(): Promise<void> {
    this.#known = await this.#o.checkpoints.all();
  }

  begin(): void {
    this.#running ??= this.#run();
  }

  /** Finishes what is under way, writes down how far it is, and leaves the group. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  get status(): SourceStatus {
    const { stream, source, access } = this.#o;
    const partitions = [...this.#readers.values()].map((reader) => {
      const { partition, position, end, counts, problem } = reader;
      const lag = end === undefined ? 0 : Math.max(end - position, 0);
      return { partition, position, end: end ?? null, lag, ...counts, problem: problem?.message ?? null };
    });
    partitions.sort((a, b) => a.partition - b.partition);
    return { stream, topic: source.topic, group: access.group, partitions, problem: this.#problem?.message ?? null };
  }

  /** First event of the stream's partition that may be needed to find out how far it is. */
  floor(target: number): number {
    let floor = Number.POSITIVE_INFINITY;
    for (const [partition, { ends }] of this.#known)
      if (!this.#readers.has(partition)) floor = Math.min(floor, ends[target] ?? 0);
    for (const reader of this.#readers.values()) floor = Math.min(floor, reader.floor(target));
    return floor;
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#closing.signal.aborted; failures++) {
      const session = new Session(this.#o, this.#closing.signal, this.#readers, () => {
        failures = 0;
        this.#problem = undefined;
      });
      try {
        await session.run();
      } catch (error) {
        this.#stands(error);
      }
      await pause(Math.min(MOST_DELAY_MS, FIRST_DELAY_MS * 2 ** failures), this.#closing.signal);
    }
  }

  #stands(error: unknown): void {
    const { stream, access } = this.#o;
    this.#problem =
      error instanceof MillraceError
        ? error
        : new MillraceError("INTERNAL", { what: `reading ${access.subject}` }, { cause: error });
    // Once for each reason: it is tried again and again.
    if (this.#reported === this.#problem.message) return;
    this.#reported = this.#problem.message;
    this.#o.report(error, `stream "${stream}": source`);
  }
}

/** From joining the group to whatever ends it. */
class Session {
  readonly #o: KafkaSourceParts;
  readonly #client: TopicClient;
  readonly #readers: Map<number, PartitionReader>;
  readonly #works: () => void;
  readonly #ending = new AbortController();
  #failure: unknown;
  #begun: TopicBegun = { id: "", partitions: 0 };
  #facts: TopicFacts = { id: "", partitions: 0 };
  /** Of the share: it counts up whenever partitions are gained or lost. */
  #share = 0;
  /** Partitions that are being begun. */
  #beginning = new Map<PartitionReader, Promise<void>>();
  /** Brokers that are being asked. */
  readonly #asking = new Map<number, Promise<void>>();
  #lastProblems = new Map<number, string>();

  constructor(parts: KafkaSourceParts, closing: AbortSignal, readers: Map<number, PartitionReader>, works: () => void) {
    this.#o = parts;
    this.#readers = readers;
    this.#works = works;
    this.#client = new TopicClient(parts.access);
    closing.addEventListener("abort", () => this.#ending.abort(), { once: true });
    if (closing.aborted) this.#ending.abort();
  }

  /** Resolves when the platform stops. @throws what ended it */
  async run(): Promise<void> {
    const { signal } = this.#ending;
    try {
      await this.#look();
      await this.#client.join(this.#listener());
      let lookedAtMs = performance.now();
      let checkedAtMs = lookedAtMs;
      while (!signal.aborted) {
        await pause(TICK_MS, signal);
        const nowMs = performance.now();
        if (signal.aborted) break;
        if (nowMs - checkedAtMs >= CHECKPOINT_MS) {
          checkedAtMs = nowMs;
          await this.#checkpoint();
        }
        if (nowMs - lookedAtMs >= LOOK_MS) {
          lookedAtMs = nowMs;
          const { partitions } = this.#facts;
          await this.#look();
          if (this.#facts.partitions !== partitions) await this.#client.join(this.#listener());
          await this.#beginAgain();
        }
        this.#ask();
      }
    } catch (error) {
      this.#end(error);
    }
    await this.#lost();
    await this.#client.close();
    await Promise.all(this.#asking.values());
    if (this.#failure !== undefined) throw this.#failure;
  }

  #listener(): GroupListener {
    return {
      gained: (partitions) => this.#gained(partitions),
      lost: () => this.#lost(),
      failed: (error) => this.#end(error),
    };
  }

  #end(error: unknown): void {
    if (!this.#ending.signal.aborted) this.#failure = error;
    this.#ending.abort();
  }

  /** Is it still the topic that was begun? @throws SOURCE_TOPIC_REPLACED and what the client says */
  async #look(): Promise<void> {
    const { checkpoints, access } = this.#o;
    this.#facts = await this.#client.facts();
    this.#begun = await checkpoints.begin(this.#facts);
    const replaced = (reason: string) => new MillraceError("SOURCE_TOPIC_REPLACED", { source: access.subject, reason });
    if (this.#begun.id !== this.#facts.id)
      throw replaced(`its id is ${this.#facts.id}, and was ${this.#begun.id}: it was deleted and made again`);
    if (this.#facts.partitions < this.#begun.partitions)
      throw replaced(`it has ${this.#facts.partitions} partitions, and had ${this.#begun.partitions}`);
    this.#works();
  }

  #gained(partitions: readonly number[]): void {
    if (this.#ending.signal.aborted) return;
    this.#share++;
    for (const partition of partitions) this.#open(partition);
    this.#ask();
  }

  #open(partition: number): void {
    const { stream, source, access, registry, checkpoints, log, admit, deadLetters, maxEventBytes } = this.#o;
    const { topic, group } = source;
    const share = this.#share;
    const reader = new PartitionReader({
      ...{ subject: access.subject, stream, partition, rules: source, registry, maxEventBytes },
      ...{ log, admit, deadLetters, checkpoints, prefix: markPrefix({ topic, group }, partition) },
      owns: () => share === this.#share && this.#client.isMember,
      pause: (ms) => pause(ms, this.#ending.signal),
    });
    this.#readers.set(partition, reader);
    const begun = reader
      .begin(() => this.#startOf(partition))
      .then(
        () => this.#ask(),
        (error: unknown) => this.#stopReader(reader, error),
      )
      .finally(() => this.#beginning.delete(reader));
    this.#beginning.set(reader, begun);
  }

  /** Gives up all partitions once what is under way is in the log. */
  async #lost(): Promise<void> {
    const readers = [...this.#readers.values()];
    await Promise.all(
      readers.map(async (reader) => {
        await this.#beginning.get(reader);
        await reader
          .close()
          .catch((error: unknown) => this.#o.report(error, `stream "${this.#o.stream}": checkpoint of its source`));
      }),
    );
    this.#share++;
    this.#readers.clear();
  }

  /** Where a partition begins that nobody has read. Partitions that came later hold nothing older than the source. */
  async #startOf(partition: number): Promise<number> {
    const { start } = this.#o.source;
    const isNew = partition >= this.#begun.partitions;
    const at = isNew || start === "earliest" ? "first" : start === "latest" ? "end" : start;
    const found = (await this.#client.offsets(at, [partition])).get(partition);
    return found ?? (await this.#client.offsets("end", [partition])).get(partition) ?? 0;
  }

  /** Those that stand still for a reason that may be over. */
  async #beginAgain(): Promise<void> {
    for (const [partition, reader] of this.#readers) {
      if (reader.problem === undefined || this.#beginning.has(reader)) continue;
      await reader
        .close()
        .catch((error: unknown) => this.#o.report(error, `stream "${this.#o.stream}": checkpoint of its source`));
      if (this.#readers.get(partition) === reader) this.#open(partition);
    }
  }

  async #checkpoint(): Promise<void> {
    const readers = [...this.#readers.values()];
    for (const reader of readers) await reader.tick();
    for (const { partition, problem } of readers) {
      if (problem && this.#lastProblems.get(partition) !== problem.message)
        this.#o.report(problem, `stream "${this.#o.stream}": source, partition ${partition}`);
      this.#lastProblems.set(partition, problem?.message ?? "");
    }
    const positions = readers
      .filter(({ position }) => position > 0)
      .map(({ partition, position }) => ({ partition, position }));
    // Nothing is read from what the group is told: it is for others to see.
    if (positions.length > 0 && this.#client.isMember) await this.#client.tell(positions).catch(() => undefined);
  }

  /** Asks every broker for records that is not being asked. */
  #ask(): void {
    if (this.#ending.signal.aborted) return;
    const wanted = [...this.#readers.values()].filter(({ hasRoom }) => hasRoom).map(({ partition }) => partition);
    if (wanted.length === 0) return;
    this.#client.leaders(wanted).then(
      (leaders) => {
        for (const node of leaders.keys()) {
          if (this.#asking.has(node) || this.#ending.signal.aborted) continue;
          this.#asking.set(
            node,
            this.#askBroker(node).finally(() => this.#asking.delete(node)),
          );
        }
      },
      (error: unknown) => this.#end(error),
    );
  }

  async #askBroker(node: number): Promise<void> {
    for (let failures = 0; !this.#ending.signal.aborted; ) {
      const share = this.#share;
      const rooms = [...this.#readers.values()].filter(({ hasRoom }) => hasRoom);
      try {
        const led = (await this.#client.leaders(rooms.map(({ partition }) => partition))).get(node) ?? [];
        const asked = rooms
          .filter(({ partition }) => led.includes(partition))
          .map((reader) => ({ reader, offset: reader.fetched }));
        if (asked.length === 0) {
          // Who gets room again is asked for then; a broker that leads nothing is not asked.
          if (led.length === 0 && rooms.length > 0) return;
          await pause(ROOM_MS, this.#ending.signal);
          if (this.#readers.size === 0) return;
          continue;
        }
        const answers = await this.#client.fetch(
          node,
          this.#facts.id,
          asked.map(({ reader, offset }) => ({ partition: reader.partition, offset })),
        );
        if (share !== this.#share) continue;
        for (const { reader, offset } of asked) {
          const answer = answers.get(reader.partition);
          if (answer === undefined) continue;
          if ("problem" in answer) await this.#refused(reader, answer.problem);
          else reader.take(answer, offset);
        }
        failures = 0;
        this.#works();
      } catch (error) {
        // A broker that goes leaves its partitions to others within seconds.
        this.#client.forgetLeaders();
        if (++failures >= MOST_FAILURES || (error instanceof MillraceError && !error.retryable))
          return this.#end(error);
        await pause(FIRST_DELAY_MS * failures, this.#ending.signal);
      }
    }
  }

  async #refused(reader: PartitionReader, problem: string): Promise<void> {
    const { access } = this.#o;
    const { partition, fetched } = reader;
    if (problem === OUT_OF_RANGE) {
      const [start = 0, end = 0] = (
        await Promise.all([this.#client.offsets("first", [partition]), this.#client.offsets("end", [partition])])
      ).map((offsets) => offsets.get(partition));
      const gone = { source: access.subject, partition, start, from: fetched };
      const reason = `partition ${partition} ends at offset ${end}, and ${fetched} was the next one to read: what was there is lost, or it was made again`;
      this.#stopReader(
        reader,
        fetched < start
          ? new MillraceError("SOURCE_RECORDS_GONE", gone)
          : new MillraceError("SOURCE_TOPIC_REPLACED", { source: access.subject, reason }),
      );
      return;
    }
    this.#client.forgetLeaders();
    if (problem === "NOT_LEADER_OR_FOLLOWER") return pause(ROOM_MS, this.#ending.signal);
    // Whether the topic is gone, another one, or closed to us is said by a look.
    await this.#look();
    throw new MillraceError("SOURCE_UNREACHABLE", { source: access.subject, reason: problem });
  }

  #stopReader(reader: PartitionReader, error: unknown): void {
    reader.problem =
      error instanceof MillraceError
        ? error
        : new MillraceError("INTERNAL", { what: `reading ${this.#o.access.subject}` }, { cause: error });
  }
}

/** A broker is asked again so soon when nobody has room, or leaders change. */
const ROOM_MS = 20;

/** Waits, but not beyond the end. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    if (signal.aborted) done();
    else signal.addEventListener("abort", done);
  });
}
