/** Reactions of a project, between the reactor that runs them and the parts that feed, count and show them. */
import { join } from "node:path";
import type { Settings } from "../config/settings.ts";
import type { Project } from "../define/project.ts";
import { functionCircles, type StreamFunction } from "../define/read-function.ts";
import type { SqlEngine } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import { type DeadLetter, isInternal } from "../flow/dead-letters.ts";
import type { Flow } from "../flow/flow.ts";
import type { ReactionProgress, Reactions, RetriedEvent, RetriedOutcome } from "../flow/reactions.ts";
import type { FileSystem } from "../lake/file-system.ts";
import type { EventLog } from "../log/event-log.ts";
import type { LogFs } from "../log/file-system.ts";
import { FileCheckpoints } from "../react/checkpoint-file.ts";
import { Reactor } from "../react/reactor.ts";
import type { Admit, LaneStatus, ReactLetter } from "../react/reactor-options.ts";
import type { FunctionPartition, FunctionView } from "../serve/functions-route.ts";
import { checkFunctionVersions } from "./function-versions.ts";
import { LookupFeed } from "./lookups.ts";
import { hasOperators, operatorPlans } from "./operator-plans.ts";

export interface ReactingParts {
  readonly flow: Flow;
  readonly log: EventLog;
  readonly dataDir: string;
  readonly admit: Admit;
  readonly engine: SqlEngine;
  readonly settings: Pick<Settings, "logLevel">;
  readonly clock: () => number;
  /** Disk of the checkpoints. */
  readonly logFs: LogFs;
  readonly lakeFs: FileSystem;
  readonly report: (error: unknown, what: string) => void;
}

/** Made before the flow, which asks it; opened behind it. A project without operators has no reactor, and no thread. */
export class Reacting implements Reactions {
  readonly #project: Project;
  #reactor: Reactor | undefined;
  #lookups: LookupFeed | undefined;

  constructor(project: Project) {
    this.#project = project;
  }

  /** @throws REACT_KEY, FUNCTION_CHANGED, REACT_OPEN_FAILED */
  async open(parts: ReactingParts): Promise<void> {
    if (!hasOperators(this.#project)) return;
    const { flow, engine, log, dataDir, admit, settings, clock, logFs, lakeFs, report } = parts;
    const dir = join(dataDir, "react");
    const { functions, modules, dir: projectDir } = this.#project;
    const plans = operatorPlans(this.#project, { partitions: (stream) => log.partitions(stream), settings });
    const looked = [...functions.values()].flatMap(({ lookups }) => Object.values(lookups));
    const lookups = [...new Map(looked.map((plan) => [plan.id, plan])).values()];
    if (lookups.length > 0) this.#lookups = new LookupFeed({ flow, engine, plans: lookups, report });
    const taken = await checkFunctionVersions(dir, lakeFs, functions);
    for (const circle of functionCircles(functions))
      report(new Error(`functions feed each other: ${circle}`), "reactions");
    this.#reactor = await Reactor.open({
      ...{
        plans,
        log,
        clock,
        report,
        checkpoints: new FileCheckpoints(logFs, dir),
        project: { dir: projectDir, modules },
      },
      streams: flow.project.streams,
      // The platform's own streams have no contract, and one partition.
      admit: (stream, payload) =>
        isInternal(stream) ? { kind: "accepted", partition: 0, line: asLine(payload) } : admit(stream, payload),
      deadLetters: (letters) => flow.deadLetters(letters.map(deadLetter)),
      repetitions: (stream, partition, run) => flow.repetitions(stream, partition, run),
      ...(this.#lookups && { lookups: this.#lookups.begin }),
    });
    await taken();
  }

  async close(): Promise<void> {
    await this.#reactor?.close();
    await this.#lookups?.close();
  }

  floor(stream: string, partition: number): number {
    if (this.#reactor) return this.#reactor.floor(stream, partition);
    // Before it is open, nobody knows what it needs.
    return hasOperators(this.#project) ? 0 : Number.POSITIVE_INFINITY;
  }

  /** Every lane; empty for a project without operators. */
  lanes(): LaneStatus[] {
    return this.#reactor?.status() ?? [];
  }

  progress(): ReactionProgress[] {
    return this.lanes().flatMap(({ operators, ...lane }) =>
      operators.filter((name) => this.#project.functions.has(name)).map((name) => ({ function: name, ...lane })),
    );
  }

  /** @throws REACT_OPERATOR_UNKNOWN, REACT_UNAVAILABLE */
  async retry(operator: string, stream: string, events: readonly RetriedEvent[]): Promise<readonly RetriedOutcome[]> {
    const known = this.lanes().some((lane) => lane.stream === stream && lane.operators.includes(operator));
    if (!this.#reactor || !known)
      throw new MillraceError("REACT_OPERATOR_UNKNOWN", { operator, partition: events[0]?.partition ?? 0 });
    return this.#reactor.retry(operator, events);
  }

  /** Asks an operator, such as a feature for a value. @throws REACT_OPERATOR_UNKNOWN, REACT_UNAVAILABLE */
  async read(operator: string, partition: number, request: unknown): Promise<unknown> {
    if (!this.#reactor) throw new MillraceError("REACT_OPERATOR_UNKNOWN", { operator, partition });
    return this.#reactor.read(operator, request, partition);
  }

  /** Functions with what became of their streams' events. */
  functions(): FunctionView[] {
    const lanes = this.lanes();
    return [...this.#project.functions.values()].map((one) => viewOf(one, lanes));
  }

  /** Why lanes stand still. */
  problems(): string[] {
    return this.lanes().flatMap(({ lane, stream, partition, problem }) =>
      problem === undefined ? [] : [`${lane} stands still at ${stream}, partition ${partition}: ${problem}`],
    );
  }
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
