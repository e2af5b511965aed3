import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import type { RefreshTable } from "../../src/define/project.ts";
import type { FileInput, Relation, SqlEngine, Statement } from "../../src/engine/sql-engine.ts";
import type { MillraceError } from "../../src/errors.ts";
import { engineChooser } from "../../src/flow/choose-engine.ts";
import { loadWithSettings } from "../../src/platform/loaded.ts";

const PROJECT = join(import.meta.dirname, "projects/spark");
/** Nobody listens there: what is told is told without a server. */
const SPARK = { sparkUrl: "sc://127.0.0.1:1" };

interface Told {
  readonly name: string;
  readonly file: string;
  readonly line: number;
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

async function problems(flags: Record<string, unknown>): Promise<Told[]> {
  try {
    await loadWithSettings(PROJECT, flags, {});
    return [];
  } catch (error) {
    return (error as MillraceError).details as Told[];
  }
}

test("without a Spark the same project loads as it is", async () => {
  assert.deepEqual(await problems({}), []);
});

test("with one, tables that it would compute and cannot are refused with their place and what to write", async () => {
  const told = await problems(SPARK);
  assert.deepEqual(
    told.map(({ name, code }) => [name, code]),
    [
      ["gold.tags", "SPARK_DIALECT"],
      ["gold.elsewhere", "SPARK_DIALECT"],
      ["gold.called", "SPARK_DIALECT"],
    ],
  );
  const [tags, elsewhere, called] = told as [Told, Told, Told];
  assert.equal(tags.file, "tables.ts");
  assert.ok(tags.line > 1);
  assert.match(
    tags.message,
    /table "gold.tags" cannot be computed by Spark: the function unnest.*\(line 2, column 18 of its SQL\)/,
  );
  assert.match(tags.hint, /spark:.*explode.*engine: "duckdb"/);
  assert.match(elsewhere.message, /reads silver.customers, and its sql does not/);
  assert.match(called.message, /loud, a function of the project, which only the embedded engine has/);
});

test("where the size of inputs decides, every table that may grow is looked at, but for those that stay", async () => {
  const told = await problems({ ...SPARK, sparkMinInputBytes: "1GiB" });
  assert.ok(told.some(({ name, message }) => name === "gold.by_size" && /array_length|len/.test(message)));
  assert.ok(!told.some(({ name }) => name === "gold.here"));
});

test("an address that is none is told with the setting", async () => {
  for (const sparkUrl of ["sc://h:99999", "http://h"])
    await assert.rejects(loadWithSettings(PROJECT, { sparkUrl }, {}), { code: "SETTING_INVALID" });
});

test("a table goes to the engine that it names, and else by the size of what is read", () => {
  const spark = { name: "spark" } as SqlEngine;
  const choose = engineChooser({ spark, minInputBytes: 1000 });
  const tableOf = (more: object) => ({ name: "gold.t", mode: "refresh", ...more }) as RefreshTable;
  const file = (path: string, sizeBytes: number): FileInput => ({ path, partition: {}, sizeBytes });
  const files = (...list: FileInput[]): Relation => ({ kind: "files", columns: [], files: list });
  const over = (...relations: Relation[]): Statement => ({
    sql: "",
    inputs: new Map(relations.map((relation, i) => [`i${i}`, relation])),
  });
  const small = over(files(file("a", 400)), files(file("a", 400), file("b", 400)));
  const large = over({ kind: "view", statement: over(files(file("a", 600)), files(file("b", 400))) });
  const native = over({ kind: "native", sql: "select 1" }, files(file("a", 5000)));
  assert.equal(choose(tableOf({}), small), undefined);
  assert.equal(choose(tableOf({}), large), spark);
  assert.equal(choose(tableOf({ engine: "spark" }), small), spark);
  assert.equal(choose(tableOf({ engine: "duckdb" }), large), undefined);
  assert.equal(choose(tableOf({ engine: "spark" }), native), undefined);
  assert.equal(choose(tableOf({ sessions: {} }), large), undefined);
  assert.equal(engineChooser({ spark, minInputBytes: 0 })(tableOf({}), large), undefined);
});
