import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openFlow, temporaryFolder } from "../flow/open-flow.ts";

const HOUR_MS = 3_600_000;
const rate = (country: string) => ({ country, rate: 1.5 });

test("a clock that is set back by hours while events wait does not hold up their flush", async () => {
  await using dir = await temporaryFolder();
  let offsetMs = 0;
  const clock = () => Date.now() + offsetMs;
  await using flow = await openFlow(dir.path, { clock, flushIntervalMs: 1000 });
  await sleep(200);
  await flow.append("rates", [rate("DE")]);
  offsetMs = -3 * HOUR_MS;
  const pending = () => flow.flow.ledger().reduce((sum, hop) => sum + hop.pending, 0);
  assert.ok(pending() > 0, "it waits for its flush");
  for (const deadline = performance.now() + 10_000; pending() > 0 && performance.now() < deadline; ) await sleep(50);
  assert.equal(pending(), 0);
});

test("a file on its way into a table outlives a vacuum, whatever the clock has jumped meanwhile", async () => {
  await using dir = await temporaryFolder();
  let offsetMs = 0;
  await using flow = await openFlow(dir.path, { clock: () => Date.now() + offsetMs });
  const { lake } = flow.flow;
  const table = lake.get("silver.large");
  const row = { sql: "select 'o1' as order_id, 5::decimal(12, 2) as amount, now() as placed_at", inputs: new Map() };
  const [file] = await lake.write(table, row);
  const [abandoned] = await lake.write(table, row);
  assert.ok(file && abandoned);
  offsetMs = 200 * HOUR_MS;
  await lake.vacuum(HOUR_MS, Date.now() + offsetMs);
  const isThere = (path: string) => existsSync(join(dir.path, "lake/silver/large", path));
  assert.ok(isThere(file.path));
  const committed = await lake.commit(table, { operation: "TEST", readVersion: table.snapshot.version, add: [file] });
  assert.equal(committed.kind, "committed");
  assert.deepEqual(
    table.snapshot.files.map(({ path }) => path),
    [file.path],
  );
  await lake.commit(table, { operation: "TEST", readVersion: -1, add: [abandoned] });
  await lake.vacuum(HOUR_MS, Date.now() + offsetMs);
  assert.ok(!isThere(abandoned.path), "what lost its commit is no longer on its way");
});
