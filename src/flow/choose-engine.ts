/**
 * Which engine computes what a refresh stores. Queries, and everything that touches events which are not stored yet, are the embedded engine's:
 * only it holds them.
 */
import type { RefreshTable } from "../define/project.ts";
import type { Relation, SqlEngine, Statement } from "../engine/sql-engine.ts";

/** The engine for a statement; undefined: the embedded one. */
export type ChooseEngine = (table: RefreshTable, statement: Statement) => SqlEngine | undefined;

export interface EngineRules {
  /** The distributed engine. */
  readonly spark: SqlEngine;
  /** Statements that read this much and more are its; 0: only those of tables that ask for it. */
  readonly minInputBytes: number;
}

export function engineChooser({ spark, minInputBytes }: EngineRules): ChooseEngine {
  return (table, statement) => {
    if (!mayUseSpark(table, minInputBytes)) return undefined;
    const { bytes, native } = inputsOf(statement);
    if (native) return undefined;
    if (table.engine === "spark") return spark;
    return bytes >= minInputBytes ? spark : undefined;
  };
}

/** Whether Spark may ever compute a table: then its statement must mean the same there, which is looked at when the project loads. */
export function mayUseSpark(table: RefreshTable, minInputBytes: number): boolean {
  // The tables of sessions have a way of their own to compute only what events touch, and functions that Spark lacks.
  if (table.sessions !== undefined || table.engine === "duckdb") return false;
  return table.engine === "spark" || minInputBytes > 0;
}

/** The bytes of all files that a statement reads, each once, and whether something in it lives in the embedded engine. */
export function inputsOf(statement: Statement): { bytes: number; native: boolean } {
  const files = new Map<string, number>();
  const seen = new Set<Relation>();
  let native = false;
  const visit = (part: Statement) => {
    for (const relation of part.inputs.values()) {
      if (seen.has(relation)) continue;
      seen.add(relation);
      if (relation.kind === "native") native = true;
      else if (relation.kind === "view") visit(relation.statement);
      else for (const { path, sizeBytes = 0 } of relation.files) files.set(path, sizeBytes);
    }
  };
  visit(statement);
  let bytes = 0;
  for (const size of files.values()) bytes += size;
  return { bytes, native };
}
