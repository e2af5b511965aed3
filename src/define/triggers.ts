/** What starts a workflow besides a person and the API. Each is a plain description; nothing is judged before the project loads. */
export type Trigger =
  | {
      readonly kind: "cron";
      readonly expression: string;
      readonly timezone: string;
      readonly missed: MissedRuns;
    }
  | { readonly kind: "commit"; readonly table: string }
  | { readonly kind: "amount"; readonly table: string; readonly rows: number }
  | { readonly kind: "arrival"; readonly files: string }
  | { readonly kind: "succeeded" | "failed"; readonly workflow: string };

/**
 * What becomes of moments that passed while the platform was down: `run-once` starts one run for the newest of them, `run-all` one for
 * each (the newest thousand at most), `skip` none. A moment less than a minute past is never taken for missed.
 */
export type MissedRuns = "run-once" | "run-all" | "skip";

export const MISSED_RUNS: readonly MissedRuns[] = ["run-once", "run-all", "skip"];

/**
 * By time: `cron("0 2 * * *", { timezone: "Europe/Berlin" })`. Five fields (minute, hour, day, month, weekday), six with seconds first, or
 * `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. The time zone is UTC unless given, and missed runs are `run-once`.
 */
export function cron(
  expression: string,
  options: { readonly timezone?: string; readonly missed?: MissedRuns } = {},
): Trigger {
  const { timezone = "UTC", missed = "run-once", ...unknown } = options;
  return { kind: "cron", expression, timezone, missed, ...unknown };
}

/** When a table has new rows: `commit("silver.orders")`. Commits that come close together start one run. */
export function commit(table: string): Trigger {
  return { kind: "commit", table };
}

/** Each time a table has grown by so many rows: `amount("bronze.orders", { rows: 100_000 })`. */
export function amount(table: string, options: { readonly rows: number }): Trigger {
  return { kind: "amount", table, ...options };
}

/** When a file is there and has stopped growing: `arrival("imports/*.csv")`, a glob relative to the project's folder. */
export function arrival(files: string): Trigger {
  return { kind: "arrival", files };
}

/** When a run of another workflow has succeeded: `succeeded("nightly")`. */
export function succeeded(workflow: string): Trigger {
  return { kind: "succeeded", workflow };
}

/** When a run of another workflow has failed for good: `failed("nightly")`. A run that was cancelled has not failed. */
export function failed(workflow: string): Trigger {
  return { kind: "failed", workflow };
}
