/** Functions in a running platform: what they emit, keep and cannot take, through restarts and kills. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { RunningPlatform } from "../platform/running-platform.ts";

const PROJECT = "test/react/projects/functions";

interface FunctionAnswer {
  readonly functions: readonly {
    readonly name: string;
    readonly partitions: readonly {
      readonly position: number;
      readonly pending: number;
      readonly handled: number;
      readonly deadLettered: number;
      readonly restarts: number;
      readonly problem: string | null;
    }[];
  }[];
}

async function functionsOf(platform: RunningPlatform) {
  return (await platform.get<FunctionAnswer>("/v1/functions")).body.functions;
}

/** Resolves once every function has handled everything. */
async function handled(platform: RunningPlatform): Promise<void> {
  for (let look = 0; ; look++) {
    const functions = await functionsOf(platform);
    if (functions.every(({ partitions }) => partitions.every(({ pending }) => pending === 0))) return;
    assert.ok(look < 1000, JSON.stringify(functions));
    await sleep(20);
  }
}

function readings(from: number, count: number, sensors = 3) {
  return Array.from({ length: count }, (_, i) => ({
    id: `r${from + i}`,
    sensor: `s${(from + i) % sensors}`,
    n: from + i,
  }));
}

async function folder(t: { after(work: () => Promise<void>): void }): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "millrace-functions-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

test("what functions emit is in the target streams at once, each once, and state goes on over a restart", async (t) => {
  const dir = await folder(t);
  let platform = await RunningPlatform.start(PROJECT, join(dir, "data"));
  try {
    assert.equal((await platform.post("readings", readings(0, 30))).status, 202);
    await handled(platform);
    const sums = "select sensor, max(sum), count(*) from totals group by all order by all";
    assert.deepEqual(await platform.sql(sums), [
      ["s0", 135, 10],
      ["s1", 145, 10],
      ["s2", 155, 10],
    ]);
    assert.deepEqual(await platform.sql("select total_id from totals where n = 4"), [["summing/readings/0-4/0"]]);
    assert.deepEqual(await platform.sql("select count(*), count(distinct n) from notes"), [[30, 30]]);
    const order =
      "select sensor from (select sensor, n < lag(n) over (partition by sensor order by _offset) as back from notes) where back";
    assert.deepEqual(await platform.sql(order), []);
    await platform.stop();
    platform = await RunningPlatform.start(PROJECT, join(dir, "data"));
    await platform.post("readings", readings(30, 3));
    await handled(platform);
    assert.deepEqual(await platform.sql(sums), [
      ["s0", 165, 11],
      ["s1", 176, 11],
      ["s2", 187, 11],
    ]);
    const table =
      "select function, position, pending, handled, dead_lettered, problem from system.functions order by 1";
    assert.deepEqual((await platform.sql(table))[3], ["summing", 33, 0, 33, 0, null]);
  } finally {
    await platform.stop();
  }
});
