import type { AppendTable } from "../define/project.ts";
import { quoteIdentifier, quoteLiteral } from "../define/sql-text.ts";
import type { LocalSql, Relation } from "../engine/sql-engine.ts";
import { type EventFailure, insertEvents, isAboutData } from "./insert-events.ts";

export interface FailedChecks {
  /** Events of which a row fails a check, with the first such check by name. */
  readonly failed: readonly { readonly partition: number; readonly offset: number; readonly check: string }[];
  /** Events on whose rows the SQL of a check fails, with the engine's reason. */
  readonly broken: readonly EventFailure[];
}

let asked = 0;

/** Asks a table's checks about its rows. A check that gives null passes, as in SQL's own CHECK. */
export async function failedChecks(local: LocalSql, table: AppendTable, rows: Relation): Promise<FailedChecks> {
  const checks = Object.entries(table.checks);
  if (checks.length === 0) return { failed: [], broken: [] };
  const names = checks.map(([name, sql]) => `when not (${sql}) then ${quoteLiteral(name)}`).join(" ");
  const sql = `select _partition, _offset, case ${names} end as failed_check from checked`;
  const failing = (
    from: string,
  ) => `select _partition as partition, _offset::double as "offset", min(failed_check) as name
    from (${from}) where failed_check is not null group by all`;
  const read = async (from: string) => {
    const found = await local.rows(failing(from));
    return found.map((row) => ({
      partition: Number(row["partition"]),
      offset: Number(row["offset"]),
      check: String(row["name"]),
    }));
  };
  const all = await local.compile({ sql, inputs: new Map([["checked", rows]]) });
  try {
    return { failed: await read(all), broken: [] };
  } catch (error) {
    if (!isAboutData(error)) throw error;
  }
  const target = `stage.${quoteIdentifier(`checks ${++asked}`)}`;
  try {
    await local.run(`create table ${target} (_partition integer, _offset bigint, failed_check varchar)`);
    const broken = await insertEvents(local, { target, sql, driver: "checked", events: rows, inputs: new Map() });
    return { failed: await read(`select * from ${target}`), broken };
  } finally {
    await local.run(`drop table if exists ${target}`);
  }
}
