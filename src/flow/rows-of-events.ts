/**
 * What an append table's SQL gives for some events now: the same statement that staging ran, over the same events read from bronze.
 */
import type { AppendTable, Project } from "../define/project.ts";
import type { Relation, Statement } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import { isStreamItself, parseBronze, type Relations } from "./relations.ts";
import { shaped } from "./shaped.ts";

export interface RowsOptions {
  readonly project: Project;
  readonly relations: Relations;
}

export interface EventRows {
  /** The rows the table's SQL gives, in the table's columns; its checks have not been applied. */
  readonly statement: Statement;
  /** Must be called once the statement has been read to its end. */
  release(): void;
}

/** `bronze`: the rows of `bronze.<stream>` that hold the events. */
export async function rowsOfEvents(o: RowsOptions, table: AppendTable, bronze: Relation): Promise<EventRows> {
  const releases: (() => void)[] = [];
  const release = () => {
    for (const done of releases.splice(0)) done();
  };
  try {
    return { statement: await rows(o, table, bronze, releases), release };
  } catch (error) {
    release();
    throw error;
  }
}

async function rows(
  o: RowsOptions,
  table: AppendTable,
  bronze: Relation,
  releases: (() => void)[],
): Promise<Statement> {
  const stream = o.project.streams.get(table.stream);
  if (!stream) throw new MillraceError("INTERNAL", { what: `looking up the stream of ${table.name}` });
  const lookups = table.inputs.filter((name) => name !== table.driver).map((name) => ({ name }));
  const { inputs, release } = await o.relations.resolve(lookups, "acknowledged");
  releases.push(release);
  const driver = o.project.tables.get(table.driver);
  const above =
    driver?.mode === "append" && !isStreamItself(driver)
      ? withoutFailed(driver, await rows(o, driver, bronze, releases))
      : parseBronze(stream, bronze);
  inputs.set(table.driver, { kind: "view", statement: above });
  return { sql: shaped(table, table.storedSql), inputs };
}

/** The rows of events of which no row fails a check. */
function withoutFailed(table: AppendTable, computed: Statement): Statement {
  const failing = Object.values(table.checks).map((check) => `not (${check})`);
  if (failing.length === 0) return computed;
  const sql = `select * from computed where (_partition, _offset) not in
    (select (_partition, _offset) from computed where ${failing.join(" or ")})`;
  return { sql, inputs: new Map([["computed", { kind: "view", statement: computed }]]) };
}
