import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { loadProject } from "../../src/define/load-project.ts";
import type { Project, Table } from "../../src/define/project.ts";
import { duckdbType } from "../../src/define/types.ts";
import { openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";
import { MillraceError } from "../../src/errors.ts";

const PROJECTS = join(import.meta.dirname, "projects");
/** `UPDATE_EXPECTED=1` writes what came out as what is expected; read the difference before committing it. */
const UPDATE = process.env.UPDATE_EXPECTED === "1";

/**
 * Every folder of `projects/` is a project; its `expected.json` says what loading it gives: the tables, or every problem
 * with its place, message and hint. A bug becomes a folder.
 */
for (const name of readdirSync(PROJECTS).sort()) {
  test(`the project ${name} gives what its expected.json says`, async () => {
    const file = join(PROJECTS, name, "expected.json");
    const given = JSON.parse(JSON.stringify(await outcome(join(PROJECTS, name))));
    if (UPDATE) writeFileSync(file, `${JSON.stringify(given, undefined, 2)}\n`);
    assert.deepEqual(given, JSON.parse(readFileSync(file, "utf8")));
  });
}

async function outcome(dir: string): Promise<unknown> {
  const inspector = await openDuckdbInspector();
  try {
    return summary(await loadProject(dir, inspector));
  } catch (error) {
    if (!(error instanceof MillraceError) || error.code !== "PROJECT_INVALID") throw error;
    return { problems: error.details };
  } finally {
    inspector.close();
  }
}

function summary(project: Project): unknown {
  return {
    name: project.name,
    settings: project.settings,
    streams: [...project.streams.values()].map(({ columns, jsonSchema, ...stream }) => ({
      ...stream,
      columns: columns.map((c) => `${c.name} ${duckdbType(c.type)}${c.nullable ? "" : " not null"}`),
      required: jsonSchema.required,
    })),
    tables: [...project.tables.values()].map(tableSummary),
  };
}

function tableSummary({ sql: _sql, ...table }: Table): unknown {
  const sql = table.mode === "append" ? { storedSql: table.storedSql } : {};
  return { ...table, ...sql, columns: table.columns.map((c) => `${c.name} ${duckdbType(c.type)}`).join(", ") };
}
