/** The example of docs/reactions.md's section on alerts loads as it stands, beside the streams that it names. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { loadProject } from "../../src/define/load-project.ts";
import { openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";

const ROOT = resolve(import.meta.dirname, "../..");

const STREAMS = `
import { stream, z } from "millrace";
export const telemetry = stream("telemetry", {
  schema: z.object({ vehicle_id: z.string(), engine_temp: z.number(), at: z.iso.datetime() }), time: "at",
});
export const orders = stream("orders", {
  schema: z.object({ order_id: z.string(), due_at: z.iso.datetime(), delivered_at: z.iso.datetime().optional() }),
});`;

test("the alerts of the reactions page load, and mean what the page says", async (t) => {
  const page = await readFile(join(ROOT, "docs/reactions.md"), "utf8");
  const [, code] = /^```ts alerts\n(.*?)^```$/ms.exec(page) ?? [];
  assert.ok(code);
  const dir = await mkdtemp(join(tmpdir(), "millrace-alerts-page-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const config = 'import { defineConfig } from "millrace";\nexport default defineConfig({ name: "fleet" });';
  await writeFile(join(dir, "millrace.config.ts"), config);
  await writeFile(join(dir, "streams.ts"), STREAMS);
  await writeFile(join(dir, "alerts.ts"), code);
  const inspector = await openDuckdbInspector();
  try {
    const { alerts } = await loadProject(dir, inspector);
    const [overheat, late] = [alerts.get("overheat"), alerts.get("late_orders")];
    assert.ok(overheat?.over === "stream" && late?.over === "table");
    assert.deepEqual([overheat.key, overheat.forMs, overheat.to], [["vehicle_id"], 30_000, ["team"]]);
    assert.deepEqual([late.inputs, late.every], [["silver.orders"], 60_000]);
  } finally {
    await inspector.close();
  }
});
