/** The tables of docs/spark.md load where a Spark is named, and its codes and functions are those that there are. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { AGGREGATES, FUNCTIONS, WINDOWS } from "../../src/engine/spark/dialect/functions.ts";
import { ERRORS } from "../../src/errors.ts";
import { loadWithSettings } from "../../src/platform/loaded.ts";

const PAGE = resolve(import.meta.dirname, "../../docs/spark.md");

const STREAMS = `
import { stream, z } from "millrace";
export const lines = stream("lines", { schema: z.object({ order_id: z.string(), sku: z.string() }) });
export const orders = stream("orders", { schema: z.object({ order_id: z.string(), tags: z.array(z.string()) }) });`;

test("the tables of the Spark page load where a Spark is named", async (t) => {
  const page = await readFile(PAGE, "utf8");
  const dir = await mkdtemp(join(tmpdir(), "millrace-spark-page-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const config = 'import { defineConfig } from "millrace";\nexport default defineConfig({ name: "shop" });';
  await writeFile(join(dir, "millrace.config.ts"), config);
  await writeFile(join(dir, "streams.ts"), STREAMS);
  const blocks = [...page.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code ?? "");
  for (const [i, code] of blocks.entries()) await writeFile(join(dir, `tables_${i}.ts`), code);
  const { project } = await loadWithSettings(dir, { sparkUrl: "sc://127.0.0.1:1" }, {});
  assert.equal(project.tables.get("gold.pairs")?.engine, "spark");
  assert.match(project.tables.get("gold.tags")?.spark ?? "", /explode/);
});

test("every code of the Spark page is in the registry, and every function it calls the same is translated", async () => {
  const page = await readFile(PAGE, "utf8");
  for (const [, code] of page.matchAll(/`([A-Z]+_[A-Z_]+)`/g)) assert.ok(code && code in ERRORS, code);
  const known = new Set([FUNCTIONS, AGGREGATES, WINDOWS].flatMap((one) => Object.keys(one)));
  const rows = page.split("\n").filter((line) => /^\| `(round|length|regexp|date_trunc|count|row_number)/.test(line));
  assert.equal(rows.length, 6);
  for (const row of rows) {
    const names = [...(row.split(" | ")[0] ?? "").matchAll(/`([a-z_0-9]+)`/g)].map(([, name]) => name ?? "");
    const parsed = new Set(["extract"]); // which is date_part by then
    for (const name of names) assert.ok(known.has(name) || parsed.has(name), name);
  }
});
