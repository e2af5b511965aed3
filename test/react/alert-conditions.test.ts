/** Each statistical condition against a plain computation of what its docstring says, over random values. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type Condition, rateOfChange, seasonal, threshold, zscore } from "../../src/define/conditions.ts";
import type { Problem } from "../../src/define/problem.ts";
import { readCondition } from "../../src/define/read-condition.ts";
import { type Judgement, judgeOf } from "../../src/react/alerts/judgement.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const START = Date.UTC(2026, 0, 5);

/** Judges values one after the other; the history goes through JSON, as it does through a checkpoint. */
function judgeAll(
  condition: Condition,
  values: readonly { readonly value: number; readonly atMs: number; readonly late?: boolean }[],
): Judgement[] {
  const problems: Problem[] = [];
  const read = readCondition(condition, "when", "alert", problems);
  assert.deepEqual(problems, []);
  const judge = judgeOf(read!, "x");
  let history: unknown;
  return values.map(({ value, atMs, late = false }) => {
    const judged = judge.judge({ value }, { timeMs: atMs, momentMs: atMs, late }, history);
    history = judged.history === undefined ? undefined : JSON.parse(JSON.stringify(judged.history));
    return judged;
  });
}

function plainMedian(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const lower = sorted[Math.ceil(sorted.length / 2) - 1]!;
  const upper = sorted[Math.floor(sorted.length / 2)]!;
  return (lower + upper) / 2;
}

const mean = (values: readonly number[]) => values.reduce((sum, one) => sum + one, 0) / values.length;
const near = (got: number | undefined, wanted: number) =>
  assert.ok(
    got !== undefined && Math.abs(got - wanted) <= 1e-9 * Math.max(1, Math.abs(wanted)),
    `${got}, not ${wanted}`,
  );

const values = fc.array(fc.oneof(fc.integer({ min: -5, max: 5 }), fc.double({ min: -1e6, max: 1e6, noNaN: true })), {
  minLength: 1,
  maxLength: 80,
});

describe("zscore", () => {
  it("is 0.6745 (x - median) / MAD of the values before, or by the mean absolute deviation where MAD is 0", () => {
    fc.assert(
      fc.property(values, fc.integer({ min: 3, max: 30 }), (given, history) => {
        const judged = judgeAll(
          zscore("value", { history, atLeast: 3 }),
          given.map((value, i) => ({ value, atMs: i })),
        );
        for (const [i, { holds, reason }] of judged.entries()) {
          const before = given.slice(Math.max(0, i - history), i);
          if (before.length < 3) {
            assert.equal(holds, undefined);
            continue;
          }
          const middle = plainMedian(before);
          const apart = before.map((one) => Math.abs(one - middle));
          const mad = plainMedian(apart);
          const unit = mad > 0 ? mad / 0.6745 : 1.253314 * mean(apart);
          const value = given[i]!;
          const z = value === middle ? 0 : (value - middle) / unit;
          assert.equal(reason?.samples, before.length);
          near(reason?.expected, middle);
          if (Math.abs(Math.abs(z) - 3.5) > 1e-3) assert.equal(holds, Math.abs(z) > 3.5);
          if (Number.isFinite(z)) assert.ok(Math.abs(reason!.score! - z) <= 1e-4 * Math.max(1, Math.abs(z)));
        }
      }),
      { seed: 11 },
    );
  });

  it("tells value, expected, range and number of values in words and numbers", () => {
    const usual = Array.from({ length: 30 }, (_, i) => ({ value: 90 + (i % 5), atMs: i }));
    const [judged] = judgeAll(zscore("value"), [...usual, { value: 131, atMs: 31 }]).slice(-1);
    assert.equal(judged?.holds, true);
    assert.equal(
      judged?.reason?.text,
      "value is 131, expected about 92 (86.8109 to 97.1891): 26.3051 deviations away, by the last 30 values",
    );
    const { text: _, ...numbers } = judged.reason!;
    assert.deepEqual(
      { ...numbers, low: Math.round(numbers.low!), high: Math.round(numbers.high!), score: Math.round(numbers.score!) },
      { condition: "zscore", field: "value", value: 131, expected: 92, low: 87, high: 97, samples: 30, score: 26 },
    );
  });

  it("takes a level that stays for the usual one, and never had anything else for a reason", () => {
    const flat = Array.from({ length: 20 }, (_, i) => ({ value: 5, atMs: i }));
    const shift = Array.from({ length: 100 }, (_, i) => ({ value: 6, atMs: 20 + i }));
    const judged = judgeAll(zscore("value", { history: 20 }), [...flat, ...shift]);
    assert.equal(judged[20]?.holds, true);
    assert.match(judged[20]?.reason?.text ?? "", /expected about 5 .*and there was never another value/);
    assert.equal(judged[20]?.reason?.score, undefined);
    assert.equal(judged.at(-1)?.holds, false);
  });
});

describe("seasonal", () => {
  it("compares with the median of the slot's earlier means, by their scatter and that within a slot", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({ gapHours: fc.double({ min: 0, max: 9, noNaN: true }), value: fc.integer({ min: 0, max: 20 }) }),
          {
            minLength: 30,
            maxLength: 120,
          },
        ),
        fc.integer({ min: 2, max: 6 }),
        (steps, history) => {
          let atMs = START;
          const given = steps.map(({ gapHours, value }) => {
            atMs += Math.round(gapHours * HOUR);
            return { value, atMs };
          });
          const judged = judgeAll(seasonal("value", { period: "1d", slot: "6h", history, atLeast: 2 }), given);
          for (const [i, { holds, reason }] of judged.entries()) {
            const { value, atMs: nowMs } = given[i]!;
            const [day, slot] = [Math.floor(nowMs / DAY), Math.floor((nowMs % DAY) / (6 * HOUR))];
            const bySlot = Map.groupBy(
              given
                .slice(0, i)
                .filter(
                  (one) => Math.floor((one.atMs % DAY) / (6 * HOUR)) === slot && Math.floor(one.atMs / DAY) < day,
                ),
              (one) => Math.floor(one.atMs / DAY),
            );
            const days = [...bySlot.keys()]
              .sort((a, b) => a - b)
              .slice(-history)
              .map((one) => bySlot.get(one)!.map((v) => v.value));
            if (days.length < 2) {
              assert.equal(holds, undefined);
              continue;
            }
            const means = days.map(mean);
            const expected = plainMedian(means);
            const mad = plainMedian(means.map((one) => Math.abs(one - expected)));
            const between =
              mad > 0 ? 1.4826 * mad : 1.2533141373155 * mean(means.map((one) => Math.abs(one - expected)));
            const within = plainMedian(
              days.map((day) =>
                day.length < 2 ? 0 : day.reduce((sum, one) => sum + (one - mean(day)) ** 2, 0) / (day.length - 1),
              ),
            );
            const unit = Math.sqrt(between ** 2 + within);
            near(reason?.expected, expected);
            assert.equal(reason?.samples, days.flat().length);
            const z = value === expected ? 0 : (value - expected) / unit;
            if (Math.abs(Math.abs(z) - 4) > 1e-6 && unit > 1e-9) assert.equal(holds, Math.abs(z) > 4, `z ${z}`);
          }
        },
      ),
      { seed: 12, numRuns: 60 },
    );
  });

  it("knows the hours of a day apart", () => {
    const days = Array.from({ length: 10 * 24 }, (_, hour) => ({
      value: (hour % 24 < 8 ? 5 : 100) + (hour % 3),
      atMs: START + hour * HOUR,
    }));
    const at = (hour: number, value: number) =>
      judgeAll(seasonal("value", { period: "1d" }), [...days, { value, atMs: START + (240 + hour) * HOUR }]).at(-1);
    assert.equal(at(3, 100)?.holds, true);
    assert.equal(at(12, 100)?.holds, false);
    assert.equal(at(12, 5)?.holds, true);
    assert.match(
      at(3, 100)?.reason?.text ?? "",
      /^value is 100, expected about 5 \(.*\) by the same 1h of the last 10 periods of 1d: /,
    );
  });
});

describe("rateOfChange", () => {
  it("is the difference to the oldest value of the window by the time between, once that spans half of it", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({ gapMs: fc.integer({ min: 1000, max: 40_000 }), value: fc.integer({ min: 0, max: 1000 }) }),
          {
            minLength: 3,
            maxLength: 60,
          },
        ),
        (steps) => {
          let atMs = START;
          const given = steps.map(({ gapMs, value }) => {
            atMs += gapMs;
            return { value, atMs };
          });
          const judged = judgeAll(rateOfChange("value", { per: "1m", above: 500, below: -200 }), given);
          for (const [i, { holds, reason }] of judged.entries()) {
            const { value, atMs: nowMs } = given[i]!;
            const oldest = given.slice(0, i).find((one) => one.atMs >= nowMs - 60_000);
            if (oldest === undefined || nowMs - oldest.atMs < 30_000) {
              assert.equal(holds, undefined);
              continue;
            }
            const rate = ((value - oldest.value) / (nowMs - oldest.atMs)) * 60_000;
            near(reason?.value, rate);
            assert.equal(holds, rate > 500 || rate < -200);
          }
        },
      ),
      { seed: 13 },
    );
  });

  it("keeps few values of many, and says nothing of what comes late", () => {
    const given = Array.from({ length: 5000 }, (_, i) => ({ value: i, atMs: START + i * 100 }));
    const judged = judgeAll(rateOfChange("value", { per: "1m", above: 599 }), given);
    assert.equal(judged.at(-1)?.holds, true);
    near(judged.at(-1)?.reason?.value, 600);
    const [last] = judged.slice(-1);
    assert.ok(Array.isArray(last?.history) && last.history.length <= 65);
    const late = judgeAll(rateOfChange("value", { per: "1m", above: 0 }), [
      ...given,
      { value: 1e9, atMs: START, late: true },
    ]);
    assert.equal(late.at(-1)?.holds, undefined);
    assert.equal(judged.at(-1)?.reason?.text.replace(/from .*/, "…"), "value changes by 600 per 1m, above 599: …");
  });
});

describe("threshold", () => {
  it("leaves the bounds themselves within, and takes decimals that are text", () => {
    const judged = judgeAll(
      threshold("value", { above: 10, below: 0 }),
      [10, 0, 10.1, -1].map((value, atMs) => ({ value, atMs })),
    );
    assert.deepEqual(
      judged.map(({ holds }) => holds),
      [false, false, true, true],
    );
    const judge = judgeOf(readCondition(threshold("a.b", { above: 10 }), "when", "x", [])!, "x");
    const moment = { timeMs: 0, momentMs: 0, late: false };
    assert.equal(judge.judge({ a: { b: "10.50" } }, moment, undefined).holds, true);
    for (const b of ["", "x", null, undefined, true, [11], Number.NaN])
      assert.equal(judge.judge({ a: { b } }, moment, undefined).holds, undefined);
  });
});
