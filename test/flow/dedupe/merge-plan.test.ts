import assert from "node:assert/strict";
import { test } from "node:test";
import { type MergeInput, planMerge } from "../../../src/flow/dedupe/merge-plan.ts";
import { random } from "./naive-partition.ts";

const HORIZON_MS = 8000; // slices of a second

/** Adds runs one by one and carries out every plan; gives the runs left and the ids written per id added. */
function grow(runs: MergeInput[], added: readonly MergeInput[]): { runs: MergeInput[]; written: number; most: number } {
  let written = 0;
  let ids = 0;
  let most = 0;
  for (const run of added) {
    runs.push(run);
    ids += run.count;
    written += run.count;
    for (let plan = planMerge(runs, HORIZON_MS); plan; plan = planMerge(runs, HORIZON_MS)) {
      assert.ok(plan.to - plan.from >= 2, "a merge makes fewer runs, so that planning ends");
      const inputs = runs.slice(plan.from, plan.to);
      const count = inputs.reduce((sum, input) => sum + input.count, 0);
      const lastArrivalMs = Math.max(...inputs.map((input) => input.lastArrivalMs));
      runs.splice(plan.from, inputs.length, { count, lastArrivalMs });
      written += count;
    }
    most = Math.max(most, runs.length);
  }
  return { runs, written: written / ids, most };
}

test("ids are rewritten few times and runs stay few, for equal flushes and for wildly different ones", () => {
  const equal = grow(
    [],
    Array.from({ length: 1667 }, () => ({ count: 60_000, lastArrivalMs: 100 })),
  );
  assert.ok(equal.written < 5.5 && equal.most <= 16, `${equal.written} times, ${equal.most} runs`);
  const next = random(5);
  const sizes = Array.from({ length: 2000 }, () => ({ count: 1 + 2 ** next(20), lastArrivalMs: 100 }));
  const odd = grow([], sizes);
  assert.ok(odd.written < 6 && odd.most <= 30, `${odd.written} times, ${odd.most} runs`);
});

test("flushes that become a little smaller each time are merged all the same", () => {
  const shrinking = Array.from({ length: 1500 }, (_, i) => ({ count: 200_000 - i * 100, lastArrivalMs: 100 }));
  const { most } = grow([], shrinking);
  assert.ok(most <= 30, `${most} runs`);
});

test("a small flush after many large ones does not keep the large ones apart", () => {
  const backlog = Array.from({ length: 40 }, () => ({ count: 240_000, lastArrivalMs: 100 }));
  const { runs } = grow(backlog, [{ count: 1000, lastArrivalMs: 100 }]);
  assert.ok(runs.length < 8, `${runs.length} runs`);
});

test("no run grows beyond an eighth of all ids, once they are many", () => {
  const { runs } = grow(
    [],
    Array.from({ length: 500 }, () => ({ count: 1_000_000, lastArrivalMs: 100 })),
  );
  const total = runs.reduce((sum, run) => sum + run.count, 0);
  assert.ok(runs.every((run) => run.count <= total / 8));
});

test("runs of different slices of the horizon are never merged; a slice that is over becomes one run", () => {
  const added = Array.from({ length: 100 }, (_, i) => ({ count: 1000, lastArrivalMs: i * 95 }));
  const { runs } = grow([], added);
  const slices = runs.map((run) => Math.floor(run.lastArrivalMs / 1000));
  assert.deepEqual([...new Set(slices)], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.equal(slices.filter((slice) => slice < 9).length, 9);
});
