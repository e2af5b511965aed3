import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseDuration } from "../../src/define/duration.ts";
import { didYouMean, editDistance, nearestMatch } from "../../src/define/nearest.ts";

test("the distance counts insertions, deletions, substitutions and swaps of neighbours as one each", () => {
  const cases: [string, string, number][] = [
    ["", "", 0],
    ["orders", "orders", 0],
    ["oders", "orders", 1],
    ["orderss", "orders", 1],
    ["orxers", "orders", 1],
    ["odrers", "orders", 1],
    ["ca", "abc", 3],
    ["kitten", "sitting", 3],
    ["", "abc", 3],
  ];
  for (const [a, b, distance] of cases) assert.equal(editDistance(a, b), distance, `${a} ${b}`);
});

test("the distance is symmetric, zero only for equal texts, and never more than the longer text", () => {
  const text = fc.string({ maxLength: 12, unit: fc.constantFrom("a", "b", "c") });
  fc.assert(
    fc.property(text, text, (a, b) => {
      const distance = editDistance(a, b);
      assert.equal(distance, editDistance(b, a));
      assert.equal(distance === 0, a === b);
      assert.ok(distance <= Math.max(a.length, b.length));
    }),
  );
});

test("a mistyped name finds the one that was meant, and a strange one finds none", () => {
  const names = ["orders", "order_lines", "silver.orders", "fx"];
  assert.equal(nearestMatch("oders", names), "orders");
  assert.equal(nearestMatch("ORDERS", names), "orders");
  assert.equal(nearestMatch("order_line", names), "order_lines");
  assert.equal(nearestMatch("sliver.orders", names), "silver.orders");
  assert.equal(nearestMatch("fy", names), "fx");
  assert.equal(nearestMatch("ab", names), undefined);
  assert.equal(nearestMatch("elephants", names), undefined);
  assert.equal(didYouMean("oders", names), '; did you mean "orders"?');
  assert.equal(didYouMean("elephants", names), "");
});

test("durations are read with their unit, and nothing else is", () => {
  const good: [string, number][] = [
    ["7d", 604_800_000],
    ["36h", 129_600_000],
    ["15m", 900_000],
    ["30s", 30_000],
    ["500ms", 500],
    [" 1.5 h ", 5_400_000],
  ];
  for (const [text, durationMs] of good) assert.equal(parseDuration(text), durationMs, text);
  for (const bad of ["", "7", "d", "-1d", "1w", "7 days", "1d2h", "0.0001ms", "1e3s", "99999999999999d", "P7D"]) {
    assert.equal(parseDuration(bad), undefined, bad);
  }
});
