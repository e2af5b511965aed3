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
import { isConnectionLost, isOperationUnknown, isSessionLost, sparkError } from "./spark-errors.ts";

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
  #closed = false;

  constructor(client: ConnectClient, address: SparkAddress) {
    this.#client = client;
    this.#address = address;
  }

  /** The server's version. @throws SPARK_UNAVAILABLE, SPARK_REFUSED, SPARK_UNSUPPORTED */
  async version(): Promise<string> {
    return await this.#again(async () => (await this.#open()).version);
  }

  /** Asks whether the server answers at all. @throws as `version` */
  async ping(timeoutMs: number): Promise<void> {
    await this.#again(async () => {
      const { caller } = await this.#open();
      await this.#client.call("AnalyzePlan", { ...caller, sparkVersion: {} }, timeoutMs);
    });
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
          const lost = isSessionLost(error) || isOperationUnknown(error);
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
    if (session !== undefined) {
      // A server that is away forgets it by itself, after an hour.
      await this.#client.call("ReleaseSession", withoutSeen(session.caller), CLOSE_TIMEOUT_MS).catch(() => undefined);
    }
    this.#client.close();
  }

  async *#attempt(plan: ConnectPlan, options: RunOptions, stop: Stop): AsyncGenerator<ExecuteResponse> {
    const { caller } = await this.#open();
    const operationId = randomUUID();
    const execute = { ...caller, operationId, plan, requestOptions: [{ reattachOptions: { reattachable: true } }] };
    let last: string | undefined;
    let retryUntil: number | undefined;
    let responses = this.#client.stream("ExecutePlan", execute);
    let ended = false;
    let stopping: (() => void) | undefined;
    let computing = false;
    const interrupt = () => {
      stopping ??= this.#interrupt(
        caller,
        operationId,
        () => computing,
        () => responses.cancel(),
      );
    };
    stop.under(interrupt);
    // By hand: leaving a `for await` would let go of the call, and the server of the statement, before it has ended.
    let reading = responses[Symbol.asyncIterator]();
    try {
      for (;;) {
        try {
          for (let next = await reading.next(); !next.done; next = await reading.next()) {
            const response = next.value;
            computing ||= response.executionProgress?.stages?.some(({ numTasks = 0 }) => numTasks > 0) ?? false;
            if (stop.stopped) continue;
            retryUntil = undefined;
            last = response.responseId ?? last;
            report(response, options);
            if (response.resultComplete) {
              ended = true;
              return;
            }
            if (response.arrowBatch || response.schema) yield response;
          }
          stop.check();
        } catch (error) {
          stop.check();
          // The first request may never have come.
          const again = isOperationUnknown(error) && last === undefined && retryUntil !== undefined;
          if (!again && !isConnectionLost(error)) throw error;
          retryUntil ??= performance.now() + RECONNECT_FOR_MS;
          if (performance.now() > retryUntil) throw error;
          await sleep(RETRY_EVERY_MS);
          stop.check();
          if (again) {
            responses = this.#client.stream("ExecutePlan", execute);
            reading = responses[Symbol.asyncIterator]();
            continue;
          }
        }
        // A stream that ends without its mark has more: the server ends each after some minutes.
        responses = this.#reattach(caller, operationId, last);
        reading = responses[Symbol.asyncIterator]();
      }
    } finally {
      stop.under(undefined);
      if (!ended) {
        interrupt();
        await drained(reading);
      }
      stopping?.();
      responses.cancel();
      await this.#release(caller, operationId, ended);
    }
  }

  #reattach(caller: Caller, operationId: string, last: string | undefined): Responses {
    const after = last === undefined ? {} : { lastResponseId: last };
    return this.#client.stream("ReattachExecute", { ...caller, operationId, ...after });
  }

  /**
   * Stops a statement, and gives a function that ends the trying. Spark answers an interrupt while it plans with "cancelled" and may start the stages all
   * the same, which nobody can end any more then. So it is asked once something is computed, or when nothing has been for a while. `giveUp`: when the
   * responses do not end.
   */
  #interrupt(caller: Caller, operationId: string, computing: () => boolean, giveUp: () => void): () => void {
    const request = { ...caller, interruptType: "INTERRUPT_TYPE_OPERATION_ID", operationId };
    const askedAtMs = performance.now();
    const ask = () => {
      if (!computing() && performance.now() - askedAtMs < PLANS_FOR_MS) return;
      // A server that is away ends the statement itself, once nobody has been attached for a while.
      this.#client.call("Interrupt", request, INTERRUPT_EVERY_MS * 5).catch(() => undefined);
    };
    ask();
    const again = setInterval(ask, INTERRUPT_EVERY_MS);
    const end = setTimeout(giveUp, GIVE_UP_AFTER_MS);
    return () => {
      clearInterval(again);
      clearTimeout(end);
    };
  }

  /** Waits until the statement is torn down, so that nothing writes any more. */
  async #release(caller: Caller, operationId: string, ended: boolean): Promise<void> {
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
/** Planning takes less, but for statements over very many files. */
const PLANS_FOR_MS = 10_000;
/** Longer than a busy server takes to plan and end a statement. */
const GIVE_UP_AFTER_MS = 40_000;

/** Reads the responses to their end, which for a statement that was stopped is an error. */
async function drained(responses: AsyncIterator<ExecuteResponse>): Promise<void> {
  try {
    while (!(await responses.next()).done);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
  }
}

/** The first reason to stop a statement is the one that is told. */
class Stop {
  readonly #timeoutMs: number | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #onAbort = () => this.#stop("cancelled");
  #reason: "timeout" | "cancelled" | undefined;
  #under: (() => void) | undefined;

  constructor({ timeoutMs, signal }: RunOptions) {
    this.#timeoutMs = timeoutMs;
    this.#signal = signal;
    if (signal?.aborted) this.#reason = "cancelled";
    if (timeoutMs !== undefined) this.#timer = setTimeout(() => this.#stop("timeout"), timeoutMs);
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    this.check();
  }

  /** What to do when it comes. */
  under(stop: (() => void) | undefined): void {
    this.#under = stop;
  }

  get stopped(): boolean {
    return this.#reason !== undefined;
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
    this.#under?.();
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
