import { MillraceError } from "../errors.ts";
import type { Session } from "../state/migrate.ts";
import type { RunRow } from "./run-records.ts";
import { findRun } from "./run-table.ts";

/** Between two attempts to ask PostgreSQL. */
const PAUSE_MS = 1_000;

/**
 * What steps wait for that happens elsewhere: ends of other runs, and signals. What is recorded counts; being told only makes it quick. An
 * aborted signal ends a wait with its reason.
 */
export class Waits {
  readonly #state: Session;
  readonly #ends = new Map<string, Set<(nothing: undefined) => void>>();
  readonly #signals = new Map<string, Set<(data: unknown) => void>>();
  #closed = false;

  constructor(state: Session) {
    this.#state = state;
  }

  /** Told that a run is over. */
  ended(run: string): void {
    for (const hear of this.#ends.get(run) ?? []) hear(undefined);
  }

  /** Told that a run has a signal. */
  signalled(run: string, name: string, data: unknown): void {
    for (const hear of this.#signals.get(`${run} ${name}`) ?? []) hear(data);
  }

  /** From now on nobody asks again and again. */
  close(): void {
    this.#closed = true;
  }

  /**
   * What a run gives, once it is over. When `signal` is aborted for another reason than a stop of the platform, `cancel` is called and the run's
   * end waited for all the same. @throws RUN_FAILED
   */
  async output(id: string, signal: AbortSignal, cancel: () => Promise<void>): Promise<unknown> {
    let cancelled = false;
    for (;;) {
      const end = listen(this.#ends, id);
      try {
        const run = await this.withState(cancelled ? undefined : signal, () => findRun(this.#state, id));
        if (run === undefined) throw new MillraceError("RUN_UNKNOWN", { run: id });
        if (run.finished_at !== null) return outputOf(run, signal);
        await (cancelled ? end.heard : Promise.race([end.heard, abortion(signal)]));
      } catch (error) {
        if (!signal.aborted || cancelled || isStopping(signal)) throw error;
        cancelled = true;
        await cancel();
      } finally {
        end.off();
      }
    }
  }

  /** The data of a run's signal, once it has it. */
  async signal(run: string, name: string, signal: AbortSignal): Promise<unknown> {
    const told = listen(this.#signals, `${run} ${name}`);
    try {
      const [there] = await this.withState(signal, () =>
        this.#state.query<{ data: unknown }>("select data from millrace.run_signals where run = $1 and name = $2", [
          run,
          name,
        ]),
      );
      return there === undefined ? await Promise.race([told.heard, abortion(signal)]) : there.data;
    } finally {
      told.off();
    }
  }

  /** Asks PostgreSQL until it answers. */
  async withState<T>(signal: AbortSignal | undefined, ask: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (!isAway(error) || this.#closed) throw error;
        const pause = new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
        await (signal === undefined ? pause : Promise.race([pause, abortion(signal)]));
      }
    }
  }
}

/** Whether an error says that PostgreSQL cannot be reached. */
export function isAway(error: unknown): boolean {
  return error instanceof MillraceError && error.code === "STATE_UNAVAILABLE";
}

function listen<T>(
  listeners: Map<string, Set<(data: T) => void>>,
  key: string,
): { heard: Promise<T>; off: () => void } {
  let hear: (data: T) => void = () => undefined;
  const heard = new Promise<T>((resolve) => {
    hear = resolve;
  });
  const set = listeners.get(key) ?? new Set();
  listeners.set(key, set.add(hear));
  const off = () => {
    set.delete(hear);
    if (set.size === 0) listeners.delete(key);
  };
  return { heard, off };
}

function outputOf(run: RunRow, signal: AbortSignal): unknown {
  if (run.status === "succeeded") return run.output;
  signal.throwIfAborted();
  const { id, workflow, status, error } = run;
  throw new MillraceError("RUN_FAILED", {
    ...{ run: id, workflow, status: status === "cancelled" ? "was cancelled" : status },
    reason: error?.message ?? "",
  });
}

function isStopping({ reason }: AbortSignal): boolean {
  return reason instanceof MillraceError && reason.code === "SHUTTING_DOWN";
}

function abortion(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
