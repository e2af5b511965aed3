/**
 * `system.runs` and `system.run_steps`: the newest runs as SQL sees them, read from PostgreSQL when a query names them. Steps are those of the
 * runs shown.
 */
import type { Column, ColumnType } from "../define/project.ts";
import { quoteLiteral } from "../define/sql-text.ts";
import { jsonStructure } from "../define/types.ts";
import type { VirtualTable } from "../flow/relations.ts";
import type { Session } from "../state/migrate.ts";

/** Runs a query sees: a snapshot that costs some ten milliseconds. Older ones are there for `GET /v1/runs`. */
export const MOST_RUNS = 10_000;
/** Longest input or output shown; a longer one is null here, and whole in `GET /v1/runs/{id}`. */
const MOST_VALUE_BYTES = 4_096;

const text = (name: string, nullable = true): Column => ({ name, type: { kind: "string" }, nullable });
const at = (name: string, nullable = true): Column => ({ name, type: { kind: "timestamp" }, nullable });
const of = (name: string, kind: "json" | "long" | "integer"): Column => ({
  name,
  type: { kind } as ColumnType,
  nullable: true,
});

const RUN_COLUMNS: readonly Column[] = [
  ...[text("id", false), text("workflow", false), text("status", false), text("cause"), text("started_by")],
  ...[of("input", "json"), of("output", "json"), text("error_code"), text("error_message"), text("error_step")],
  ...[text("idempotency_key"), text("parent_run"), text("backfill"), text("partition")],
  ...[
    at("scheduled_at", false),
    at("created_at", false),
    at("started_at"),
    at("finished_at"),
    of("elapsed_ms", "long"),
  ],
];

const STEP_COLUMNS: readonly Column[] = [
  ...[text("run", false), text("step", false), text("kind", false), text("status", false), of("attempts", "integer")],
  ...[of("input", "json"), of("output", "json"), text("error_code"), text("error_message")],
  ...[at("started_at", false), at("finished_at"), at("wake_at"), of("elapsed_ms", "long")],
];

/** Both tables by name. The records are opened while the platform starts, hence the promise. */
export function runTables(state: Promise<Session>): ReadonlyMap<string, VirtualTable> {
  return new Map([
    ["system.runs", virtual(state, RUN_COLUMNS, RUNS)],
    ["system.run_steps", virtual(state, STEP_COLUMNS, STEPS)],
  ]);
}

function virtual(state: Promise<Session>, columns: readonly Column[], sql: string): VirtualTable {
  return {
    columns,
    inputs: [],
    async relation() {
      const [row] = await (await state).query<{ rows: string }>(sql, [MOST_RUNS, MOST_VALUE_BYTES]);
      const parsed = `from_json(${quoteLiteral(row?.rows ?? "[]")}, ${quoteLiteral(`[${jsonStructure(columns)}]`)})`;
      return { kind: "native", sql: `select unnest(r) from (select unnest(${parsed}) as r)` };
    },
  };
}

const utc = (column: string) => `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
const short = (column: string) => `case when length(${column}::text) <= $2 then ${column} end`;
const elapsed = "(extract(epoch from finished_at - started_at) * 1000)::bigint";
const newest = "select * from millrace.runs order by id desc limit $1";

const RUNS = `
  select coalesce(json_agg(r), '[]')::text as rows from (
    select id, workflow, status, cause ->> 'kind' as cause, cause ->> 'by' as started_by, ${short("input")} as input,
      ${short("output")} as output, error ->> 'code' as error_code, error ->> 'message' as error_message, error ->> 'step' as error_step,
      idempotency_key, parent_run, backfill, partition, ${utc("scheduled_at")} as scheduled_at, ${utc("created_at")} as created_at,
      ${utc("started_at")} as started_at, ${utc("finished_at")} as finished_at, ${elapsed} as elapsed_ms
    from (${newest}) runs) r`;

const STEPS = `
  select coalesce(json_agg(s), '[]')::text as rows from (
    select s.run, s.key as step, s.kind, s.status, s.attempts, ${short("s.input")} as input, ${short("s.output")} as output,
      s.error ->> 'code' as error_code, s.error ->> 'message' as error_message, ${utc("s.started_at")} as started_at,
      ${utc("s.finished_at")} as finished_at, ${utc("s.wake_at")} as wake_at,
      (extract(epoch from s.finished_at - s.started_at) * 1000)::bigint as elapsed_ms
    from millrace.run_steps s join (select id from millrace.runs order by id desc limit $1) runs on runs.id = s.run
    order by s.run desc, s.position limit 10 * $1) s`;
