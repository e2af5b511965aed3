/**
 * A session on a Spark Connect server, with the settings under which Spark computes what DuckDB does. It is made with the first statement and
 * again when the server has lost it. A statement whose connection breaks is taken up where it was (ReattachExecute); one that a server has lost
 * runs again from its beginning, as long as none of its rows have been given.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError } from "../../errors.ts";
import type { RunOptions } from "../sql-engine.ts";
import type { Caller, ConnectClient, ConnectPlan, DataType, ExecuteResponse, Responses } from "./connect-protocol.ts";
import { type SparkAddress, shownSparkAddress } from "./spark-address.ts";
import { isConnectionLost, isOperationUnknown, isSessionLost, LostWhileComputing, sparkError } from "./spark-errors.ts";

/** Under these Spark's arithmetic, instants and files are the platform's. */
const SETTINGS: Readonly<Record<string, string>> = {
  "spark.sql.session.timeZone": "UTC",
  // An overflow, or a text that is no number, is an error and not a null.
  "spark.sql.ansi.enabled": "true",
  // A decimal keeps all digits of its scale, or fails.
  "spark.sql.decimalOperations.allowPrecisionLoss": "false",
  "spark.sql.timestampType": "TIMESTAMP_LTZ",
  "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
  "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
  "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
  "spark.sql.parquet.int96RebaseModeInWrite": "CORRECTED",
  "spark.sql.parquet.writeLegacyFormat": "false",
  "spark.sql.caseSensitive": "false",
  "spark.sql.legacy.timeParserPolicy": "CORRECTED",
};

/** The oldest that is spoken to: what statements are translated into is from there. */
const OLDEST = 4;

/** A call that computes nothing. */
const CALL_TIMEOUT_MS = 30_000;
/** For so long a lost connection is taken up again before the statement fails. */
const RECONNECT_FOR_MS = 30_000;
/** A session that is lost again and again is no accident. */
const MOST_SESSIONS = 3;

interface Session {
  readonly caller: Caller;
  readonly version: string;
}

/** A plan that the session runs; made anew for each try, for a write has a place of its own each time. */
export type MakePlan = () => Promise<ConnectPlan> | ConnectPlan;

export class SparkSession {
  readonly #client: ConnectClient;
  readonly #address: SparkAddress;
  #session: Promise<Session> | undefined;
  /** Statements that nobody wants any more, and that the server has not ended yet. */
  readonly #burials = new Set<Promise<void>>();
  #closed = false;

  constructor(client: ConnectClient, address: SparkAddress) {
    this.#client = client;
    this.#address = address;
  }

  /** The server's version. @throws SPARK_UNAVAILABLE, SPARK_REFUSED, SPARK_UNSUPPORTED */
  async version(): Promise<string> {
    return await this.#again(async () => (await this.#open()).version);
  }

  /**
   * Asks whether the server answers, and computes: one that has stopped for want of memory still answers. One that is too busy to compute in time is well.
   * @throws as `version`
   */
  async ping(timeoutMs: number): Promise<void> {
    await this.#again(async () => {
      const { caller } = await this.#open();
      await this.#client.call("AnalyzePlan", { ...caller, sparkVersion: {} }, timeoutMs);
    });
    const late = new AbortController();
    const answer = this.#answer(late.signal);
    answer.catch(() => undefined); // told by the race, or too late
    const timer = sleep(timeoutMs, undefined, { signal: late.signal });
    timer.catch(() => undefined); // it answered
    try {
      await Promise.race([answer, timer]);
    } finally {
      late.abort();
    }
  }

  async #answer(signal: AbortSignal): Promise<void> {
    for await (const _ of this.run(() => ({ root: { sql: { query: "SELECT 1" } } }), { signal }));
  }

  /** The columns a relation gives. @throws SQL_FAILED with Spark's reason, and those of a run */
  async analyze(plan: ConnectPlan): Promise<DataType> {
    return await this.#again(async () => {
      const { caller } = await this.#open();
      const request = { ...caller, schema: { plan } };
      const answer = await this.#client.call<{ schema?: { schema?: DataType } }>(
        "AnalyzePlan",
        request,
        ANALYZE_TIMEOUT_MS,
      );
      return answer.schema?.schema ?? {};
    });
  }

  /**
   * Runs a plan and gives the server's responses that hold something: the schema, then rows. Ending the iteration early ends the statement.
   * @throws QUERY_TIMEOUT, QUERY_CANCELLED, and what the server reports
   */
  async *run(plan: MakePlan, options: RunOptions = {}): AsyncGenerator<ExecuteResponse> {
    const stop = new Stop(options);
    try {
      for (let attempt = 1; ; attempt++) {
        let given = false;
        try {
          for await (const response of this.#attempt(await plan(), options, stop)) {
            given = true;
            yield response;
          }
          return;
        } catch (error) {
          stop.check();
          const cause = error instanceof LostWhileComputing ? error.cause : error;
          const lost = isSessionLost(cause) || isOperationUnknown(cause);
          if (lost) this.#session = undefined;
          if (!lost || given || attempt >= MOST_SESSIONS) throw sparkError(error, this.#address);
        }
      }
    } finally {
      stop.end();
    }
  }

  /** Lets the server forget the session. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const session = await this.#session?.catch(() => undefined); // it was never there
    await within(
      Promise.all(this.#burials).then(() => undefined),
      CLOSE_TIMEOUT_MS,
    );
    // What is still planned is ended by the server, minutes after we are gone: by then it is computed, and ends.
    if (session !== undefined && this.#burials.size === 0) {
      // A server that is away forgets it by itself, after an hour.
      await this.#client.call("ReleaseSession", withoutSeen(session.caller), CLOSE_TIMEOUT_MS).catch(() => undefined);
    }
    this.#client.close();
  }

  async *#attempt(plan: ConnectPlan, options: RunOptions, stop: Stop): AsyncGenerator<ExecuteResponse> {
    const { caller } = await this.#open();
    const operationId = randomUUID();
    const execute = { ...caller, operationId, plan, requestOptions: [{ reattachOptions: { reattachable: true } }] };
    const operation = new Operation(caller, operationId, this.#client.stream("ExecutePlan", execute));
    let retryUntil: number | undefined;
    try {
      for (;;) {
        try {
          for (;;) {
            const response = await stop.first(operation.next());
            if (response === undefined) break;
            retryUntil = undefined;
            report(response, options);
            if (operation.ended) return;
            if (response.arrowBatch || response.schema) yield response;
          }
        } catch (error) {
          stop.check();
          // The first request may never have come.
          const again = isOperationUnknown(error) && operation.last === undefined && retryUntil !== undefined;
          if (!again && !isConnectionLost(error)) {
            operation.failed = true;
            throw error;
          }
          retryUntil ??= performance.now() + RECONNECT_FOR_MS;
          if (performance.now() > retryUntil) {
            operation.failed = true;
            throw operation.computing ? new LostWhileComputing(error) : error;
          }
          await stop.first(sleep(RETRY_EVERY_MS));
          if (again) {
            operation.read(this.#client.stream("ExecutePlan", execute));
            continue;
          }
        }
        // A stream that ends without its mark has more: the server ends each after some minutes.
        operation.read(this.#reattach(operation));
      }
    } catch (error) {
      throw operation.computing && isSessionLost(error) ? new LostWhileComputing(error) : error;
    } finally {
      if (operation.ended || operation.failed) {
        operation.let();
        await this.#release(operation);
      } else {
        const burial = this.#bury(operation).finally(() => this.#burials.delete(burial));
        this.#burials.add(burial);
        await within(burial, WAIT_FOR_END_MS);
      }
    }
  }

  #reattach({ caller, operationId, last }: Operation): Responses {
    const after = last === undefined ? {} : { lastResponseId: last };
    return this.#client.stream("ReattachExecute", { ...caller, operationId, ...after });
  }

  /**
   * Ends a statement that nobody wants any more. Spark answers an interrupt while it plans with "cancelled" and may start the stages all the same, which
   * nobody can end then. So it is asked once something is computed, however long it plans.
   */
  async #bury(operation: Operation): Promise<void> {
    const { caller, operationId } = operation;
    const request = { ...caller, interruptType: "INTERRUPT_TYPE_OPERATION_ID", operationId };
    const askedAtMs = performance.now();
    const ask = () => {
      if (!operation.computing && performance.now() - askedAtMs < PLANS_FOR_MS) return;
      // A server that is away ends the statement itself, once nobody has been attached for a while.
      this.#client.call("Interrupt", request, INTERRUPT_EVERY_MS * 5).catch(() => undefined);
    };
    ask();
    const again = setInterval(ask, INTERRUPT_EVERY_MS);
    const end = setTimeout(() => operation.let(), PLANS_FOR_MS + WAIT_FOR_END_MS);
    try {
      while (!operation.ended) {
        const response = await operation.next();
        if (response === undefined) operation.read(this.#reattach(operation));
      }
    } catch (error) {
      // The end of a statement that was stopped is an error, and a server that is away computes nothing for us.
      if (!(error instanceof Error)) throw error;
    } finally {
      clearInterval(again);
      clearTimeout(end);
      operation.let();
      await this.#release(operation);
    }
  }

  /** Waits until the statement is torn down, so that nothing writes any more. */
  async #release({ caller, operationId, ended }: Operation): Promise<void> {
    const request = { ...caller, operationId, releaseAll: {} };
    const released = this.#client.call("ReleaseExecute", request, CALL_TIMEOUT_MS).catch(() => undefined); // a server that is away has nothing to release
    if (!ended) await released;
  }

  /** Does something that computes nothing; again with a new session where the server has lost the one there was. */
  async #again<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (!isSessionLost(error) || attempt >= MOST_SESSIONS) throw sparkError(error, this.#address);
        this.#session = undefined;
      }
    }
  }

  async #open(): Promise<Session> {
    if (this.#closed) throw new MillraceError("SHUTTING_DOWN");
    const session = this.#session ?? this.#begin();
    this.#session = session;
    try {
      return await session;
    } catch (error) {
      // The next statement tries anew.
      if (this.#session === session) this.#session = undefined;
      throw error;
    }
  }

  async #begin(): Promise<Session> {
    const { userId } = this.#address;
    const caller: Caller = {
      sessionId: randomUUID(),
      userContext: { userId, userName: userId },
      clientType: "millrace",
    };
    type Told = { serverSideSessionId?: string; sparkVersion?: { version?: string } };
    const told = await this.#client.call<Told>("AnalyzePlan", { ...caller, sparkVersion: {} }, CALL_TIMEOUT_MS);
    const version = told.sparkVersion?.version ?? "";
    if (!(Number.parseInt(version, 10) >= OLDEST)) {
      const spark = shownSparkAddress(this.#address);
      throw new MillraceError("SPARK_UNSUPPORTED", { spark, got: `version ${version === "" ? "unknown" : version}` });
    }
    const pairs = Object.entries(SETTINGS).map(([key, value]) => ({ key, value }));
    await this.#client.call("Config", { ...caller, operation: { set: { pairs } } }, CALL_TIMEOUT_MS);
    const { serverSideSessionId } = told;
    const seen = serverSideSessionId === undefined ? {} : { clientObservedServerSideSessionId: serverSideSessionId };
    return { caller: { ...caller, ...seen }, version };
  }
}

/** Planning lists every file of the inputs. */
const ANALYZE_TIMEOUT_MS = 120_000;
const CLOSE_TIMEOUT_MS = 2_000;
const RETRY_EVERY_MS = 300;

const INTERRUPT_EVERY_MS = 500;
/** No statement is planned for longer. */
const PLANS_FOR_MS = 600_000;
/** For so long whoever stopped a statement waits for its end; longer than a busy server takes. What is planned longer is ended behind it. */
const WAIT_FOR_END_MS = 20_000;

/** A statement at the server, as far as its responses have been read. */
class Operation {
  readonly caller: Caller;
  readonly operationId: string;
  /** Of the last response that came. */
  last: string | undefined;
  /** The server has begun to compute it. */
  computing = false;
  /** It came to its end. */
  ended = false;
  /** It came to an end that is an error. */
  failed = false;
  #responses: Responses;
  // By hand: leaving a `for await` would let go of the call, and the server of the statement, before it has ended.
  #reading: AsyncIterator<ExecuteResponse>;
  #next: Promise<ExecuteResponse | undefined> | undefined;

  constructor(caller: Caller, operationId: string, responses: Responses) {
    this.caller = caller;
    this.operationId = operationId;
    this.#responses = responses;
    this.#reading = responses[Symbol.asyncIterator]();
  }

  /** Goes on with another stream of its responses. */
  read(responses: Responses): void {
    this.#responses = responses;
    this.#reading = responses[Symbol.asyncIterator]();
    this.#next = undefined;
  }

  /** The next response, undefined at the end of the stream. Asked for again before it has come, it is the same. */
  next(): Promise<ExecuteResponse | undefined> {
    this.#next ??= this.#taken();
    return this.#next;
  }

  /** Lets go of the call. */
  let(): void {
    this.#responses.cancel();
  }

  async #taken(): Promise<ExecuteResponse | undefined> {
    const { value, done } = await this.#reading.next();
    this.#next = undefined;
    if (done) return undefined;
    const response = value as ExecuteResponse;
    this.computing ||= response.executionProgress?.stages?.some(({ numTasks = 0 }) => numTasks > 0) ?? false;
    this.last = response.responseId ?? this.last;
    this.ended ||= response.resultComplete !== undefined && response.resultComplete !== null;
    return response;
  }
}

/** Waits for something, but not for longer. */
async function within(work: Promise<void>, ms: number): Promise<void> {
  const enough = new AbortController();
  const { signal } = enough;
  await Promise.race([work, sleep(ms, undefined, { signal }).catch(() => undefined)]);
  enough.abort();
}

/** The first reason to stop a statement is the one that is told. */
class Stop {
  readonly #timeoutMs: number | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #onAbort = () => this.#stop("cancelled");
  #reason: "timeout" | "cancelled" | undefined;
  #wake: (() => void) | undefined;

  constructor({ timeoutMs, signal }: RunOptions) {
    this.#timeoutMs = timeoutMs;
    this.#signal = signal;
    if (signal?.aborted) this.#reason = "cancelled";
    if (timeoutMs !== undefined) this.#timer = setTimeout(() => this.#stop("timeout"), timeoutMs);
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    this.check();
  }

  /** What comes of it, unless the reason to stop comes first; one at a time. @throws the reason */
  async first<T>(work: Promise<T>): Promise<T> {
    this.check();
    // Not by `Promise.race`: what is raced against a promise that lives as long as the statement is kept as long.
    const value = await new Promise<T | undefined>((resolve, reject) => {
      this.#wake = () => resolve(undefined);
      work.then(resolve, reject);
    });
    this.#wake = undefined;
    this.check();
    return value as T;
  }

  /** @throws the reason, where there is one */
  check(): void {
    if (this.#reason === "timeout") throw new MillraceError("QUERY_TIMEOUT", { timeoutMs: this.#timeoutMs });
    if (this.#reason === "cancelled") throw new MillraceError("QUERY_CANCELLED");
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#onAbort);
  }

  #stop(reason: "timeout" | "cancelled"): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#wake?.();
  }
}

function report({ executionProgress }: ExecuteResponse, { onProgress }: RunOptions): void {
  const stages = executionProgress?.stages ?? [];
  if (onProgress === undefined || stages.length === 0) return;
  const tasks = stages.reduce((sum, { numTasks = 0 }) => sum + numTasks, 0);
  const done = stages.reduce((sum, { numCompletedTasks = 0 }) => sum + numCompletedTasks, 0);
  // Stages that come later are not among them yet, so all of them done is not the end.
  if (tasks > 0) onProgress(Math.min(0.99, done / tasks));
}

function withoutSeen({ sessionId, userContext, clientType }: Caller): Caller {
  return { sessionId, userContext, clientType };
}
