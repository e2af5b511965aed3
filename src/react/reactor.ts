/**
 * Runs the operators of a project over the log: opens a lane for each partition of each of their streams in a thread beside this one, and begins them again
 * whenever that thread comes to an end.
 */
import { MillraceError } from "../errors.ts";
import type { Owned } from "../log/assignment.ts";
import type { EventLog } from "../log/event-log.ts";
import { EntriesDamaged } from "./checkpoint-store.ts";
import { type LaneName, markPrefix } from "./emission-mark.ts";
import type { Lane } from "./lane.ts";
import { LaneMaker } from "./lane-maker.ts";
import type { LaneRecord } from "./lane-records.ts";
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
const FIRST_REOPEN_MS = 200;
const MOST_RESTART_MS = 30_000;
/** A thread that lasted so long has worked, also where no event came. */
const WORKED_MS = 60_000;

/** How a lane stands. */
export type LaneState = Pick<LaneRecord, "status" | "owner" | "floors">;

export class Reactor {
  readonly #o: ReactorOptions;
  readonly #log: EventLog;
  readonly #retrying: Retrying;
  readonly #maker: LaneMaker;
  /** By number; no two have the same. */
  readonly #lanes = new Map<number, Lane>();
  /** By the number that the watch tells. */
  readonly #operators = new Map<number, { readonly lane: Lane; readonly place: number; readonly plan: OperatorPlan }>();
  /** Partitions whose lanes are to be open. */
  readonly #wanted = new Map<string, Owned>();
  #opensLater = false;
  /** Why lanes that are wanted are not open, while it is tried again. */
  #problem: string | undefined;
  /** One thing is done about lanes at a time. */
  #turn: Promise<unknown> = Promise.resolve();
  #thread: WorkerThread | undefined;
  /** The newest, also before its lanes are open. */
  #starting: WorkerThread | undefined;
  /** Resolves when a thread works, or rejects with why the first one could not; undefined before there is one. */
  #working: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;
  #lastRead = 0;
  readonly #reads = new Map<number, { resolve: (value: unknown) => void; reject: (error: unknown) => void }>();
  /** When the thread was begun, by the monotonic clock, and by lane where its checkpoint was then. */
  #begun: { readonly atMs: number; readonly positions: ReadonlyMap<number, number> } | undefined;
  /** Threads that ended in a row without having worked, and how often at the same event. */
  #deaths = 0;
  readonly #suspects = new Map<string, number>();
  readonly #restoring = new Map<number, Restoring>();
  readonly #opening = new Map<
    number,
    { resolve: (incompatible: readonly Incompatible[]) => void; reject: (error: unknown) => void }
  >();

  /**
   * Opens every lane and resolves once all of them take events; with a `membership` none, until `gain` is called.
   * @throws REACT_OPEN_FAILED when a module or an operator cannot be opened in the thread; what the disk says when checkpoints cannot be read or written.
   */
  static async open(options: ReactorOptions): Promise<Reactor> {
    const reactor = new Reactor(options);
    try {
      if (!options.membership) await reactor.gain(reactor.partitions());
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
    this.#maker = new LaneMaker(options, this.#retrying, (lane) => this.#laneTaken(lane));
    this.#timer = setInterval(() => void this.checkpoint(), options.checkpointMs ?? CHECKPOINT_MS);
    this.#timer.unref();
  }

  /** Of all streams that have operators. */
  partitions(): Owned[] {
    const streams = new Set(this.#o.plans.map(({ stream }) => stream));
    return [...streams].flatMap((stream) =>
      Array.from({ length: this.#log.partitions(stream) }, (_, partition) => ({ stream, partition })),
    );
  }

  /**
   * Opens the lanes of partitions, each where its last checkpoint is, beside those that are open. Resolves once they take events. When that
   * cannot be had now it is tried again until it can, or they are lost.
   * @throws REACT_OPEN_FAILED, what the store of the checkpoints and the log say; nothing of them is open then
   */
  async gain(partitions: readonly Owned[]): Promise<void> {
    for (const one of partitions) this.#wanted.set(placeName(one), one);
    try {
      await this.#openWanted();
    } catch (error) {
      this.#openLater(error);
      throw error;
    }
  }

  /**
   * Closes the lanes of partitions and no others. `revoked`: they go to another process once this resolves, which goes on from where they are then;
   * `fenced`: they have gone already. Resolves to how they stood.
   */
  async lose(partitions: readonly Owned[], how: "revoked" | "fenced"): Promise<LaneState[]> {
    for (const one of partitions) this.#wanted.delete(placeName(one));
    const names = new Set(partitions.map(placeName));
    const mine = () => [...this.#lanes.values()].filter(({ name }) => names.has(placeName(name)));
    const end = (lane: Lane) => (how === "revoked" ? lane.leave() : lane.abandon());
    await Promise.all(mine().map(end));
    return this.#inTurn(async () => {
      // Some may have been on the way to be opened.
      const lanes = mine();
      await Promise.all(lanes.map(end));
      const states = lanes.map(stateOf);
      await Promise.all(lanes.map((lane) => this.#forget(lane)));
      return states;
    });
  }

  /** Every lane that is open, with what of the log it still needs. */
  states(): LaneState[] {
    return [...this.#lanes.values()].map(stateOf);
  }

  status(): LaneStatus[] {
    return [...this.#lanes.values()].map((lane) => lane.status());
  }

  /**
   * The first offset of a partition that a lane still needs: to go on from its checkpoint, and to find what it has emitted there. Infinity when none
   * does.
   */
  floor(stream: string, partition: number): number {
    const floors = [...this.#lanes.values()].flatMap((lane) => lane.floors());
    const own = floors.filter((one) => one.stream === stream && one.partition === partition);
    return Math.min(Number.POSITIVE_INFINITY, ...own.map(({ offset }) => offset));
  }

  /** Why lanes that should be are not open; undefined when all are. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Whether the operator's lane of the partition is open here. */
  has(operator: string, partition: number): boolean {
    return this.#found(operator, partition) !== undefined;
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

  /**
   * Resolves once every lane of the partition has applied the event of this offset and all before it, and what they gave is durable.
   * @throws REACT_UNAVAILABLE when a lane is closed before
   */
  async applied(stream: string, partition: number, offset: number): Promise<void> {
    const lanes = [...this.#lanes.values()].filter(
      ({ name }) => name.stream === stream && name.partition === partition,
    );
    await Promise.all(lanes.map((lane) => lane.appliedBelow(offset + 1)));
  }

  /** Makes durable how far every lane has come. */
  async checkpoint(): Promise<void> {
    await Promise.all([...this.#lanes.values()].map((lane) => lane.checkpoint()));
  }

  /** Applies what was acknowledged before, as long as `drainMs` allows, makes it durable and stops. What is left is taken up by the next start. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Opens the lanes that are wanted and not open. */
  async #openWanted(): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#closing) throw new MillraceError("SHUTTING_DOWN");
      const missing = this.#missing();
      if (missing.length === 0) return;
      const lanes = await this.#maker.make(missing);
      if (this.#closing) {
        await Promise.all(lanes.map((lane) => lane.close()));
        throw new MillraceError("SHUTTING_DOWN");
      }
      for (const lane of lanes) this.#add(lane);
      const thread = this.#thread;
      try {
        if (thread) await this.#openIn(thread, lanes);
        // A thread that is to be started again takes them too.
        else if (this.#working === undefined) await this.#startFirst();
      } catch (error) {
        // When the thread has ended they are opened in the next one, with all others.
        if (thread?.signal.aborted) return;
        await Promise.all(lanes.map((lane) => this.#forget(lane)));
        throw error;
      }
    });
    await this.#working;
    if (this.#missing().length === 0) this.#problem = undefined;
  }

  /** Lanes that are wanted and not open. */
  #missing(): LaneName[] {
    const open = new Set([...this.#lanes.values()].map(({ name }) => markPrefix(name)));
    return laneNames(this.#o.plans, this.#wanted).filter((name) => !open.has(markPrefix(name)));
  }

  async #startFirst(): Promise<void> {
    const starting = this.#begin();
    this.#working = starting;
    starting.catch(() => {
      if (this.#working === starting) this.#working = undefined;
    });
    await starting;
  }

  /** Goes on trying to open what could not be opened. */
  #openLater(error: unknown): void {
    this.#problem = error instanceof Error ? error.message : String(error);
    if (this.#opensLater) return;
    this.#opensLater = true;
    const again = async () => {
      for (let attempt = 0; this.#opensLater; attempt++) {
        await this.#retrying.pause(Math.min(MOST_RESTART_MS, FIRST_REOPEN_MS * 2 ** Math.min(attempt, 10)));
        if (this.#retrying.stopped || this.#closing) return;
        try {
          await this.#openWanted();
          // What could not be opened while this waited for a thread was left to it.
          this.#opensLater = this.#missing().length > 0;
        } catch (failure) {
          this.#problem = failure instanceof Error ? failure.message : String(failure);
          if (attempt === 0) this.#o.report(failure, "opening lanes of reactions; it is tried again");
        }
      }
    };
    void again();
  }

  #add(lane: Lane): void {
    this.#lanes.set(lane.number, lane);
    for (const [place, { plan }] of lane.operators.entries())
      this.#operators.set(lane.firstOperator + place, { lane, place, plan });
  }

  /** Another process has taken the lane. Where the group says that the partition is still this one's, that process was a late one, and it is taken back. */
  #laneTaken(lane: Lane): void {
    if (lane.ending) return;
    lane.abandon();
    const error = new MillraceError("REACT_LANE_TAKEN", { ...lane.name });
    this.#o.report(error, `lane ${lane.name.lane}`);
    void this.#inTurn(() => this.#forget(lane)).then(() => {
      if (!this.#closing && this.#wanted.has(placeName(lane.name))) this.#openLater(error);
    });
  }

  /** Closes a lane and takes no notice of it any more. */
  async #forget(lane: Lane): Promise<void> {
    await lane.close();
    this.#thread?.say({ kind: "close", lane: lane.number });
    if (this.#lanes.get(lane.number) !== lane) return;
    this.#lanes.delete(lane.number);
    for (let place = 0; place < lane.operators.length; place++) this.#operators.delete(lane.firstOperator + place);
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
      for (const lane of [...this.#lanes.values()]) await this.#openLane(thread, lane);
    } catch (error) {
      await thread.terminate();
      throw error;
    }
    if (thread.signal.aborted)
      throw new MillraceError("REACT_UNAVAILABLE", { operator: "every operator", reason: "the thread has ended" });
    begun = true;
    this.#thread = thread;
    this.#begun = { atMs: performance.now(), positions: this.#checkpoints() };
    thread.watch(this.#o.clock ?? Date.now);
    for (const lane of this.#lanes.values()) lane.begin(thread);
  }

  /** Opens lanes in a thread that works already. */
  async #openIn(thread: WorkerThread, lanes: readonly Lane[]): Promise<void> {
    const numbers = lanes.map(({ number }) => number);
    for (const lane of lanes) await this.#openLane(thread, lane);
    if (thread.signal.aborted || this.#thread !== thread) return;
    for (const number of numbers) this.#lanes.get(number)?.begin(thread);
  }

  async #openLane(thread: WorkerThread, lane: Lane): Promise<void> {
    const { number } = lane;
    // It goes away before it has come.
    if (lane.ending) return;
    const flow: Restoring = { done: () => undefined, sent: 0 };
    this.#restoring.set(number, flow);
    try {
      await lane.restore(async (entries) => {
        refuseEnded(thread, lane);
        thread.say({ kind: "restore", lane: number, entries }, [entries.buffer]);
        if (++flow.sent < MOST_RESTORING) return;
        await new Promise<void>((resolve) => {
          flow.done = resolve;
          thread.signal.addEventListener("abort", () => resolve(), { once: true });
        });
      });
    } catch (error) {
      if (!(error instanceof EntriesDamaged)) throw error;
      thread.say({ kind: "close", lane: number });
      const anew = await this.#maker.makeAgain(lane, { damaged: error });
      this.#add(anew);
      return this.#openLane(thread, anew);
    } finally {
      this.#restoring.delete(number);
    }
    // Nothing comes any more of a thread that ended while the state was read.
    refuseEnded(thread, lane);
    const incompatible = await new Promise<readonly Incompatible[]>((resolve, reject) => {
      this.#opening.set(number, { resolve, reject });
      thread.signal.addEventListener("abort", () => reject(threadEnded(lane)), { once: true });
      thread.say({ kind: "open", lane: number, setup: lane.setup(this.#isShared(lane)) });
    }).finally(() => this.#opening.delete(number));
    if (incompatible.length > 0) await this.#openAnew(thread, lane, incompatible);
  }

  /** Other lanes take the same events. */
  #isShared({ name: { stream, partition } }: Lane): boolean {
    const same = [...this.#lanes.values()].filter(({ name }) => name.stream === stream && name.partition === partition);
    return same.length > 1;
  }

  /** State that its operator can no longer read is built again from the log. */
  async #openAnew(thread: WorkerThread, lane: Lane, incompatible: readonly Incompatible[]): Promise<void> {
    for (const { operator, state, got, wanted } of incompatible)
      this.#o.report(
        new MillraceError("STATE_INCOMPATIBLE", { operator, state, got, wanted }),
        `lane ${lane.name.lane}`,
      );
    const unread = new Set(incompatible.map(({ operator }) => operator));
    const anew = await this.#maker.makeAgain(lane, { incompatible: unread });
    this.#add(anew);
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
        this.#lanes.get(message.lane)?.hear(message);
    }
  }

  /** A thread has ended: what it was at is judged, and all lanes begin again in another. */
  #restart(end: ThreadEnd): void {
    this.#thread = undefined;
    if (this.#hasWorked()) this.#deaths = 0;
    if (this.#closing) return;
    const gone = new MillraceError("REACT_UNAVAILABLE", { operator: "the operator", reason: "its thread has ended" });
    for (const { reject } of this.#reads.values()) reject(gone);
    this.#reads.clear();
    this.#working = this.#beginAgain(end);
    this.#working.catch((error: unknown) => {
      if (!this.#retrying.stopped) this.#o.report(error, "reactions stand still");
    });
  }

  /** Whether the thread has lasted, or has brought a lane's checkpoint on. */
  #hasWorked(): boolean {
    const { atMs = performance.now(), positions } = this.#begun ?? {};
    const came = [...this.#checkpoints()].some(([lane, position]) => position > (positions?.get(lane) ?? -1));
    return came || performance.now() - atMs >= WORKED_MS;
  }

  #checkpoints(): Map<number, number> {
    return new Map([...this.#lanes].map(([number, lane]) => [number, lane.status().checkpoint?.position ?? -1]));
  }

  async #beginAgain(end: ThreadEnd): Promise<void> {
    await this.#inTurn(async () => {
      for (const lane of this.#lanes.values()) await lane.stop();
      await this.#judge(end);
    });
    for (;;) {
      await this.#retrying.pause(Math.min(MOST_RESTART_MS, FIRST_RESTART_MS * 2 ** Math.min(this.#deaths++, 10)));
      if (this.#retrying.stopped) throw new MillraceError("SHUTTING_DOWN");
      try {
        return await this.#inTurn(() => this.#begin());
      } catch (error) {
        for (const lane of this.#lanes.values()) lane.problem = error instanceof Error ? error.message : String(error);
        this.#o.report(error, "reactions cannot be begun again");
      }
    }
  }

  /** Finds the event at which the thread has ended, and leaves it out when it is the reason. */
  async #judge({ reason, hungMs, applying, waiting }: ThreadEnd): Promise<void> {
    const at = applying ?? waiting;
    const operator = at && this.#operators.get(at.operator);
    const what =
      hungMs === undefined ? `reactions: the thread ended: ${reason}` : "reactions: the thread hung and was ended";
    if (!at || !operator) {
      this.#o.report(new Error(reason), what);
      for (const lane of this.#lanes.values()) lane.beCautious();
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
    await operator.lane.leaveOut(name, at.offset, { code: why.code, message: why.message }).catch((error: unknown) => {
      // Then it is for its new owner to find.
      if (!operator.lane.ending) throw error;
    });
  }

  #limitMs(operator: number | undefined): number {
    const plan = operator === undefined ? undefined : this.#operators.get(operator)?.plan;
    if (plan) return plan.timeoutMs ?? TIMEOUT_MS;
    // What is no operator's own may be the work of any, or a pause of the thread.
    return Math.max(LEAST_LIMIT_MS, ...this.#o.plans.map(({ timeoutMs }) => timeoutMs ?? TIMEOUT_MS));
  }

  #find(operator: string, partition: number) {
    const found = this.#found(operator, partition);
    if (found) return found;
    const known = this.#o.membership && this.#o.plans.some(({ name }) => name === operator);
    if (known) throw new MillraceError("REACT_UNAVAILABLE", { operator, reason: "its lane is not open here" });
    throw new MillraceError("REACT_OPERATOR_UNKNOWN", { operator, partition });
  }

  #found(operator: string, partition: number) {
    for (const one of this.#operators.values())
      if (one.plan.name === operator && one.lane.name.partition === partition) return one;
    return undefined;
  }

  async #threadFor(operator: string): Promise<WorkerThread> {
    if (this.#closing) throw new MillraceError("SHUTTING_DOWN");
    await Promise.race([this.#working?.catch(() => undefined), this.#retrying.pause(READ_MS)]);
    if (!this.#thread)
      throw new MillraceError("REACT_UNAVAILABLE", { operator, reason: "its thread is being started" });
    return this.#thread;
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#thread) {
      const drained = Promise.allSettled(
        [...this.#lanes.values()].map((lane) =>
          lane.appliedBelow(this.#log.ends(lane.name.stream, lane.name.partition).end),
        ),
      ).then(() => this.checkpoint());
      await Promise.race([drained, this.#retrying.pause(this.#o.drainMs ?? DRAIN_MS)]);
    }
    await this.#stop();
  }

  async #stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#retrying.stop();
    const thread = this.#thread ?? this.#starting;
    this.#thread = undefined;
    await thread?.terminate();
    for (const { reject } of this.#reads.values()) reject(new MillraceError("SHUTTING_DOWN"));
    this.#reads.clear();
    await this.#working?.catch(() => undefined); // told when it failed
    await this.#turn;
    await Promise.all([...this.#lanes.values()].map((lane) => lane.close()));
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined); // told to the caller
    return turn;
  }
}

/** @throws REACT_UNAVAILABLE */
function refuseEnded(thread: WorkerThread, lane: Lane): void {
  if (thread.signal.aborted) throw threadEnded(lane);
}

function threadEnded({ name }: Lane): MillraceError {
  return new MillraceError("REACT_UNAVAILABLE", { operator: name.lane, reason: "its thread has ended" });
}

/** State on its way to the worker: blocks not taken yet, and whom to tell of one that is. */
interface Restoring {
  done: () => void;
  sent: number;
}

/** The lanes of the plans in those partitions, in the order of the plans. */
function laneNames(plans: readonly OperatorPlan[], wanted: ReadonlyMap<string, Owned>): LaneName[] {
  const lanes = new Map(plans.map(({ stream, lane }) => [`${stream}/${lane}`, { stream, lane }]));
  return [...lanes.values()].flatMap(({ stream, lane }) =>
    [...wanted.values()]
      .filter((one) => one.stream === stream)
      .map(({ partition }) => ({ lane, stream, partition }))
      .sort((a, b) => a.partition - b.partition),
  );
}

function placeName({ stream, partition }: Owned): string {
  return `${stream}/${partition}`;
}

function stateOf(lane: Lane): LaneState {
  return { status: lane.status(), owner: lane.owner, floors: lane.floors() };
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
