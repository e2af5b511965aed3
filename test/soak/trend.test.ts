import assert from "node:assert/strict";
import { test } from "node:test";
import { trendOf } from "../../soak/trend.ts";

const series = (value: (minute: number) => number, minutes = 60) =>
  Array.from({ length: minutes + 1 }, (_, minute) => ({ atMs: minute * 60_000, value: value(minute) }));
const BOUND = { share: 0.1, amount: 5 };

test("what grows steadily is beyond its bound, by its growth per hour", () => {
  const trend = trendOf(
    series((minute) => 100 + minute),
    BOUND,
  )!;
  assert.equal(trend.bounded, false);
  assert.ok(Math.abs(trend.perHour - 60) < 1e-6);
  assert.ok(Math.abs(trend.growth - 40) < 1e-6, "over the forty minutes judged");
});

test("warming up, waves and what shrinks are within it", () => {
  assert.equal(
    trendOf(
      series((minute) => (minute < 20 ? minute * 10 : 200)),
      BOUND,
    )?.bounded,
    true,
  );
  assert.equal(
    trendOf(
      series((minute) => 100 + (minute % 6)),
      BOUND,
    )?.bounded,
    true,
  );
  assert.equal(
    trendOf(
      series((minute) => 500 - minute),
      BOUND,
    )?.bounded,
    true,
  );
});

test("a small amount may grow by more than its share", () => {
  assert.equal(
    trendOf(
      series((minute) => 1 + minute / 20),
      BOUND,
    )?.bounded,
    true,
  );
});

test("too few points have no trend", () => {
  assert.equal(
    trendOf(
      series(() => 1, 3),
      BOUND,
    ),
    undefined,
  );
  assert.equal(trendOf([], BOUND), undefined);
  assert.equal(
    trendOf(
      series(() => 1, 6),
      BOUND,
    )?.perHour,
    0,
  );
});
