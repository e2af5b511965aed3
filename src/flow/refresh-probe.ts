/** What a refresh of a table asks an engine to compute, over inputs without rows: for an engine that says whether it can before there is anything. */
import type { Column, RefreshTable } from "../define/project.ts";
import { duckdbType } from "../define/types.ts";
import type { Relation, Statement } from "../engine/sql-engine.ts";
import { computedRows } from "./shaped.ts";
import { matchesInput, matchesOutput } from "./touched.ts";

/** `columns`: of an input. */
export function refreshProbe(table: RefreshTable, columns: (name: string) => readonly Column[]): Statement {
  const inputs = new Map<string, Relation>();
  for (const name of table.inputs) {
    const files: Relation = { kind: "files", columns: columns(name), files: [] };
    if (!table.byInputs.includes(name)) inputs.set(name, files);
    else {
      const sql = `select * from whole where ${matchesInput(table, touched(table))}`;
      inputs.set(name, { kind: "view", statement: { sql, inputs: new Map([["whole", files]]) } });
    }
  }
  const computed = computedRows(table, inputs);
  if (table.byInputs.length === 0) return computed;
  const condition = matchesOutput(table, touched(table));
  return {
    sql: `select * from kept where not (${condition}) union all by name
          select * from computed where case when ${condition} then true else error('outside') end`,
    inputs: new Map<string, Relation>([
      ["kept", { kind: "files", columns: table.columns, files: [] }],
      ["computed", { kind: "view", statement: computed }],
    ]),
  };
}

/** A value of each column of `by`, as `touchedValues` writes it, and null. */
function touched(table: RefreshTable) {
  const literals = Object.keys(table.by).map((name) => {
    const type = table.columns.find((column) => column.name === name)?.type ?? { kind: "string" as const };
    return `'${EXAMPLES[type.kind] ?? "1"}'::${duckdbType(type)}`;
  });
  return { tuples: [literals, literals.map(() => "NULL")] };
}

const EXAMPLES: Readonly<Record<string, string>> = {
  boolean: "true",
  date: "2026-01-31",
  timestamp: "2026-01-31T12:00:00.000Z",
  timestamp_ntz: "2026-01-31T12:00:00.000Z",
};
