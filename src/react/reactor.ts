/**
 * Runs the operators of a project over the log: opens a lane for each partition of each of their streams in a thread beside this one, and begins them again
 * whenever that thread comes to an end.
 */
import { MillraceError } from "../errors.ts";
import type { EventLog } from "../log/event-log.ts";
import { CheckpointKeeper } from "./checkpoint-keeper.ts";
import type { LaneCheckpoints } from "./checkpoint-store.ts";
import { type LaneName, markPrefix } from "./emission-mark.ts";
import type { KnownTarget } from "./emitter.ts";
import { findTargets } from "./known-targets.ts";
import { Lane } from "./lane.ts";
import { type LaneStart, laneStart, type StartQuestion } from "./lane-start.ts";
import type { FromWorker, Incompatible } from "./messages.ts";
import type { OperatorPlan } from "./operator.ts";
import type { LaneStatus, ReactorOptions, RetriedEvent, RetriedOutcome } from "./reactor-options.ts";
import { Retrying } from "./retrying.ts";
import { received, type ThreadEnd, WorkerThread } from "./worker-thread.ts";

const CHECKPOINT_MS = 1_000;
const DRAIN_MS = 10_000;
const HEAP_BYTES = 2 * 2 ** 30;
const TIMEOUT_MS = 10_000;
const LEAST_LIMIT_MS = 2_000;
/** A read that comes while a thread is being started waits for it so long. */
const READ_MS = 5_000;
/** Blocks of restored state on their way to the worker. */
const MOST_RESTORING = 64;
/** An event at which a thread has ended so often is the reason. */
const MOST_DEATHS = 3;
const FIRST_RESTART_MS = 50;
const MOST_RESTART_MS = 30_000;

export class Reactor {
  readonly #o: ReactorOptions;
  readonly #log: EventLog;
  readonly #retrying: Retrying;
  readonly #lanes: Lane[] = [];
  /** By the number that the watch tells. */
  readonly #operators: { readonly lane: Lane; readonly place: number; readonly plan: OperatorPlan }[] = [];
  #thread: WorkerThread | undefined;
  /** The newest, also before its lanes are open. */
  #starting: WorkerThread | undefined;
  /** Resolves when a thread works, or rejects with why the first one could not. */
  #working: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;
  #lastRead = 0;
  readonly #reads = new Map<number, { resolve: (value: unknown) => void; reject: (error: unknown) => void }>();
  /** Threads that ended in a row, and how often at the same event. */
  #deaths = 0;
  readonly #suspects = new Map<string, number>();
  readonly #restoring = new Map<number, Restoring>();
  readonly #opening = new Map<
    number,
    { resolve: (incompatible: readonly Incompatible[]) => void; reject: (error: unknown) => void }
  >();

  /**
   * Opens every lane and resolves once all of them take events.
   * @throws REACT_OPEN_FAILED when a module or an operator cannot be opened in the thread; what the disk says when checkpoints cannot be read or written.
   */
  static async open(options: ReactorOptions): Promise<Reactor> {
    const reactor = new Reactor(options);
    try {
      await reactor.#open();
      return reactor;
    } catch (error) {
      await reactor.#stop();
      throw error;
    }
  }

  private constructor(options: ReactorOptions) {
    this.#o = options;
    this.#log = options.log;
    this.#retrying = new Retrying(options.report);
  }

  /**
   * The first offset of a partition that a lane still needs: to go on from its checkpoint, and to find what it has emitted there. Infinity when none
   * does.
   */
  floor(stream: string, partition: number): number {
    return Math.min(Number.POSITIVE_INFINITY, ...this.#lanes.map((lane) => lane.floor(stream, partition)));
  }

  status(): LaneStatus[] {
    return this.#lanes.map((lane) => lane.status());
  }

  /**
   * Asks an operator; what it answers is up to it. After a start the answer waits until all events are applied that were acknowledged before, so that
   * an old state never passes for the current one.
   * @throws REACT_OPERATOR_UNKNOWN, REACT_UNAVAILABLE when its thread cannot be started or its state brought up in a few seconds, and whatever the operator throws
   */
  async read(operator: string, request: unknown, partition = 0): Promise<unknown> {
    const { lane, place } = this.#find(operator, partition);
    let thread = this.#thread ?? (await this.#threadFor(operator));
    if (lane.catchesUp) {
      await Promise.race([lane.caughtUp(), this.#retrying.pause(READ_MS)]);
      if (lane.catchesUp)
        throw new MillraceError("REACT_UNAVAILABLE", {
          operator,
          reason: "its state is being brought up to the newest event",
        });
      thread = await this.#threadFor(operator);
    }
    const id = ++this.#lastRead;
    return new Promise((resolve, reject) => {
      this.#reads.set(id, { resolve, reject });
      thread.say({ kind: "read", id, lane: lane.number, operator: place, request });
    });
  }

  /**
   * Gives dead-lettered events of an operator to it once more, in the given order. Resolves to an outcome for each once what they gave is durable. An
   * event that is done already, by an earlier call whose answer was lost, is not applied again.
   * @throws REACT_OPERATOR_UNKNOWN, REACT_UNAVAILABLE (retryable)
   */
  async retry(operator: string, events: readonly RetriedEvent[]): Promise<RetriedOutcome[]> {
    const outcomes = new Array<RetriedOutcome>(events.length);
    const partitions = Map.groupBy(events.entries(), ([, { partition }]) => partition);
    for (const [partition, group] of partitions) {
      const { lane, place } = this.#find(operator, partition);
      await this.#threadFor(operator);
      const done = await lane.retry(
        place,
        group.map(([, event]) => event),
      );
      for (const [i, outcome] of done.entries()) outcomes[(group[i] as [number, RetriedEvent])[0]] = outcome;
    }
    return outcomes;
  }

  /** Resolves once every lane of the partition has applied the event of this offset and all before it, and what they gave is durable. */
  async applied(stream: string, partition: number, offset: number): Promise<void> {
    const lanes = this.#lanes.filter(({ name }) => name.stream === stream && name.partition === partition);
    await Promise.all(lanes.map((lane) => lane.appliedBelow(offset + 1)));
  }

  /** Makes durable how far every lane has come. */
  async checkpoint(): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.checkpoint()));
  }

  /** Applies what was acknowledged before, as long as `drainMs` allows, makes it durable and stops. What is left is taken up by the next start. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #open(): Promise<void> {
    const names = this.#o.plans.length === 0 ? [] : laneNames(this.#o.plans, this.#log);
    if (names.length === 0) return;
    const questions = await Promise.all(names.map((name) => this.#question(name, new Set())));
    let firstOperator = 0;
    for (const [number, parts] of (await this.#known(questions)).entries()) {
      this.#lanes.push(await this.#newLane(number, firstOperator, parts));
      firstOperator += parts.start.operators.length;
    }
    this.#working = this.#begin();
    await this.#working;
    const everyMs = this.#o.checkpointMs ?? CHECKPOINT_MS;
    this.#timer = setInterval(() => void this.checkpoint(), everyMs);
    this.#timer.unref();
  }

  /** Where each lane begins, and what the targets hold of it. */
  async #known(questions: readonly AskedLane[]): Promise<NewLane[]> {
    const starting = questions.map((asked) => ({
      ...{ ...asked, name: asked.question.lane, start: laneStart(asked.question) },
    }));
    for (const { start, name } of starting)
      for (const finding of start.findings) this.#o.report(finding, `lane ${name.lane}`);
    const targets = await findTargets(this.#log, starting, [...this.#o.streams.keys()]);
    return starting.map((lane) => ({ ...lane, known: targets.get(markPrefix(lane.name)) ?? [] }));
  }

  async #newLane(
    number: number,
    firstOperator: number,
    { question, checkpoints, name, start, known }: NewLane,
  ): Promise<Lane> {
    const { admit, deadLetters, clock = Date.now, repetitions } = this.#o;
    const parts = { checkpoints, retrying: this.#retrying, clock };
    const keeper = await CheckpointKeeper.open(parts, start, question.found, known);
    const lane = new Lane(number, firstOperator, name, start, known, keeper, {
      ...{ ...parts, log: this.#log, admit, deadLetters, repetitions },
    });
    for (const [place, { plan }] of start.operators.entries())
      this.#operators[firstOperator + place] = { lane, place, plan };
    return lane;
  }

  async #question(lane: LaneName, incompatible: ReadonlySet<string>): Promise<AskedLane> {
    const plans = this.#o.plans.filter((plan) => plan.stream === lane.stream && plan.lane === lane.lane);
    const checkpoints = this.#o.checkpoints.of(lane);
    const found = await checkpoints.take();
    const ends = this.#log.ends(lane.stream, lane.partition);
    const partitions = this.#log.partitions(lane.stream);
    const fresh = found.kind === "none" && (await this.#o.checkpoints.isLater(lane, partitions));
    return { checkpoints, question: { found, lane, plans, ends, fresh, incompatible } };
  }

  /** Starts a thread and begins every lane in it. */
  async #begin(): Promise<void> {
    const { project, kinds } = this.#o;
    const extension = import.meta.url.slice(import.meta.url.lastIndexOf("."));
    const thread = new WorkerThread({
      start: {
        ...{ project, idFields: idFields(this.#o.streams) },
        kinds: kinds ?? new URL(`./operator-kinds${extension}`, import.meta.url).href,
      },
      heapBytes: this.#o.heapBytes ?? HEAP_BYTES,
      limitMs: (operator) => this.#limitMs(operator),
      hear: (message) => this.#hear(message),
    });
    let begun = false;
    void thread.end.then((end) => (begun && this.#thread === thread ? this.#restart(end) : undefined));
    this.#starting = thread;
    try {
      await thread.ready;
      await this.#o.lookups?.((plan, block) => thread.say({ kind: "lookup", plan, block }));
      for (const lane of [...this.#lanes]) await this.#openLane(thread, lane);
    } catch (error) {
      await thread.terminate();
      throw error;
    }
    if (thread.signal.aborted)
      throw new MillraceError("REACT_UNAVAILABLE", { operator: "every operator", reason: "the thread has ended" });
    begun = true;
    this.#thread = thread;
    thread.watch(this.#o.clock ?? Date.now);
    for (const lane of this.#lanes) lane.begin(thread);
  }

  async #openLane(thread: WorkerThread, lane: Lane): Promise<void> {
    const { number } = lane;
    const flow: Restoring = { done: () => undefined, sent: 0 };
    this.#restoring.set(number, flow);
    await lane.restore(async (entries) => {
      thread.say({ kind: "restore", lane: number, entries }, [entries.buffer]);
      if (++flow.sent < MOST_RESTORING) return;
      await new Promise<void>((resolve) => {
        flow.done = resolve;
        thread.signal.addEventListener("abort", () => resolve(), { once: true });
      });
    });
    this.#restoring.delete(number);
    const incompatible = await new Promise<readonly Incompatible[]>((resolve, reject) => {
      this.#opening.set(number, { resolve, reject });
      thread.signal.addEventListener(
        "abort",
        () =>
          reject(new MillraceError("REACT_UNAVAILABLE", { operator: lane.name.lane, reason: "its thread has ended" })),
        { once: true },
      );
      thread.say({ kind: "open", lane: number, setup: lane.setup(this.#isShared(lane)) });
    }).finally(() => this.#opening.delete(number));
    if (incompatible.length > 0) await this.#openAnew(thread, lane, incompatible);
  }

  /** Other lanes take the same events. */
  #isShared({ name: { stream, partition } }: Lane): boolean {
    return this.#lanes.filter(({ name }) => name.stream === stream && name.partition === partition).length > 1;
  }

  /** State that its operator can no longer read is built again from the log. */
  async #openAnew(thread: WorkerThread, lane: Lane, incompatible: readonly Incompatible[]): Promise<void> {
    for (const { operator, state, got, wanted } of incompatible)
      this.#o.report(
        new MillraceError("STATE_INCOMPATIBLE", { operator, state, got, wanted }),
        `lane ${lane.name.lane}`,
      );
    await lane.close();
    const question = await this.#question(lane.name, new Set(incompatible.map(({ operator }) => operator)));
    const [parts] = await this.#known([question]);
    const anew = await this.#newLane(lane.number, lane.firstOperator, parts as NewLane);
    this.#lanes[lane.number] = anew;
    await this.#openLane(thread, anew);
  }

  #hear(message: FromWorker): void {
    switch (message.kind) {
      case "read": {
        const waiting = this.#reads.get(message.id);
        this.#reads.delete(message.id);
        if (message.error) waiting?.reject(received(message.error));
        else waiting?.resolve(message.value);
        return;
      }
      case "restored": {
        const flow = this.#restoring.get(message.lane);
        if (flow && --flow.sent < MOST_RESTORING) flow.done();
        return;
      }
      case "opened":
        this.#opening.get(message.lane)?.resolve(message.incompatible);
        return;
      case "open-failed":
        this.#opening.get(message.lane)?.reject(received(message.error));
        return;
      case "uncaught":
        this.#o.report(
          new MillraceError("REACT_UNCAUGHT", { reason: message.error.message }, { cause: received(message.error) }),
          "reactions",
        );
        return;
      case "ready":
      case "failed":
        return;
      default:
        this.#lanes[message.lane]?.hear(message);
    }
  }

  /** A thread has ended: what it was at is judged, and all lanes begin again in another. */
  #restart(end: ThreadEnd): void {
    this.#thread = undefined;
    if (this.#closing) return;
    const gone = new MillraceError("REACT_UNAVAILABLE", { operator: "the operator", reason: "its thread has ended" });
    for (const { reject } of this.#reads.values()) reject(gone);
    this.#reads.clear();
    this.#working = this.#beginAgain(end);
    this.#working.catch((error: unknown) => {
      if (!this.#retrying.stopped) this.#o.report(error, "reactions stand still");
    });
  }

  async #beginAgain(end: ThreadEnd): Promise<void> {
    for (const lane of this.#lanes) await lane.stop();
    await this.#judge(end);
    for (;;) {
      await this.#retrying.pause(Math.min(MOST_RESTART_MS, FIRST_RESTART_MS * 2 ** Math.min(this.#deaths++, 10)));
      if (this.#retrying.stopped) throw new MillraceError("SHUTTING_DOWN");
      try {
        return await this.#begin();
      } catch (error) {
        for (const lane of this.#lanes) lane.problem = error instanceof Error ? error.message : String(error);
        this.#o.report(error, "reactions cannot be begun again");
      }
    }
  }

  /** Finds the event at which the thread has ended, and leaves it out when it is the reason. */
  async #judge({ reason, hungMs, applying, waiting }: ThreadEnd): Promise<void> {
    const at = applying ?? waiting;
    const operator = at && this.#operators[at.operator];
    const what =
      hungMs === undefined ? `reactions: the thread ended: ${reason}` : "reactions: the thread hung and was ended";
    if (!at || !operator) {
      this.#o.report(new Error(reason), what);
      for (const lane of this.#lanes) lane.beCautious();
      return;
    }
    const { name } = operator.plan;
    const why =
      hungMs === undefined
        ? new MillraceError("REACT_THREAD_DIED", { operator: `${operator.plan.kind} "${name}"`, reason })
        : new MillraceError("REACT_TIMEOUT", {
            operator: `${operator.plan.kind} "${name}"`,
            ms: hungMs,
            limit: this.#limitMs(at.operator),
          });
    this.#o.report(why, what);
    if (at.offset < 0) return;
    const suspect = `${at.operator}/${at.offset}`;
    const deaths = (this.#suspects.get(suspect) ?? 0) + 1;
    this.#suspects.set(suspect, deaths);
    if (hungMs === undefined && deaths < MOST_DEATHS) {
      // Memory may have been short for the sake of others.
      operator.lane.beCautious();
      return;
    }
    this.#suspects.delete(suspect);
    this.#deaths = 0;
    await operator.lane.leaveOut(name, at.offset, { code: why.code, message: why.message });
  }

  #limitMs(operator: number | undefined): number {
    const plan = operator === undefined ? undefined : this.#operators[operator]?.plan;
    if (plan) return plan.timeoutMs ?? TIMEOUT_MS;
    // What is no operator's own may be the work of any, or a pause of the thread.
    return Math.max(LEAST_LIMIT_MS, ...this.#o.plans.map(({ timeoutMs }) => timeoutMs ?? TIMEOUT_MS));
  }

  #find(operator: string, partition: number) {
    const found = this.#operators.find(({ plan, lane }) => plan.name === operator && lane.name.partition === partition);
    if (!found) throw new MillraceError("REACT_OPERATOR_UNKNOWN", { operator, partition });
    return found;
  }

  async #threadFor(operator: string): Promise<WorkerThread> {
    if (this.#closing) throw new MillraceError("SHUTTING_DOWN");
    await Promise.race([this.#working.catch(() => undefined), this.#retrying.pause(READ_MS)]);
    if (!this.#thread)
      throw new MillraceError("REACT_UNAVAILABLE", { operator, reason: "its thread is being started" });
    return this.#thread;
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#thread) {
      const drained = Promise.all(
        this.#lanes.map((lane) => lane.appliedBelow(this.#log.ends(lane.name.stream, lane.name.partition).end)),
      ).then(() => this.checkpoint());
      await Promise.race([drained, this.#retrying.pause(this.#o.drainMs ?? DRAIN_MS)]);
    }
    await this.#stop();
  }

  async #stop(): Promise<void> {
    this.#retrying.stop();
    const thread = this.#thread ?? this.#starting;
    this.#thread = undefined;
    await thread?.terminate();
    for (const { reject } of this.#reads.values()) reject(new MillraceError("SHUTTING_DOWN"));
    this.#reads.clear();
    await this.#working.catch(() => undefined); // told when it failed
    await Promise.all(this.#lanes.map((lane) => lane.close()));
  }
}

interface AskedLane {
  readonly checkpoints: LaneCheckpoints;
  readonly question: StartQuestion;
}

interface NewLane extends AskedLane {
  readonly name: LaneName;
  readonly start: LaneStart;
  readonly known: readonly KnownTarget[];
}

/** State on its way to the worker: blocks not taken yet, and whom to tell of one that is. */
interface Restoring {
  done: () => void;
  sent: number;
}

/** The lanes of the plans, in the order of the plans. */
function laneNames(plans: readonly OperatorPlan[], log: EventLog): LaneName[] {
  const lanes = new Map(plans.map(({ stream, lane }) => [`${stream}/${lane}`, { stream, lane }]));
  return [...lanes.values()].flatMap(({ stream, lane }) =>
    Array.from({ length: log.partitions(stream) }, (_, partition) => ({ lane, stream, partition })),
  );
}

/** Streams whose id is one text field. */
function idFields(streams: ReactorOptions["streams"]): Map<string, string> {
  const fields = new Map<string, string>();
  for (const { name, id, columns } of streams.values()) {
    const [field] = id;
    const column = columns.find((candidate) => candidate.name === field);
    if (id.length === 1 && field !== undefined && column?.type.kind === "string") fields.set(name, field);
  }
  return fields;
}
