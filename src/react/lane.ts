/**
 * A lane in the main thread: feeds the worker from the log, has what it emits appended, and keeps its checkpoint. It outlives threads: after one has ended it
 * begins again from its checkpoint in the next.
 */
import { MillraceError } from "../errors.ts";
import type { EventLog, Run } from "../log/event-log.ts";
import type { CheckpointKeeper } from "./checkpoint-keeper.ts";
import { type DoneSet, isDone, lowest } from "./done-set.ts";
import { type LaneName, markPrefix } from "./emission-mark.ts";
import { Emitter, type KnownTarget } from "./emitter.ts";
import type { LaneFloor } from "./lane-records.ts";
import type { LaneStart, OperatorStart } from "./lane-start.ts";
import type { DoneReport, FromWorker, LaneSetup, SentEmissions, ToWorker } from "./messages.ts";
import type {
  Admit,
  LaneStatus,
  ReactLetter,
  ReactorOptions,
  RetriedEvent,
  RetriedOutcome,
} from "./reactor-options.ts";
import type { Retrying } from "./retrying.ts";

export interface LaneParts {
  readonly log: EventLog;
  readonly repetitions: ReactorOptions["repetitions"];
  readonly admit: Admit;
  readonly deadLetters: (letters: readonly ReactLetter[]) => Promise<void>;
  /** Of the lane: it ends with it. */
  readonly retrying: Retrying;
  readonly clock: () => number;
  /** Who may say that the partition is another process's. */
  readonly membership: ReactorOptions["membership"];
  /** Another process has taken the lane. */
  readonly taken: (lane: Lane) => void;
}

/** The lane's line to a worker thread, for as long as that lives. */
export interface LaneLine {
  readonly signal: AbortSignal;
  say(message: ToWorker, transfer?: ArrayBuffer[]): void;
}

/** Two runs of this size keep a worker busy for some milliseconds. */
/** Large enough that a lane which is behind does not wait for the log and the ids more than it works. */
const RUN_BYTES = 1024 * 1024;
const MOST_RUNS_SENT = 4;
const MOST_LETTER_BYTES = 16 * 1024 * 1024;
/** Between two looks whether the partition is still this process's. */
const ASK_MS = 50;
/** How long events under way may take to end when the partition goes to another process. */
const HALT_MS = 10_000;
/** The group waits for a minute: all that is written for a partition that goes is written before. */
const LEAVE_MS = 40_000;

export class Lane {
  readonly number: number;
  readonly name: LaneName;
  readonly start: LaneStart;
  /** Of the first operator, counted through all lanes. */
  readonly firstOperator: number;
  /** Why it stands still. */
  problem: string | undefined;
  restarts = -1;
  readonly #o: LaneParts;
  readonly #emitter: Emitter;
  readonly #keeper: CheckpointKeeper;
  /** Operator -> offset -> why it is left out. */
  readonly #leftOut = new Map<string, Map<number, { code: string; message: string }>>();
  #line: LaneLine | undefined;
  #done: DoneSet;
  #dead: number;
  #repeated: number;
  #runsSent = 0;
  #lettersBytes = 0;
  #letters: Promise<unknown> = Promise.resolve();
  #stateEntries = 0;
  #stateBytes = 0;
  #settledPosition: number;
  #cautiousTo = -1;
  /** Next offset to be read from the log. */
  #reading = 0;
  #wakeFeed: () => void = () => undefined;
  #waiting: { readonly offset: number; readonly resolve: () => void; readonly reject: (error: unknown) => void }[] = [];
  /** What was acknowledged when the lane began: before it is applied again, its state is of the past. */
  #behindUntil = 0;
  #catchingUp: (() => void)[] = [];
  #retryQueue: Promise<unknown> = Promise.resolve();
  readonly #retries = new Map<
    number,
    { resolve: (answer: FromWorker & { kind: "retried" }) => void; reject: (error: unknown) => void }
  >();
  #lastRetry = 0;
  /** Takes no further event. */
  readonly #ending = new AbortController();
  /** By the monotonic clock, until when what is left may be written; of a partition that goes to another process. */
  #writesUntilMs: number | undefined;
  #leaving: Promise<void> | undefined;
  #closed: Promise<void> | undefined;
  #halted: () => void = () => undefined;

  constructor(
    number: number,
    firstOperator: number,
    name: LaneName,
    start: LaneStart,
    targets: readonly KnownTarget[],
    keeper: CheckpointKeeper,
    parts: LaneParts,
  ) {
    this.number = number;
    this.firstOperator = firstOperator;
    this.name = name;
    this.start = start;
    this.#o = parts;
    this.#keeper = keeper;
    this.#done = start.done;
    this.#dead = start.counts.dead;
    this.#repeated = start.counts.repeated ?? 0;
    this.#settledPosition = lowest(start.done);
    for (const { plan, leftOut } of start.operators)
      this.#leftOut.set(plan.name, new Map(leftOut.map(([offset, code, message]) => [offset, { code, message }])));
    this.#emitter = new Emitter(
      {
        ...{ log: parts.log, admit: parts.admit, retrying: parts.retrying, epoch: start.epoch },
        prefix: markPrefix(name),
        operators: start.operators.map(({ plan, muted }) => ({ name: plan.name, muted })),
        place: `${name.stream}/${name.partition}`,
        declare: () => keeper.commitFacts(),
        allowed: () => this.#allowed(),
        may: () => this.#mayWrite(),
        letters: (letters) => this.#sendLetters(letters),
      },
      targets,
      start.counts.emitted,
    );
    this.#emitter.onRoom = () => {
      this.#wakeFeed();
      this.#settle();
    };
    keeper.attach({
      targets: () => this.#emitter.targets(),
      counts: () => ({ handled: 0, dead: this.#dead, repeated: this.#repeated, emitted: this.#emitter.emitted }),
      leftOut: this.#leftOut,
      committed: (commit) => this.#emitter.committed(commit.targets),
      settled: () => this.#settled(),
      say: (message) => this.#line?.say(message),
      mayWrite: () => this.#mayWrite(),
      allowed: () => this.#allowed(),
      taken: () => parts.taken(this),
      number,
    });
  }

  get operators(): readonly OperatorStart[] {
    return this.start.operators;
  }

  get owner(): number {
    return this.#keeper.owner;
  }

  /** True once it takes no further event. */
  get ending(): boolean {
    return this.#ending.signal.aborted;
  }

  /** The first offset that is needed of each partition: of the input, and of the targets for their marks. */
  floors(): LaneFloor[] {
    return this.#keeper.floors(this.name);
  }

  /** Begins, or begins again, on a line on which its state has been restored and its operators opened. */
  begin(line: LaneLine): void {
    if (this.ending) return;
    this.restarts++;
    this.#line = line;
    this.#keeper.begin();
    this.problem = undefined;
    this.#behindUntil = this.#o.log.ends(this.name.stream, this.name.partition).end;
    this.#runsSent = 0;
    const signal = AbortSignal.any([line.signal, this.#ending.signal]);
    signal.addEventListener("abort", () => this.#wakeFeed(), { once: true });
    void this.#feed(line, signal);
  }

  /**
   * The partition goes to another process: no further event is taken, what is under way ends, and what it gave is durable with a last checkpoint, so that the
   * other one has nothing to do again. Resolves when that is so, or cannot be had in time. Again: the same promise.
   */
  leave(): Promise<void> {
    this.#leaving ??= this.#leave();
    return this.#leaving;
  }

  /** The partition is another process's already: nothing is written any more. */
  abandon(): void {
    this.#writesUntilMs = Number.NEGATIVE_INFINITY;
    this.#ending.abort();
    this.#o.retrying.stop();
  }

  /** What the worker needs to open the lane's operators. */
  setup(shared: boolean): LaneSetup {
    const { commit } = this.#keeper;
    const records = new Map(commit.operators.map((record) => [record.name, record]));
    return {
      ...{ stream: this.name.stream, partition: this.name.partition, done: commit.done, nowMs: commit.nowMs },
      cautiousTo: this.#cautiousTo,
      shared,
      operators: this.start.operators.map(({ plan }, place) => ({
        ...{ plan, number: this.firstOperator + place, done: records.get(plan.name)?.done },
        leftOut: this.#leftOut.get(plan.name) ?? new Map(),
        versions: records.get(plan.name)?.versions ?? {},
      })),
    };
  }

  /** Gives every block of restored state. */
  restore(take: (entries: Uint8Array<ArrayBuffer>) => Promise<void>): Promise<void> {
    return this.#keeper.restore(take);
  }

  /** The thread has ended: what is not in the checkpoint will be done again. */
  async stop(): Promise<void> {
    this.#line = undefined;
    this.#cautiousTo = -1;
    for (const { reject } of this.#retries.values()) reject(this.#threadEnded());
    this.#retries.clear();
    this.#halted();
    await this.#keeper.interrupt();
    const { done, counts } = this.#keeper.commit;
    this.#done = done;
    this.#dead = counts.dead;
    this.#repeated = counts.repeated ?? 0;
    this.#emitter.restart(done, counts.emitted);
  }

  /** An event that was under way when a thread ended is looked for. */
  beCautious(): void {
    this.#cautiousTo = this.#reading - 1;
  }

  /** An operator gets an event no more; it becomes a dead letter when its turn comes. Resolves once that is durable. */
  leaveOut(operator: string, offset: number, why: { code: string; message: string }): Promise<void> {
    this.#leftOut.get(operator)?.set(offset, why);
    return this.#keeper.commitFacts();
  }

  hear(message: FromWorker): void {
    switch (message.kind) {
      case "done":
        this.#report(message);
        break;
      case "taken":
        this.#keeper.taken(message);
        break;
      case "part":
        this.#keeper.part(message);
        break;
      case "take-ended":
        this.#keeper.takeEnded(message);
        break;
      case "copy-ended":
        this.#keeper.copyEnded(message);
        break;
      case "halted":
        this.#halted();
        break;
      case "retried":
        this.#retries.get(message.id)?.resolve(message);
        this.#retries.delete(message.id);
        break;
    }
  }

  /** Makes durable what has changed; nothing when nothing has. */
  checkpoint(): Promise<void> {
    return this.#line ? this.#keeper.checkpoint(() => this.#done) : Promise.resolve();
  }

  /** Resolves once every event below `offset` is applied and what it gave is durable. @throws REACT_UNAVAILABLE when the lane ends before */
  appliedBelow(offset: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ offset, resolve, reject });
      this.#settle();
    });
  }

  get catchesUp(): boolean {
    return lowest(this.#done) < this.#behindUntil;
  }

  /** Resolves once state is as of what was acknowledged when the lane began. */
  caughtUp(): Promise<void> {
    return this.catchesUp ? new Promise((resolve) => this.#catchingUp.push(resolve)) : Promise.resolve();
  }

  /** Gives dead-lettered events to an operator once more, one after the other. */
  retry(place: number, events: readonly RetriedEvent[]): Promise<RetriedOutcome[]> {
    const turn = this.#retryQueue.then(() => this.#retryAll(place, events));
    this.#retryQueue = turn.catch(() => undefined); // told to the caller
    return turn;
  }

  status(): LaneStatus {
    const { commit, committedAtMs } = this.#keeper;
    const { lane, stream, partition } = this.name;
    const position = this.#settledPosition;
    return {
      ...{ lane, stream, partition, position, operators: this.operators.map(({ plan }) => plan.name) },
      begun: this.start.begun,
      pending: Math.max(0, this.#o.log.ends(stream, partition).end - position),
      handled: Math.max(0, this.#done.next - this.#done.pending.length - this.start.begun),
      ...{ dead: this.#dead, repeated: this.#repeated, emitted: this.#emitter.emitted },
      ...{ stateEntries: this.#stateEntries, stateBytes: this.#stateBytes },
      checkpoint: committedAtMs === undefined ? undefined : { position: lowest(commit.done), atMs: committedAtMs },
      ...{ restarts: Math.max(0, this.restarts), problem: this.problem ?? this.#keeper.problem },
    };
  }

  /** Again: the same promise. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#ending.abort();
    this.#o.retrying.stop();
    this.#line = undefined;
    await this.#keeper.close();
    await this.#emitter.close();
    const gone = new MillraceError("REACT_UNAVAILABLE", { operator: this.name.lane, reason: "its lane has gone" });
    for (const { reject } of this.#waiting.splice(0)) reject(gone);
    for (const { reject } of this.#retries.values()) reject(gone);
    this.#retries.clear();
    for (const resolve of this.#catchingUp.splice(0)) resolve();
  }

  async #leave(): Promise<void> {
    const line = this.#line;
    this.#writesUntilMs = performance.now() + LEAVE_MS;
    this.#ending.abort();
    // Without a thread there is nothing that would not come again with the events.
    if (!line) return;
    const { retrying } = this.#o;
    const halted = new Promise<void>((resolve) => {
      this.#halted = resolve;
    });
    line.say({ kind: "halt", lane: this.number });
    await Promise.race([halted, retrying.pause(HALT_MS)]);
    await Promise.race([this.checkpoint(), retrying.pause(LEAVE_MS - HALT_MS)]);
  }

  #mayWrite(): boolean {
    const { membership } = this.#o;
    if (this.#writesUntilMs !== undefined && performance.now() >= this.#writesUntilMs) return false;
    if (!membership) return true;
    // A partition that is being given away is owned no more, and given to nobody before the group has heard that it may.
    if (this.#writesUntilMs !== undefined) return membership.confirmed();
    return membership.owns(this.name.stream, this.name.partition);
  }

  async #allowed(): Promise<void> {
    const { retrying } = this.#o;
    while (!this.#mayWrite()) {
      if (retrying.stopped) throw new MillraceError("SHUTTING_DOWN");
      await retrying.pause(ASK_MS);
    }
  }

  async #feed(line: LaneLine, signal: AbortSignal): Promise<void> {
    const { log, retrying } = this.#o;
    const { stream, partition } = this.name;
    this.#reading = lowest(this.#keeper.commit.done);
    let ahead: Promise<Run | undefined> | undefined;
    while (!signal.aborted) {
      try {
        if (this.#runsSent >= MOST_RUNS_SENT || !this.#emitter.hasRoom || this.#lettersBytes > MOST_LETTER_BYTES) {
          await new Promise<void>((resolve) => {
            this.#wakeFeed = resolve;
          });
          continue;
        }
        const run = await (ahead ?? log.read(stream, partition, this.#reading, RUN_BYTES));
        ahead = undefined;
        if (signal.aborted) return;
        if (run === undefined) {
          await log.wait(stream, partition, this.#reading, signal);
          continue;
        }
        // Read while this one is looked through: on a busy machine either waits for its turn.
        ahead = log.read(stream, partition, run.to + 1, RUN_BYTES);
        ahead.catch(() => undefined); // told when its turn comes
        const repeated = (await this.#o.repetitions?.(stream, partition, run)) ?? [];
        if (signal.aborted) return;
        this.#sendRun(line, run, repeated);
      } catch (error) {
        ahead = undefined;
        if (signal.aborted || retrying.stopped || (error instanceof MillraceError && error.code === "SHUTTING_DOWN"))
          return;
        await this.#overcome(line, error);
        if (retrying.stopped) return;
      }
    }
  }

  #sendRun(line: LaneLine, { from, to, bytes, spans }: Run, repeated: readonly number[]): void {
    this.#reading = to + 1;
    this.#runsSent++;
    const own = new Uint8Array(bytes);
    const { number } = this;
    line.say({ kind: "run", lane: number, run: { from, to, bytes: own, spans, repeated } }, [own.buffer]);
  }

  /** Goes on behind events that the log has lost; waits while it does not answer. */
  async #overcome(line: LaneLine, error: unknown): Promise<void> {
    const { retrying, log } = this.#o;
    const { lane, stream, partition } = this.name;
    const code = error instanceof MillraceError ? error.code : undefined;
    const skipTo =
      code === "LOG_CORRUPT"
        ? ((error as MillraceError).details as { to: number }).to
        : code === "LOG_OFFSET_GONE"
          ? log.ends(stream, partition).start - 1
          : undefined;
    if (skipTo === undefined) {
      this.problem = error instanceof Error ? error.message : String(error);
      retrying.report(error, `reading events for lane ${lane}`);
      await retrying.pause(500);
      this.problem = undefined;
      return;
    }
    const reason = (error as Error).message;
    const facts = { lane, stream, partition, from: this.#reading, to: skipTo, reason };
    retrying.report(new MillraceError("REACT_STATE_LOST", facts, { cause: error }), `lane ${lane}`);
    this.#runsSent++;
    line.say({ kind: "skip", lane: this.number, to: skipTo });
    this.#reading = skipTo + 1;
  }

  #report({ done, runs, repeated, emissions, previews, letters, stateEntries, stateBytes }: DoneReport): void {
    this.#done = done;
    this.#runsSent -= runs;
    this.#repeated += repeated;
    this.#stateEntries = stateEntries;
    this.#stateBytes = stateBytes;
    const { stream, partition } = this.name;
    if (letters.length > 0) {
      this.#dead += letters.length;
      const told = letters.filter(({ operator, offset }) => {
        const { muted } = this.operators[operator] as OperatorStart;
        return !(muted && isDone(muted, offset));
      });
      this.#sendLetters(
        told.map(({ operator, ...letter }): ReactLetter => {
          const { name } = (this.operators[operator] as OperatorStart).plan;
          const id = `${stream}/${partition}/${letter.offset}/react/${name}`;
          return { stage: "react", id, operator: name, stream, partition, ...letter };
        }),
      );
    }
    this.#emitter.accept(emissions, done);
    this.#emitter.preview(previews);
    if (runs > 0) this.#wakeFeed();
    if (!this.catchesUp) for (const resolve of this.#catchingUp.splice(0)) resolve();
    this.#settle();
  }

  #sendLetters(letters: readonly ReactLetter[]): void {
    if (letters.length === 0) return;
    const bytes = letters.reduce((sum, { payload }) => sum + payload.length, 0);
    this.#lettersBytes += bytes;
    const { retrying, deadLetters } = this.#o;
    const sent = this.#letters.then(() =>
      retrying.until("recording dead letters", async () => {
        await this.#allowed();
        await deadLetters(letters);
      }),
    );
    this.#letters = sent.then(() => {
      this.#lettersBytes -= bytes;
      this.#wakeFeed();
      this.#settle();
    });
    this.#letters.catch(() => undefined); // the lane ends: they come again with the events, which count as done nowhere
  }

  /** Resolves once all that was reported so far is durable; rejects when the lane ends before. */
  async #settled(): Promise<void> {
    const letters = this.#letters;
    await this.#emitter.settled();
    await letters;
  }

  #settle(): void {
    if (!this.#emitter.idle || this.#lettersBytes > 0) return;
    this.#settledPosition = lowest(this.#done);
    const ready = this.#waiting.filter(({ offset }) => offset <= this.#settledPosition);
    if (ready.length === 0) return;
    this.#waiting = this.#waiting.filter(({ offset }) => offset > this.#settledPosition);
    for (const { resolve } of ready) resolve();
  }

  async #retryAll(place: number, events: readonly RetriedEvent[]): Promise<RetriedOutcome[]> {
    const { plan } = this.operators[place] as OperatorStart;
    const outcomes: RetriedOutcome[] = [];
    const release = await this.#keeper.hold();
    try {
      for (const event of events) {
        if (this.#keeper.hasRetried(plan.name, event.offset)) outcomes.push({ outcome: "done" });
        else outcomes.push(await this.#retryOne(place, plan.name, event));
      }
    } finally {
      release();
    }
    if (outcomes.some(({ outcome }) => outcome === "done")) {
      await this.#keeper
        .checkpoint(() => this.#done, true)
        .catch((cause: unknown) => {
          throw cause instanceof MillraceError ? cause : this.#threadEnded(cause);
        });
    }
    return outcomes;
  }

  #threadEnded(cause?: unknown): MillraceError {
    return new MillraceError(
      "REACT_UNAVAILABLE",
      { operator: this.name.lane, reason: "its thread has ended" },
      { cause },
    );
  }

  async #retryOne(place: number, operator: string, event: RetriedEvent): Promise<RetriedOutcome> {
    const line = this.#line;
    if (!line) throw new MillraceError("REACT_UNAVAILABLE", { operator, reason: "its thread is being started" });
    const id = ++this.#lastRetry;
    const answer = await new Promise<FromWorker & { kind: "retried" }>((resolve, reject) => {
      this.#retries.set(id, { resolve, reject });
      line.say({ kind: "retry", lane: this.number, id, operator: place, event });
    });
    if (answer.failure) return { outcome: "failed", ...answer.failure };
    await this.#emitter.acceptRetried(answer.emissions as SentEmissions | undefined, operator, event.offset);
    // The state that it has changed has gone with its thread. What it gave is not given twice.
    if (this.#line !== line) throw this.#threadEnded();
    this.#keeper.retried(operator, event.offset);
    this.#dead = Math.max(0, this.#dead - 1);
    return { outcome: "done" };
  }
}
