import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type TestContext, test } from "node:test";
import { MillraceError } from "../../src/errors.ts";
import { load } from "./project-tables.ts";

/*
 * docs/definitions.md is one project: all its `ts` examples load together. An example marked `ts refused CODE` makes the project fail with
 * that code.
 */
const page = await readFile(resolve(import.meta.dirname, "../../docs/definitions.md"), "utf8");
const examples = [...page.matchAll(/^```ts ?([^\n]*)\n(.*?)^```$/gms)].map(([, mark, code]) => ({
  mark: mark as string,
  code: code as string,
}));
const config = examples.filter(({ mark }) => mark === "config").map(({ code }) => code);
const good = examples.filter(({ mark }) => mark === "").map(({ code }) => code);
const refused = examples.filter(({ mark }) => mark.startsWith("refused "));

test("every example of the definitions page loads, and follows its inputs the way the page says", async (t) => {
  assert.equal(config.length + good.length + refused.length, examples.length, "an example with an unknown mark");
  const project = await loadExamples(t, good);
  assert.equal(project.name, "shop");
  const modes = Object.fromEntries([...project.tables.values()].map((table) => [table.name, table.mode]));
  const refresh = [
    "gold.customers",
    "gold.sales_daily",
    "silver.visits",
    "silver.visits_events",
    "silver.visits_people",
  ];
  assert.deepEqual(
    Object.keys(modes)
      .filter((name) => modes[name] === "refresh")
      .sort(),
    refresh,
  );
  const countries = project.tables.get("silver.countries");
  assert.ok(countries?.mode === "append" && countries.tombstone === "closed");
  const daily = project.tables.get("gold.sales_daily");
  assert.ok(daily?.mode === "refresh" && daily.by.day === "date(placed_at)");
  assert.deepEqual(Object.keys(project.tables.get("silver.orders_by_month")?.partitionBy ?? {}), ["month"]);
  assert.deepEqual(Object.keys(project.tables.get("silver.orders_by_country")?.partitionBy ?? {}), [
    "country",
    "placed_at_date",
  ]);
  assert.ok(project.tables.has("silver.orders"), "a stream without a table of its own has a typed silver");
});

for (const { mark, code } of refused) {
  const wanted = mark.slice("refused ".length);
  test(`the page's example of what is refused fails with ${wanted}`, async (t) => {
    await assert.rejects(loadExamples(t, [...good, code]), (error) => {
      assert.ok(error instanceof MillraceError && error.code === "PROJECT_INVALID", String(error));
      const problems = error.details as { code: string }[];
      assert.deepEqual([...new Set(problems.map((problem) => problem.code))], [wanted]);
      return true;
    });
  });
}

async function loadExamples(t: TestContext, modules: readonly string[]) {
  const dir = await mkdtemp(join(tmpdir(), "definitions-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await writeFile(join(dir, "millrace.config.ts"), config.join("\n"));
  await Promise.all(modules.map((code, i) => writeFile(join(dir, `example-${i}.ts`), code)));
  return load(dir);
}
