import type { DuckDBConnection } from "@duckdb/node-api";
import { MillraceError } from "../errors.ts";
import type { Connections } from "./duckdb-connections.ts";
import { userError } from "./duckdb-errors.ts";
import type { RunOptions } from "./sql-engine.ts";

/**
 * One statement under way: a connection of its own that is interrupted when time is up or the caller lets go, and given
 * back at the end. The first reason to stop is the one reported.
 */
export class Run {
  readonly connection: DuckDBConnection;
  readonly #connections: Connections;
  readonly #options: RunOptions;
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #onAbort = () => this.stop("cancelled");
  readonly #stop = new AbortController();
  #stopped: "timeout" | "cancelled" | undefined;
  #release: () => void = () => undefined;
  #ended = false;
  #steps = 0;

  private constructor(connections: Connections, connection: DuckDBConnection, options: RunOptions) {
    this.#connections = connections;
    this.connection = connection;
    this.#options = options;
    const { timeoutMs, signal, onProgress } = options;
    if (timeoutMs !== undefined) this.#timers.push(setTimeout(() => this.stop("timeout"), timeoutMs));
    if (onProgress !== undefined) this.#timers.push(setInterval(() => this.#report(onProgress), PROGRESS_EVERY_MS));
    signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  /**
   * Begins with the files that the text reads in their places. The time that this takes is the statement's.
   * @throws QUERY_CANCELLED when the signal has come already, also while a connection was opened: a signal tells nobody who listens later.
   */
  static async begin(connections: Connections, sql: string, options: RunOptions): Promise<Run> {
    if (options.signal?.aborted) throw new MillraceError("QUERY_CANCELLED");
    const run = new Run(connections, await connections.take(options.onProgress !== undefined), options);
    connections.running.add(run);
    if (options.signal?.aborted) run.stop("cancelled");
    try {
      run.#release = await run.step(() => connections.inputs.hold(sql, run.#stop.signal));
    } catch (error) {
      run.end(true);
      throw error;
    }
    return run;
  }

  stop(reason: "timeout" | "cancelled"): void {
    if (this.#ended || this.#stopped !== undefined) return;
    this.#stopped = reason;
    this.#stop.abort();
    this.connection.interrupt();
    // An interrupt between two steps of a statement is lost, so it is repeated until the statement has ended.
    this.#timers.push(setInterval(() => this.connection.interrupt(), INTERRUPT_EVERY_MS));
  }

  /** Stops a statement whose rows may never be asked for again. */
  abandon(): void {
    this.stop("cancelled");
    if (this.#steps === 0) this.end(false);
  }

  /** Does a step of the statement. Its errors are those of the port. */
  async step<T>(work: () => Promise<T>): Promise<T> {
    if (this.#ended) throw this.#reason() ?? new MillraceError("QUERY_CANCELLED");
    let result: T;
    this.#steps++;
    try {
      result = await work();
    } catch (error) {
      throw this.#reason() ?? userError(error);
    } finally {
      this.#steps--;
    }
    const reason = this.#reason();
    if (reason !== undefined) throw reason;
    return result;
  }

  /** Lets go of the connection; `clean` when the statement ran to its end in it. */
  end(clean: boolean): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#release();
    this.#connections.running.delete(this);
    for (const timer of this.#timers) clearInterval(timer);
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    this.#connections.give(this.connection, !clean || this.#options.onProgress !== undefined);
  }

  #reason(): MillraceError | undefined {
    if (this.#stopped === "timeout") return new MillraceError("QUERY_TIMEOUT", { timeoutMs: this.#options.timeoutMs });
    return this.#stopped === "cancelled" ? new MillraceError("QUERY_CANCELLED") : undefined;
  }

  #report(onProgress: (share: number) => void): void {
    const { percentage } = this.connection.progress;
    if (percentage >= 0) onProgress(Math.min(1, percentage / 100));
  }
}

const PROGRESS_EVERY_MS = 100;
const INTERRUPT_EVERY_MS = 20;
