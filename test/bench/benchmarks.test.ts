import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { benchmarksPage } from "../../bench/benchmarks-page.ts";
import { percentile, quantity } from "../../bench/quantities.ts";
import { type Results, readResults, verdict } from "../../bench/results.ts";
import { plan, scalePage } from "../../bench/scale-page.ts";
import { SPEED_TABLE } from "../../bench/speed-table.ts";

test("docs/benchmarks.md is what the kept results give; `npm run bench -- NAME` writes both", () => {
  const page = readFileSync(new URL("../../docs/benchmarks.md", import.meta.url), "utf8");
  assert.equal(page, benchmarksPage(readResults()));
});

test("the plans of docs/scale.md are what the kept results give, and grow with the rate where the rate is what they are for", () => {
  const page = readFileSync(new URL("../../docs/scale.md", import.meta.url), "utf8");
  assert.equal(page, scalePage(page, readResults()));
  const measured = { gatewayUs: 6, flowUs: 12, storedBytes: 50 };
  const [small, large] = [plan(1_000, measured), plan(1_000_000, measured)];
  assert.deepEqual([small.gateways, small.flowWorkers, small.brokers, small.flushS], [2, 2, 3, 5]);
  assert.deepEqual([large.gateways, large.flowWorkers, large.partitions, large.brokers], [10, 10, 20, 3]);
  assert.equal(large.lakeBytesPerDay, 1_000_000 * 86_400 * 50);
  assert.equal(plan(10_000_000, measured).flushS, 30);
});

test("every row of the speed table has a program and a kept result with every figure, and no result is of another row", () => {
  const results = readResults();
  assert.deepEqual(Object.keys(results).sort(), SPEED_TABLE.map((row) => row.name).sort());
  for (const { name, figures } of SPEED_TABLE) {
    assert.ok(existsSync(new URL(`../../bench/rows/${name}.ts`, import.meta.url)), name);
    assert.deepEqual(Object.keys(results[name]?.figures ?? {}).sort(), Object.keys(figures).sort(), name);
  }
});

test("beside every kept figure stand the cores, the event's bytes and the fsync mode, and each row has a peer", () => {
  for (const [name, { measured, conditions, figures }] of Object.entries(readResults())) {
    assert.ok(measured.cores > 0 && measured.node.startsWith("v"), name);
    // What a row works on: events, and how large they are, workflows, or what acknowledges nothing: a job over files, a page in a browser.
    const { events, workflow, job, page = conditions["map"] } = conditions;
    assert.match(events ?? workflow ?? job ?? page ?? "", /\d+ (bytes|steps|records|rows|nodes)/, name);
    assert.ok(conditions["fsync"] ?? job ?? page, name);
    assert.ok(
      Object.values(figures).some(({ peers }) => Object.values(peers ?? {}).some((peer) => peer > 0)),
      name,
    );
  }
});

test("a figure is judged in its own direction: more events, or fewer milliseconds", () => {
  const rate = { label: "", unit: "events/s", better: "higher", floor: 400, aim: 1000 } as const;
  assert.deepEqual(
    [1000, 999, 400, 399].map((value) => verdict(rate, value)),
    ["aim reached", "floor reached", "floor reached", "below the floor"],
  );
  const time = { label: "", unit: "ms", better: "lower", floor: 10 } as const;
  assert.deepEqual(
    [10, 11].map((value) => verdict(time, value)),
    ["floor reached", "below the floor"],
  );
  assert.equal(verdict({ label: "", unit: "ms", better: "lower" }, 5), undefined);
});

test("the page shows a figure with its floor, its verdict, its ratio to the peer and its conditions", () => {
  const results: Results = {
    flush: {
      measured: {
        at: "2026-01-05T08:00:00.000Z",
        cores: 2,
        cpu: "Chip",
        memoryGiB: 8,
        node: "v24.0.0",
        system: "linux x64",
        otherLoad: 0.1,
      },
      conditions: { batch: "64 MiB" },
      figures: { rate: { value: 512_000, peers: { "a bare copy": 1_024_000 } } },
    },
  };
  const page = benchmarksPage(results);
  assert.match(page, /\| 400 k events\/s \| 800 k events\/s \| \*\*512 k events\/s\*\*, floor reached \| 0\.5 x \|/);
  assert.match(page, /\| rate \| 512 k events\/s \| 1\.02 M events\/s \(0\.5 x\): a bare copy \|/);
  assert.match(
    page,
    /- batch: 64 MiB\n- machine: 2 cores of Chip, 8 GiB, linux x64, Node v24\.0\.0, load average before the run 0\.1; 2026-01-05\n$/,
  );
});

test("quantities have the digits that mean something; a percentile is one of the values", () => {
  assert.deepEqual(
    [0, 0.456, 4.56, 45.6, 456.7, 45_678, 1_234_567].map((value) => quantity(value, "ms")),
    ["0 ms", "0.46 ms", "4.6 ms", "46 ms", "457 ms", "46 k ms", "1.23 M ms"],
  );
  const values = Array.from({ length: 200 }, (_, i) => 200 - i);
  assert.deepEqual([percentile(values, 0.5), percentile(values, 0.99), percentile([7], 0.99)], [101, 199, 7]);
});
