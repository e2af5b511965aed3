/** Reactions of a project, between the reactor that runs them and the parts that feed, count and show them. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Settings } from "../config/settings.ts";
import type { Project } from "../define/project.ts";
import { functionCircles, type StreamFunction } from "../define/read-function.ts";
import type { SqlEngine } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import { type DeadLetter, isInternal } from "../flow/dead-letters.ts";
import type { Flow } from "../flow/flow.ts";
import type { ReactionProgress, Reactions, RetriedEvent, RetriedOutcome } from "../flow/reactions.ts";
import type { FileSystem } from "../lake/file-system.ts";
import type { ObjectStore } from "../lake/object-store.ts";
import type { Assignment, Membership, Owned } from "../log/assignment.ts";
import type { EventLog } from "../log/event-log.ts";
import type { LogFs } from "../log/file-system.ts";
import { FileCheckpoints } from "../react/checkpoint-file.ts";
import { carriedEvent, type LaneCall, type ReactPeers, receivedEvent } from "../react/lane-calls.ts";
import type { LaneRecords } from "../react/lane-records.ts";
import { ObjectCheckpoints } from "../react/object-checkpoints.ts";
import type { OperatorPlan } from "../react/operator.ts";
import { Reactor } from "../react/reactor.ts";
import type { Admit, LaneStatus, ReactLetter } from "../react/reactor-options.ts";
import type { FunctionPartition, FunctionView } from "../serve/functions-route.ts";
import { checkFunctionVersions, functionsFile, functionsObject } from "./function-versions.ts";
import { LaneBoard } from "./lane-board.ts";
import { LookupFeed } from "./lookups.ts";
import { hasOperators, operatorPlans } from "./operator-plans.ts";
import { REACT_GROUP } from "./react-peers.ts";

export interface ReactingParts {
  readonly flow: Flow;
  readonly log: EventLog;
  readonly dataDir: string;
  readonly admit: Admit;
  readonly engine: SqlEngine;
  readonly settings: Pick<Settings, "logLevel" | "checkpointIntervalMs">;
  readonly clock: () => number;
  /** Disk of the checkpoints. */
  readonly logFs: LogFs;
  readonly lakeFs: FileSystem;
  readonly report: (error: unknown, what: string) => void;
  /** Undefined for a process that has all lanes to itself. */
  readonly shared?: SharedReactions | undefined;
}

/** What a process needs whose lanes may be in others. */
export interface SharedReactions {
  /** Gives this process its partitions; undefined for one that has no lanes. */
  readonly assignment: Assignment | undefined;
  /** Holds the checkpoints. */
  readonly store: ObjectStore;
  readonly records: LaneRecords;
  readonly peers: ReactPeers;
  readonly worker: string;
  /** Tells others what is this process's own now. */
  readonly owns: (partitions: readonly Owned[]) => Promise<void>;
}

/** A lane is on its way from one process to another for so long at most, mostly: who asks waits. */
const MOVING_MS = 5_000;
const ASK_AGAIN_MS = 200;

/** Made before the flow, which asks it; opened behind it. A project without operators has no reactor, and no thread. */
export class Reacting implements Reactions {
  readonly #project: Project;
  #plans: readonly OperatorPlan[] = [];
  #reactor: Reactor | undefined;
  #lookups: LookupFeed | undefined;
  #shared: SharedReactions | undefined;
  #board: LaneBoard | undefined;
  #membership: Membership | undefined;
  /** Why the group does not work, while it does not. */
  #groupProblem: string | undefined;
  #unwatch: NodeJS.Timeout | undefined;

  constructor(project: Project) {
    this.#project = project;
  }

  /** @throws REACT_KEY, FUNCTION_CHANGED, REACT_OPEN_FAILED, STATE_UNAVAILABLE */
  async open(parts: ReactingParts): Promise<void> {
    if (!hasOperators(this.#project)) return;
    const { log, settings, report, shared } = parts;
    this.#plans = operatorPlans(this.#project, { partitions: (stream) => log.partitions(stream), settings });
    this.#shared = shared;
    if (shared) {
      this.#board = new LaneBoard({
        ...{ records: shared.records, worker: shared.worker, plans: this.#plans, report },
        own: () => this.#reactor?.states() ?? [],
        partitions: (stream) => log.partitions(stream),
        end: (stream, partition) => log.ends(stream, partition).end,
      });
      await this.#board.open();
      if (!shared.assignment) return;
    }
    await this.#react(parts);
  }

  /** Applies what was acknowledged before, makes it durable, and gives its partitions away. */
  async close(): Promise<void> {
    clearInterval(this.#unwatch);
    await this.#reactor?.close();
    await this.#membership?.leave();
    await this.#board?.close();
    await this.#lookups?.close();
  }

  floor(stream: string, partition: number): number {
    if (this.#board) return this.#board.floor(stream, partition);
    if (this.#reactor) return this.#reactor.floor(stream, partition);
    // Before it is open, nobody knows what it needs.
    return hasOperators(this.#project) ? 0 : Number.POSITIVE_INFINITY;
  }

  /** Every lane of the project, wherever it is; empty for a project without operators. */
  lanes(): LaneStatus[] {
    return this.#board?.lanes() ?? this.ownLanes();
  }

  /** Every lane of this process. */
  ownLanes(): LaneStatus[] {
    return this.#reactor?.status() ?? [];
  }

  progress(): ReactionProgress[] {
    return this.lanes().flatMap(({ operators, ...lane }) =>
      operators.filter((name) => this.#project.functions.has(name)).map((name) => ({ function: name, ...lane })),
    );
  }

  /** @throws REACT_OPERATOR_UNKNOWN, REACT_UNAVAILABLE, WORKER_UNREACHABLE */
  async retry(operator: string, stream: string, events: readonly RetriedEvent[]): Promise<readonly RetriedOutcome[]> {
    if (!this.#plans.some((plan) => plan.name === operator && plan.stream === stream))
      throw new MillraceError("REACT_OPERATOR_UNKNOWN", { operator, partition: events[0]?.partition ?? 0 });
    const outcomes = new Array<RetriedOutcome>(events.length);
    for (const [partition, group] of Map.groupBy(events.entries(), ([, event]) => event.partition)) {
      const own = group.map(([, event]) => event);
      const place = { stream, partition };
      const carried = () => ({ call: "retry" as const, operator, events: own.map(carriedEvent) });
      const done = (await this.#where(
        operator,
        place,
        (reactor) => reactor.retry(operator, own),
        carried,
      )) as RetriedOutcome[];
      for (const [i, outcome] of done.entries()) outcomes[(group[i] as [number, RetriedEvent])[0]] = outcome;
    }
    return outcomes;
  }

  /** Asks an operator, such as a feature for a value. @throws REACT_OPERATOR_UNKNOWN, REACT_UNAVAILABLE, WORKER_UNREACHABLE */
  async read(operator: string, partition: number, request: unknown): Promise<unknown> {
    const stream = this.#plans.find(({ name }) => name === operator)?.stream;
    if (stream === undefined) throw new MillraceError("REACT_OPERATOR_UNKNOWN", { operator, partition });
    const read = (reactor: Reactor) => reactor.read(operator, request, partition);
    return this.#where(operator, { stream, partition }, read, () => ({ call: "read", operator, request }));
  }

  /** Answers another process. @throws REACT_UNAVAILABLE for a lane that is not here (any more), and what the call throws */
  async answer(call: LaneCall): Promise<unknown> {
    const { operator, partition } = call;
    const reactor = this.#reactor;
    if (!reactor || !this.#isHere(operator, call)) throw notHere(operator);
    if (call.call === "read") return reactor.read(operator, call.request, partition);
    return reactor.retry(operator, call.events.map(receivedEvent));
  }

  /** Functions with what became of their streams' events. */
  functions(): FunctionView[] {
    const lanes = this.lanes();
    return [...this.#project.functions.values()].map((one) => viewOf(one, lanes));
  }

  /** Why lanes of this process stand still. */
  problems(): string[] {
    const still = this.ownLanes().flatMap(({ lane, stream, partition, problem }) =>
      problem === undefined ? [] : [`${lane} stands still at ${stream}, partition ${partition}: ${problem}`],
    );
    const closed = this.#reactor?.problem;
    return [
      ...still,
      ...(closed === undefined ? [] : [`lanes of this worker cannot be opened: ${closed}`]),
      ...(this.#groupProblem === undefined ? [] : [this.#groupProblem]),
    ];
  }

  async #react(parts: ReactingParts): Promise<void> {
    const { flow, engine, log, dataDir, admit, settings, clock, logFs, lakeFs, report, shared } = parts;
    const { functions, modules, dir: projectDir } = this.#project;
    const dir = join(dataDir, "react");
    const looked = [...functions.values()].flatMap(({ lookups }) => Object.values(lookups));
    const lookups = [...new Map(looked.map((plan) => [plan.id, plan])).values()];
    if (lookups.length > 0) this.#lookups = new LookupFeed({ flow, engine, plans: lookups, report });
    const known = shared ? functionsObject(shared.store) : functionsFile(dir, lakeFs);
    const taken = await checkFunctionVersions(known, functions);
    for (const circle of functionCircles(functions))
      report(new Error(`functions feed each other: ${circle}`), "reactions");
    const reactor = await Reactor.open({
      ...{ plans: this.#plans, log, clock, report, project: { dir: projectDir, modules } },
      ...(shared
        ? {
            checkpoints: new ObjectCheckpoints({ store: shared.store }),
            checkpointMs: settings.checkpointIntervalMs,
            membership: {
              owns: (stream, partition) => this.#membership?.owns(stream, partition) === true,
              confirmed: () => this.#membership?.confirmed() === true,
            },
          }
        : { checkpoints: new FileCheckpoints(logFs, dir) }),
      streams: flow.project.streams,
      // The platform's own streams have no contract, and one partition.
      admit: (stream, payload) =>
        isInternal(stream) ? { kind: "accepted", partition: 0, line: asLine(payload) } : admit(stream, payload),
      deadLetters: (letters) => flow.deadLetters(letters.map(deadLetter)),
      repetitions: (stream, partition, run) => flow.repetitions(stream, partition, run),
      ...(this.#lookups && { lookups: this.#lookups.begin }),
    });
    this.#reactor = reactor;
    if (shared?.assignment) await this.#join(reactor, shared, shared.assignment, report);
    await taken();
  }

  /** Takes part in the group. @throws what opening the first lanes throws */
  async #join(
    reactor: Reactor,
    shared: SharedReactions,
    assignment: Assignment,
    report: ReactingParts["report"],
  ): Promise<void> {
    let first: unknown;
    let joined = false;
    const told = () =>
      shared.owns(this.#membership?.owned() ?? []).catch((error: unknown) => report(error, "reactions"));
    this.#membership = await assignment.join({
      group: REACT_GROUP,
      streams: [...new Set(this.#plans.map(({ stream }) => stream))],
      gained: async (partitions) => {
        try {
          await reactor.gain(partitions);
        } catch (error) {
          // At the start the project or the disk is to blame; later the reactor goes on trying.
          if (joined) report(error, "opening lanes of reactions; it is tried again");
          else first = error;
        }
        if (joined) void told();
      },
      lost: async (partitions, how) => {
        const states = await reactor.lose(partitions, how);
        void told();
        if (how === "revoked") await this.#board?.tell(states).catch((error: unknown) => report(error, "reactions"));
      },
      failed: (error) => {
        this.#groupProblem = `the group of workers: ${error.message}`;
        report(error, "the group of workers that react");
      },
    });
    joined = true;
    if (first !== undefined) throw first;
    await told();
    const membership = this.#membership;
    this.#unwatch = setInterval(() => this.#tellProgress(reactor, membership), PROGRESS_MS);
    this.#unwatch.unref();
  }

  /** Of each partition how far the slowest of its lanes is. */
  #tellProgress(reactor: Reactor, membership: Membership): void {
    if (membership.confirmed()) this.#groupProblem = undefined;
    if (!membership.progress) return;
    for (const lanes of Map.groupBy(reactor.status(), (lane) => `${lane.stream}/${lane.partition}`).values()) {
      const { stream, partition } = lanes[0] as LaneStatus;
      if (membership.owns(stream, partition))
        membership.progress(stream, partition, Math.min(...lanes.map(({ position }) => position)));
    }
  }

  #isHere(operator: string, { stream, partition }: Owned): boolean {
    if (!this.#reactor?.has(operator, partition)) return false;
    return this.#membership?.owns(stream, partition) ?? true;
  }

  /** Does something with a lane here, or has it done where the lane is; waits a moment for one that moves. */
  async #where(
    operator: string,
    place: Owned,
    here: (reactor: Reactor) => Promise<unknown>,
    call: () => LaneQuestion,
  ): Promise<unknown> {
    const untilMs = performance.now() + MOVING_MS;
    for (;;) {
      try {
        const reactor = this.#reactor;
        if (!this.#shared) {
          if (!reactor) throw new MillraceError("REACT_OPERATOR_UNKNOWN", { operator, partition: place.partition });
          return await here(reactor);
        }
        if (reactor && this.#isHere(operator, place)) return await here(reactor);
        return await this.#shared.peers.ask({ to: "lane", ...place, ...call() });
      } catch (error) {
        const moves = error instanceof MillraceError && MOVING.has(error.code);
        if (!this.#shared || !moves || performance.now() >= untilMs) throw error;
        await sleep(ASK_AGAIN_MS);
      }
    }
  }
}

const PROGRESS_MS = 2_000;
/** What is said of a lane that is on its way, or of a worker that has gone. */
const MOVING: ReadonlySet<string> = new Set(["REACT_UNAVAILABLE", "WORKER_UNREACHABLE"]);

type LaneQuestion = LaneCall extends infer Call
  ? Call extends LaneCall
    ? Omit<Call, "to" | "stream" | "partition">
    : never
  : never;

function notHere(operator: string): MillraceError {
  return new MillraceError(
    "REACT_UNAVAILABLE",
    { operator, reason: "its lane is not on this worker" },
    { retryAfterS: 1 },
  );
}

function viewOf(one: StreamFunction, lanes: readonly LaneStatus[]): FunctionView {
  const { name, stream, key, version, from, concurrency, timeoutMs, batch, emits, state, file } = one;
  const own = lanes.filter((lane) => lane.stream === stream && lane.operators.includes(name));
  return {
    ...{ name, stream, key: key ?? null, state: state !== undefined, version, from, concurrency, timeoutMs },
    ...{ batch: batch ?? null, emits: emits ?? null, file },
    partitions: own.map(partitionView),
  };
}

function partitionView(lane: LaneStatus): FunctionPartition {
  const {
    partition,
    begun,
    position,
    pending,
    dead,
    repeated,
    emitted,
    stateEntries,
    stateBytes,
    checkpoint,
    restarts,
  } = lane;
  return {
    ...{ partition, begun, position, pending, handled: position - begun - dead - repeated, duplicate: repeated },
    ...{ deadLettered: dead, emitted, stateEntries, stateBytes, restarts, problem: lane.problem ?? null },
    checkpointAt: checkpoint === undefined ? null : new Date(checkpoint.atMs).toISOString(),
  };
}

function deadLetter({ operator, stage, ...letter }: ReactLetter): DeadLetter {
  return stage === "react" ? { ...letter, stage, table: operator } : { ...letter, stage };
}

function asLine(payload: Uint8Array): Uint8Array {
  return Buffer.concat([payload, Buffer.from("\n")]);
}
