/**
 * A function of the user's as an operator: what it throws is tried again with growing waits, what takes too long is given up, and after the last attempt
 * the event is refused. Other keys go on meanwhile; the lane keeps the order of each key (`keyOf`).
 */
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type DestinationStream, type Logger, pino } from "pino";
import type { FunctionDefinition } from "../define/on.ts";
import { showValue } from "../define/options.ts";
import { DEFAULT_RETRY } from "../define/read-function.ts";
import type { LookupPlan } from "../define/read-lookup.ts";
import { type RetryRule, readRetry } from "../define/read-workflow.ts";
import { retryDelayMs } from "../define/retry-delay.ts";
import { MillraceError } from "../errors.ts";
import type { FeatureOperator } from "./features/feature-operator.ts";
import { BatchOperator } from "./function-batches.ts";
import { AttemptScope, type CallParts, FunctionCall, keyText } from "./function-call.ts";
import type { EventView, LaneServices, Operator, OperatorKind, Outlet } from "./operator.ts";

/** What the main thread says of a function: plain data. */
export interface FunctionPlan {
  readonly key: string | undefined;
  readonly ttlMs: number | undefined;
  readonly timeoutMs: number;
  readonly batch: { readonly size: number; readonly waitMs: number } | undefined;
  /** Streams it may emit to, with the one text field of their id, where they have one. */
  readonly targets: ReadonlyMap<string, string | undefined>;
  readonly logLevel: string;
  /** Names of feature operators of its lane. */
  readonly features: readonly string[];
  readonly lookups: Readonly<Record<string, LookupPlan>>;
}

export const functionKind: OperatorKind<FunctionPlan, FunctionDefinition["options"]> = {
  open(plan, definition, lane) {
    const { options } = definition;
    const runner = new FunctionRunner(plan, definition, lane);
    return options.batch ? new BatchOperator(runner, plan) : new EventOperator(runner);
  },
};

type Handler = (first: unknown, context: unknown) => unknown;

/** How an attempt went wrong. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  /** What the retry rules judge; undefined for what another attempt would not make better. */
  readonly error: unknown;
}

/** Undefined: it ended well. */
export type Outcome = Failure | undefined | Promise<Failure | undefined>;

/** Makes attempts of one function. */
export class FunctionRunner {
  readonly parts: CallParts;
  readonly #handler: Handler;
  readonly #timeoutMs: number;
  readonly #rules: readonly RetryRule[];
  readonly #place: string | undefined;
  readonly #random: () => number;

  constructor(
    plan: FunctionPlan,
    {
      name,
      options,
      place,
    }: { name: string; options: FunctionDefinition["options"]; place?: FunctionDefinition["place"] },
    lane: LaneServices,
    random: () => number = Math.random,
  ) {
    const logger = loggerAt(plan.logLevel).child({ function: name });
    const schema = options.state?._zod === undefined ? undefined : options.state;
    this.parts = {
      name,
      stream: lane.stream,
      key: plan.key,
      state: schema && {
        schema,
        values: lane.state("state", plan.ttlMs === undefined ? {} : { ttlMs: plan.ttlMs }),
      },
      targets: plan.targets,
      features: new Map(plan.features.map((feature) => [feature, lane.before.get(feature) as FeatureOperator])),
      lookups: Object.fromEntries(Object.entries(plan.lookups).map(([as, table]) => [as, lane.lookup(table)])),
      log: (message, fields) => logger.info(fields, message),
    };
    this.#handler = options.handler as unknown as Handler;
    this.#timeoutMs = plan.timeoutMs;
    this.#rules = readRetry(options.retry ?? DEFAULT_RETRY, name, []);
    this.#place = place && dirname(place.file);
    this.#random = random;
  }

  /**
   * Calls the function. What the attempt has done counts for nothing yet. `first` makes of the calls what
   * the function takes: one of them, or all.
   */
  attempt(calls: readonly FunctionCall[], first: unknown, context: unknown, scope: AttemptScope): Outcome {
    let given: unknown;
    try {
      given = this.#handler(first, context);
    } catch (error) {
      return this.#thrown(calls, error);
    }
    if (given === undefined) return undefined;
    if (typeof (given as { then?: unknown } | null)?.then !== "function") return this.#gave(calls, given);
    return this.#inTime(calls, given as PromiseLike<unknown>, scope);
  }

  /** What the attempt has done counts, or, where it cannot be done, nothing of the event. */
  commit(call: FunctionCall, out: Outlet): void {
    try {
      call.commit(out);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const { code, message } = new MillraceError("FUNCTION_EMIT", { function: this.parts.name, what: "this", reason });
      out.refuse(code, message);
    }
  }

  /** Follows attempts for an event to their end: as many as the retry rules allow. `begun` is one that was made already. */
  async toTheEnd(
    event: EventView,
    out: Outlet,
    attempt: (call: FunctionCall, scope: AttemptScope) => Outcome,
    begun?: { readonly call: FunctionCall; readonly outcome: Outcome },
  ): Promise<void> {
    for (let number = 1, next = begun; ; number++, next = undefined) {
      const { call, outcome } = next ?? this.#begin(event, number, attempt);
      const failure = await outcome;
      if (failure === undefined) {
        this.commit(call, out);
        return;
      }
      const delayMs = this.delayMs(failure, number);
      if (delayMs === undefined) {
        this.refuse(out, failure, number);
        return;
      }
      await sleep(delayMs);
    }
  }

  /** How long to wait before the next attempt; undefined when there is none. */
  delayMs({ error }: Failure, attempt: number): number | undefined {
    return error === undefined ? undefined : retryDelayMs(this.#rules, error, attempt, this.#random);
  }

  refuse(out: Outlet, { code, message }: Failure, attempts: number): void {
    out.refuse(code, attempts === 1 ? message : `${message} (${attempts} attempts)`);
  }

  #begin(event: EventView, number: number, attempt: (call: FunctionCall, scope: AttemptScope) => Outcome) {
    const scope = new AttemptScope();
    const call = new FunctionCall(this.parts, event, number, scope);
    return { call, outcome: attempt(call, scope) };
  }

  async #inTime(
    calls: readonly FunctionCall[],
    given: PromiseLike<unknown>,
    scope: AttemptScope,
  ): Promise<Failure | undefined> {
    const { name } = this.parts;
    const { promise: late, resolve } = Promise.withResolvers<Failure>();
    const timer = setTimeout(() => {
      const error = new MillraceError("FUNCTION_TIMEOUT", { function: name, timeout: this.#timeoutMs });
      end(calls);
      resolve({ code: error.code, message: error.message, error });
      scope.abort(error);
    }, this.#timeoutMs);
    // What it throws after its time was told as a timeout; nobody else waits for it.
    const ended = Promise.resolve(given).then(
      (value) => (value === undefined ? undefined : this.#gave(calls, value)),
      (error: unknown) => this.#thrown(calls, error),
    );
    try {
      return await Promise.race([ended, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #gave(calls: readonly FunctionCall[], given: unknown): Failure {
    end(calls);
    const { code, message } = new MillraceError("FUNCTION_RETURNED", {
      function: this.parts.name,
      got: showValue(given),
    });
    return { code, message, error: undefined };
  }

  #thrown(calls: readonly FunctionCall[], error: unknown): Failure {
    end(calls);
    // Mistakes stay mistakes; what is only not there now may be there for the next attempt.
    if (error instanceof MillraceError) {
      const { code, message, retryable } = error;
      return { code, message, error: retryable ? error : undefined };
    }
    const { name } = this.parts;
    const told = error instanceof Error ? `${error.name}: ${error.message}` : showValue(error);
    const reason = told.slice(0, MOST_REASON);
    const failed = new MillraceError("FUNCTION_FAILED", { function: name, reason, place: this.#placeOf(error) });
    return { code: failed.code, message: failed.message, error: error ?? failed };
  }

  /** File and line of the function's own code where the error came from. */
  #placeOf(error: unknown): string {
    const dir = this.#place;
    const stack = error instanceof Error ? (error.stack ?? "") : "";
    if (dir === undefined) return "";
    for (const [, path, line] of stack.matchAll(/((?:file:\/\/)?\/[^\s():]+):(\d+)/g)) {
      if (path?.startsWith(`${dir}/`)) return ` at ${path.slice(dir.length + 1)}:${line}`;
    }
    return "";
  }
}

/** Calls the function for each event by itself. */
class EventOperator implements Operator {
  readonly #runner: FunctionRunner;

  constructor(runner: FunctionRunner) {
    this.#runner = runner;
  }

  keyOf(event: EventView): string | undefined {
    return keyText(this.#runner.parts.key, event);
  }

  apply(event: EventView, out: Outlet): void | Promise<void> {
    const runner = this.#runner;
    const scope = new AttemptScope();
    const call = new FunctionCall(runner.parts, event, 1, scope);
    const attempt = (one: FunctionCall, its: AttemptScope) => runner.attempt([one], one.event, one, its);
    const outcome = attempt(call, scope);
    // Most functions wait for nothing, and a promise for each event would be most of their cost.
    if (outcome === undefined) runner.commit(call, out);
    else if (!(outcome instanceof Promise) && runner.delayMs(outcome, 1) === undefined) runner.refuse(out, outcome, 1);
    else return runner.toTheEnd(event, out, attempt, { call, outcome });
  }
}

function end(calls: readonly FunctionCall[]): void {
  for (const call of calls) call.end();
}

/** Of what a function throws; a dead letter is a line of a log. */
const MOST_REASON = 2000;

const loggers = new Map<string, Logger>();

/** Standard error is where the platform's log goes; the thread writes to it by itself. */
function loggerAt(level: string): Logger {
  const logger =
    loggers.get(level) ?? pino({ level, base: null }, pino.destination({ fd: 2, sync: true }) as DestinationStream);
  loggers.set(level, logger);
  return logger;
}
