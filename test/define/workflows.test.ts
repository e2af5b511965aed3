import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { loadProject } from "../../src/define/load-project.ts";
import { openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";
import { MillraceError } from "../../src/errors.ts";

const STREAM = `export const orders = stream("orders", { schema: z.object({ id: z.string() }), id: ["id"] });`;

/** Loads a project of these definitions; what is wrong with it as `code: message`. */
async function problemsOf(code: string): Promise<string[]> {
  const dir = mkdtempSync(join(tmpdir(), "millrace-workflows-"));
  writeFileSync(
    join(dir, "millrace.config.ts"),
    'import { defineConfig } from "millrace";\nexport default defineConfig({ name: "p" });',
  );
  const names = "amount, arrival, commit, cron, failed, stream, succeeded, workflow, z";
  writeFileSync(join(dir, "work.ts"), `import { ${names} } from "millrace";\n${STREAM}\n${code}`);
  const inspector = await openDuckdbInspector();
  try {
    const project = await loadProject(dir, inspector);
    assert.ok(project.workflows.size > 0);
    return [];
  } catch (error) {
    if (!(error instanceof MillraceError && error.code === "PROJECT_INVALID")) throw error;
    return (error.details as { code: string; message: string; file: string; line: number }[]).map(
      (problem) => `${problem.code}: ${problem.message}`,
    );
  } finally {
    await inspector.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

test("workflows with every kind of trigger and option load", async () => {
  const code = `
    export const a = workflow("a", {
      on: [cron("0 2 * * *", { timezone: "Europe/Berlin", missed: "run-all" }), cron("@daily"), cron("*/5 * * * * *"),
        commit("silver.orders"), commit("bronze.orders"), amount("silver.orders", { rows: 10 }), arrival("imports/*.csv")],
      concurrency: { limit: 2, key: (input: { shop: string }) => input.shop }, timeout: "2h",
      retry: [{ on: ["EAGAIN"], attempts: 3, delay: "1s", factor: 3, maxDelay: "1m", jitter: false }, { attempts: 2 }],
      compensate: () => undefined,
    }, async (run) => run.id);
    export const b = workflow("b", { on: [succeeded("a"), failed("a")], concurrency: 1 }, () => 1);
    export const orders_again = workflow("orders", {}, () => "a workflow may have the name of a stream");`;
  assert.deepEqual(await problemsOf(code), []);
});

test("what a workflow gets wrong is refused when the project loads, with the nearest right name", async () => {
  const cases: [string, RegExp][] = [
    [
      `on: [cron("61 * * * *")]`,
      /^CRON_INVALID: cron of workflow "w" has the expression "61 \* \* \* \*", which names no moments/,
    ],
    [`on: [cron("0 0 30 2 *")]`, /^CRON_INVALID/],
    [`on: [cron("0 2")]`, /^CRON_INVALID: .*five or six fields/],
    [`on: [cron("@dayly")]`, /^CRON_INVALID: .*did you mean "@daily"/],
    [
      `on: [cron("0 2 * * *", { timezone: "Europe/Berln" })]`,
      /^TIME_ZONE_UNKNOWN: .*"Europe\/Berln".*did you mean "Europe\/Berlin"/,
    ],
    [
      `on: [cron("0 2 * * *", { missed: "run-twice" as never })]`,
      /^OPTION_INVALID: missed of cron.*run-once, run-all, skip/,
    ],
    [`on: [cron("0 2 * * *", { zone: "UTC" } as never)]`, /^OPTION_UNKNOWN: .*"zone"/],
    [`on: [commit("silver.ordres")]`, /^TRIGGER_UNKNOWN: .*the table "silver.ordres".*did you mean "silver.orders"/],
    [`on: [amount("silver.orders", { rows: 0 })]`, /^OPTION_INVALID: rows of amount/],
    [`on: [succeeded("v")]`, /^TRIGGER_UNKNOWN: .*the workflow "v", which does not exist/],
    [`on: [succeeded("w")]`, /^WORKFLOW_CYCLE: .*"w" -> "w"/],
    [`on: "0 2 * * *" as never`, /^OPTION_INVALID: on of workflow "w" is "0 2 \* \* \*"/],
    [`on: ["@daily" as never]`, /^OPTION_INVALID: on of workflow "w"/],
    [`timeout: "soon"`, /^OPTION_INVALID: timeout/],
    [`concurrency: 0`, /^OPTION_INVALID: concurrency/],
    [`concurrency: { limit: 1 } as never`, /^OPTION_INVALID: concurrency/],
    [`retry: { attempts: 0 }`, /^OPTION_INVALID: attempts of retry of workflow "w"/],
    [`retry: { attempts: 2, dealy: "1s" } as never`, /^OPTION_UNKNOWN: .*did you mean "delay"/],
    [`schedule: "daily"`, /^OPTION_UNKNOWN: workflow "w" has no option "schedule"/],
  ];
  for (const [options, wanted] of cases) {
    const found = await problemsOf(`export const w = workflow("w", { ${options} } as never, () => 1);`);
    assert.equal(found.length, 1, `${options}: ${found.join("; ")}`);
    assert.match(found[0]!, wanted);
  }
  assert.match((await problemsOf('export const w = workflow("W!", {}, () => 1);'))[0]!, /^NAME_INVALID/);
  assert.match(
    (await problemsOf('export const w = workflow("w", {}, undefined as never);'))[0]!,
    /^OPTION_INVALID: the third argument/,
  );
});

test("workflows that start each other in a circle are refused, each circle once", async () => {
  const found = await problemsOf(`
    export const a = workflow("a", { on: [succeeded("c"), failed("b")] }, () => 1);
    export const b = workflow("b", { on: [succeeded("a")] }, () => 1);
    export const c = workflow("c", { on: [failed("b")] }, () => 1);`);
  assert.deepEqual(found.length, 2);
  assert.ok(
    found.some((text) => text.includes('"a" -> "b" -> "a"')),
    found.join(),
  );
  assert.ok(
    found.some((text) => text.includes('"a" -> "b" -> "c" -> "a"')),
    found.join(),
  );
});
