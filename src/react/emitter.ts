/**
 * Appends what a lane emits to the logs of the targets, each emission once.
 *
 * Of a lane and a target's partition one batch is under way at a time, and its source says how far it goes (`emission-mark.ts`). An append that fails may
 * have left its batch in the log all the same, so the log is looked through before it is tried again.
 */
import type { EventLog } from "../log/event-log.ts";
import type { TargetRecord } from "./checkpoint-store.ts";
import { type DoneSet, isDone, NOTHING_DONE, union } from "./done-set.ts";
import { doneMark, operatorDigest, previewMark, retriedMark } from "./emission-mark.ts";
import { findSource } from "./find-marks.ts";
import { isLaneTaken } from "./lane-taken.ts";
import type { SentEmissions } from "./messages.ts";
import type { Admit, ReactLetter } from "./reactor-options.ts";
import type { Retrying } from "./retrying.ts";
import { readEmissions } from "./sent-emissions.ts";

export interface EmitterParts {
  readonly log: EventLog;
  readonly admit: Admit;
  /** What sources of the lane begin with. */
  readonly prefix: string;
  readonly epoch: number;
  readonly operators: readonly EmittingOperator[];
  /** Text by which ids of refused emissions name the lane's partition. */
  readonly place: string;
  /** Makes durable that the lane emits to one more partition, before it does. */
  readonly declare: () => Promise<void>;
  readonly letters: (letters: readonly ReactLetter[]) => void;
  readonly retrying: Retrying;
  /** Resolves when the lane may append: at once, but for a process that may have lost its partitions without having learned of it. @throws SHUTTING_DOWN */
  readonly allowed: () => Promise<void>;
  /** Whether it may at this moment. */
  readonly may: () => boolean;
}

export interface EmittingOperator {
  readonly name: string;
  /** Events of which it has emitted everything long since. */
  readonly muted: DoneSet | undefined;
}

/** What the log of a target's partition is known to hold of the lane. */
export interface KnownTarget extends TargetRecord {
  readonly done: DoneSet;
  /** `operator.offset` of events that were tried again. */
  readonly retried: ReadonlySet<string>;
}

/** Beyond it the lane gets no more events until some have gone. */
const MOST_QUEUED_BYTES = 16 * 1024 * 1024;
const MOST_BATCH_BYTES = 4 * 1024 * 1024;

export class Emitter {
  readonly #o: EmitterParts;
  readonly #targets = new Map<string, Target>();
  /** Of all that was accepted so far, in the lane's account. */
  #done: DoneSet = NOTHING_DONE;
  #accepted = 0;
  #queuedBytes = 0;
  #emitted: number;
  #waiting: { readonly upTo: number; readonly resolve: () => void }[] = [];
  /** Called when there is room again. */
  onRoom: () => void = () => undefined;

  constructor(parts: EmitterParts, known: readonly KnownTarget[], emitted: number) {
    this.#o = parts;
    this.#emitted = emitted;
    for (const target of known) this.#targets.set(keyOf(target.stream, target.partition), new Target(target, true));
  }

  /** Emissions that passed the contract, whatever was done again counted once. */
  get emitted(): number {
    return this.#emitted;
  }

  get idle(): boolean {
    return this.#queuedBytes === 0;
  }

  get hasRoom(): boolean {
    return this.#queuedBytes < MOST_QUEUED_BYTES;
  }

  /** Takes emissions of events that are done; `done` is the lane's account with them. */
  accept(emissions: SentEmissions | undefined, done: DoneSet): void {
    this.#done = done;
    if (emissions) {
      for (const { stream, operator: place, offset, number, payload } of readEmissions(emissions)) {
        const operator = this.#o.operators[place] as EmittingOperator;
        if (operator.muted && isDone(operator.muted, offset)) {
          this.#emitted++;
          continue;
        }
        const target = this.#admit(stream, operator, offset, number, payload);
        if (!target) continue;
        this.#emitted++;
        if (target.target.holds(operator.name, offset)) continue;
        this.#queuedBytes += target.line.length;
        target.target.queue.push({ offset, line: target.line, number: ++this.#accepted });
      }
    }
    for (const target of this.#targets.values()) if (target.queue.length > 0) this.#send(target);
  }

  /** Appends what a dead-lettered event gave when it was tried again, once. */
  async acceptRetried(emissions: SentEmissions | undefined, operatorName: string, offset: number): Promise<void> {
    if (!emissions) return;
    const lines = new Map<Target, Uint8Array[]>();
    for (const { stream, operator: place, number, payload } of readEmissions(emissions)) {
      const operator = this.#o.operators[place] as EmittingOperator;
      const admitted = this.#admit(stream, operator, offset, number, payload);
      if (!admitted) continue;
      this.#emitted++;
      lines.set(admitted.target, [...(lines.get(admitted.target) ?? []), admitted.line]);
    }
    const id = `${operatorDigest(operatorName)}.${offset}`;
    for (const [target, batch] of lines) {
      if (target.retried.has(id)) continue;
      await this.#declared(target);
      await target.inTurn(() => this.#append(target, batch, retriedMark(this.#o.prefix, operatorName, offset)));
      target.retried.add(id);
    }
  }

  /** Appends previews; one that cannot be appended is nothing. */
  preview(emissions: SentEmissions | undefined): void {
    if (!emissions) return;
    for (const { stream, operator, offset, number, payload } of readEmissions(emissions)) {
      const admitted = this.#admit(stream, this.#o.operators[operator] as EmittingOperator, offset, number, payload);
      if (!admitted) continue;
      const { stream: name, partition } = admitted.target;
      const batch = { payload: admitted.line, count: 1, source: previewMark(this.#o.prefix), may: this.#o.may };
      const appended = this.#o.allowed().then(() => this.#o.log.append(name, partition, batch));
      appended.catch(() => undefined); // the next one comes in a moment
    }
  }

  /** Resolves once all that was accepted so far is durable. Never does when the lane is begun again before. */
  settled(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ upTo: this.#accepted, resolve });
      this.#tell();
    });
  }

  /** For a commit: where the search for marks begins that are not settled now. */
  targets(): TargetRecord[] {
    return [...this.#targets.values()].map(({ stream, partition, former, sending, from }) => ({
      ...{ stream, partition, former },
      from: sending ? from : this.#o.log.ends(stream, partition).end,
    }));
  }

  /** The durable commit holds these. */
  committed(records: readonly TargetRecord[]): void {
    for (const { stream, partition } of records) {
      const target = this.#targets.get(keyOf(stream, partition));
      if (target) target.declared = true;
    }
  }

  /** The lane begins again from its checkpoint: what is not under way will come once more. */
  restart(done: DoneSet, emitted: number): void {
    this.#done = done;
    this.#emitted = emitted;
    this.#waiting = [];
    for (const target of this.#targets.values()) {
      for (const { line } of target.queue) this.#queuedBytes -= line.length;
      target.queue = [];
    }
  }

  /** Resolves when nothing of it is on its way to a log: whoever looks for its marks from then on finds them. */
  async close(): Promise<void> {
    await Promise.all([...this.#targets.values()].map((target) => target.ended()));
  }

  /** The contract's word, and the partition. */
  #admit(
    stream: string,
    operator: EmittingOperator,
    offset: number,
    number: number,
    payload: Uint8Array,
  ): { target: Target; line: Uint8Array } | undefined {
    const judged = this.#o.admit(stream, payload);
    if (judged.kind === "refused") {
      const { code, message } = judged;
      const id = `${stream}/door/${operator.name}/${this.#o.place}/${offset}/${number}`;
      const letter = { stage: "door", id, operator: operator.name, stream, code, message } as const;
      this.#o.letters([{ ...letter, payload, source: this.#o.prefix.slice(0, -1) }]);
      return undefined;
    }
    const key = keyOf(stream, judged.partition);
    let target = this.#targets.get(key);
    if (!target) {
      const from = this.#o.log.ends(stream, judged.partition).end;
      const known = { stream, partition: judged.partition, from, done: NOTHING_DONE, retried: new Set<string>() };
      target = new Target(known, false);
      this.#targets.set(key, target);
    }
    return { target, line: judged.line };
  }

  #send(target: Target): void {
    if (target.sending) return;
    target.sending = true;
    this.#sendAll(target).catch((error: unknown) => {
      if (!this.#o.retrying.stopped && !isLaneTaken(error))
        this.#o.retrying.report(error, `appending to ${target.stream}`);
    });
  }

  async #sendAll(target: Target): Promise<void> {
    try {
      await this.#declared(target);
      for (;;) {
        // After a crash the log may hold more of the lane than the lane has done again.
        const covered = union(target.done, target.upTo(this.#done, MOST_BATCH_BYTES));
        const { source, done } = doneMark(this.#o.prefix, this.#o.epoch, covered);
        const batch = target.queue.filter(({ offset }) => isDone(done, offset));
        if (batch.length === 0) return;
        target.queue = target.queue.filter(({ offset }) => !isDone(done, offset));
        target.done = done;
        target.underWay = batch[0]?.number;
        const lines = batch.map(({ line }) => line);
        await target.inTurn(() => this.#append(target, lines, source));
        target.underWay = undefined;
        for (const line of lines) this.#queuedBytes -= line.length;
        this.#tell();
        this.onRoom();
      }
    } finally {
      target.sending = false;
    }
  }

  async #declared(target: Target): Promise<void> {
    if (!target.declared) await this.#o.declare();
  }

  /** Resolves once the batch is in the log. */
  async #append(target: Target, lines: readonly Uint8Array[], source: string): Promise<void> {
    const { log, retrying } = this.#o;
    const { stream, partition } = target;
    const batch = { payload: Buffer.concat(lines), count: lines.length, source, may: this.#o.may };
    let from = log.ends(stream, partition).end;
    await retrying.until(`appending what is emitted to ${stream}`, async (attempt) => {
      if (attempt > 0) {
        await log.refresh([stream]);
        const { end } = log.ends(stream, partition);
        if (await findSource(log, { stream, partition, from }, source)) return;
        from = end;
      }
      await this.#o.allowed();
      await log.append(stream, partition, batch);
    });
    target.from = log.ends(stream, partition).end;
  }

  #tell(): void {
    let lowest = Number.POSITIVE_INFINITY;
    for (const { underWay, queue } of this.#targets.values())
      lowest = Math.min(lowest, underWay ?? Number.POSITIVE_INFINITY, queue[0]?.number ?? Number.POSITIVE_INFINITY);
    const settled = this.#waiting.filter(({ upTo }) => upTo < lowest);
    this.#waiting = this.#waiting.filter(({ upTo }) => upTo >= lowest);
    for (const { resolve } of settled) resolve();
  }
}

class Target {
  readonly stream: string;
  readonly partition: number;
  /** What lies before it is settled. */
  from: number;
  readonly former: TargetRecord["former"];
  readonly retried: Set<string>;
  /** In the log, or in the batch under way. */
  done: DoneSet;
  /** Stands in a durable commit. */
  declared: boolean;
  queue: { readonly offset: number; readonly line: Uint8Array; readonly number: number }[] = [];
  sending = false;
  /** Number of the first emission of the batch under way. */
  underWay: number | undefined;
  #turn: Promise<void> = Promise.resolve();

  constructor({ stream, partition, from, former, done, retried }: KnownTarget, declared: boolean) {
    this.stream = stream;
    this.partition = partition;
    this.from = from;
    this.former = former;
    this.done = done;
    this.retried = new Set(retried);
    this.declared = declared;
  }

  holds(operator: string, offset: number): boolean {
    if (isDone(this.done, offset)) return true;
    return this.former?.operators.includes(operator) === true && isDone(this.former.done, offset);
  }

  /** As much of what is done as makes a batch of about `bytes`. */
  upTo(done: DoneSet, bytes: number): DoneSet {
    let sum = 0;
    for (const { line } of this.queue) sum += line.length;
    if (sum <= bytes) return done;
    const byOffset = [...this.queue].sort((a, b) => a.offset - b.offset);
    let taken = 0;
    for (const { offset, line } of byOffset) {
      taken += line.length;
      if (taken > bytes) return { next: offset + 1, pending: done.pending.filter((pending) => pending <= offset) };
    }
    return done;
  }

  /** Resolves when what is under way is over, well or not. */
  ended(): Promise<void> {
    return this.#turn;
  }

  async inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined); // told to the caller
    await turn;
  }
}

function keyOf(stream: string, partition: number): string {
  return `${stream}/${partition}`;
}
