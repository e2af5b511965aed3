import assert from "node:assert/strict";
import { test } from "node:test";
import { EventClock } from "../../examples/securecart/simulator/event-clock.ts";
import { traffic } from "../../examples/securecart/simulator/traffic.ts";
import { KINDS, type Kind, type SentEvent } from "../../examples/simulation/sent-event.ts";

const NOW_MS = Date.UTC(2026, 0, 15, 14, 30);

function run(options: { seed?: number; rate?: number; count: number }): SentEvent[] {
  const { seed = 1, rate = 1_000, count } = options;
  const { opening, events } = traffic({ seed, rate, nowMs: NOW_MS });
  return [...opening, ...events.take(count)];
}

function fieldsOf(event: SentEvent): Record<string, unknown> {
  return JSON.parse(event.line) as Record<string, unknown>;
}

test("the same seed gives the same events byte for byte, another seed gives others", () => {
  const first = run({ seed: 42, count: 5_000 });
  assert.deepEqual(run({ seed: 42, count: 5_000 }), first);
  const other = new Set(run({ seed: 43, count: 5_000 }).map((e) => e.line));
  const shared = first.filter((e) => e.stream !== "countries" && e.stream !== "inventory" && other.has(e.line));
  assert.deepEqual(shared, []);
});

test("what a real shop sends is there: retries, late, broken and fraudulent events in their shares", () => {
  const events = run({ rate: 1_000, count: 60_000 });
  const share = Object.fromEntries(
    KINDS.map((k) => [k, events.filter((e) => e.kind === k).length / events.length]),
  ) as Record<Kind, number>;
  assert.ok(share.duplicate > 0.008 && share.duplicate < 0.012, `duplicates ${share.duplicate}`);
  assert.ok(share.malformed > 0.004 && share.malformed < 0.006, `malformed ${share.malformed}`);
  assert.ok(share.late > 0.001 && share.late < 0.02, `late ${share.late}`);
  assert.ok(share.failing_check > 0.0001 && share.failing_check < 0.002, `failing_check ${share.failing_check}`);
  assert.ok(share.fraud > 0, "no fraud burst");
});

test("a duplicate repeats the bytes of an earlier event, and nothing else shares an id", () => {
  const seen = new Map<string, string>();
  const id = { order_lines: "line_id", clicks: "click_id", payments: "payment_id" } as Record<string, string>;
  let duplicates = 0;
  for (const event of run({ count: 60_000 })) {
    if (event.kind === "malformed") continue;
    const fields = fieldsOf(event);
    const name = id[event.stream];
    const key = `${event.stream} ${name ? fields[name] : `${fields.stock_code ?? fields.country} ${fields.counted_at ?? fields.updated_at}`}`;
    if (event.kind === "duplicate") {
      duplicates++;
      assert.equal(seen.get(key), event.line);
    } else {
      assert.ok(!seen.has(key), `${key} came twice`);
      seen.set(key, event.line);
    }
  }
  assert.ok(duplicates > 100);
});

test("a malformed event breaks JSON, has an object for a value or misses its first field", () => {
  const first = {
    order_lines: "invoice_no",
    clicks: "click_id",
    payments: "payment_id",
    inventory: "stock_code",
    countries: "country",
  } as Record<string, string>;
  const ways = { broken: 0, wrongType: 0, missing: 0 };
  for (const event of run({ count: 60_000 }).filter((e) => e.kind === "malformed")) {
    let fields: Record<string, unknown>;
    try {
      fields = fieldsOf(event);
    } catch {
      ways.broken++;
      continue;
    }
    if (Object.values(fields).some((value) => typeof value === "object")) ways.wrongType++;
    else if (!((first[event.stream] as string) in fields)) ways.missing++;
    else assert.fail(`nothing is wrong with ${event.line}`);
  }
  assert.ok(Math.min(...Object.values(ways)) > 30, JSON.stringify(ways));
});

test("a stolen card pays dozens of times from abroad within one burst", () => {
  const cards = Map.groupBy(
    run({ count: 20_000 }).filter((e) => e.kind === "fraud"),
    (e) => fieldsOf(e).card_hash,
  );
  assert.ok(cards.size >= 1);
  for (const payments of cards.values()) {
    assert.ok(payments.length >= 30);
    const fields = payments.map(fieldsOf);
    assert.ok(fields.every((p) => p.ip_country !== p.card_country && (p.amount as number) < 3));
    assert.ok(fields.some((p) => p.status === "declined"));
  }
});

test("on a sale day five times as many events are due", () => {
  const due = run({ rate: 200, count: 12_000 }).map((e) => e.atSeconds);
  const within = (from: number, to: number) => due.filter((at) => at >= from && at < to).length;
  assert.ok(Math.abs(within(3, 8) - 1_000) <= 2, `${within(3, 8)} before the sale`);
  assert.ok(Math.abs(within(10, 15) - 5_000) <= 5, `${within(10, 15)} during the sale`);
  assert.ok(Math.abs(within(20, 25) - 1_000) <= 2, `${within(20, 25)} after the sale`);
});

test("a refund gives back lines of an order that was sold, with negative quantities", () => {
  const lines = run({ count: 40_000 })
    .filter((e) => e.stream === "order_lines" && (e.kind === "regular" || e.kind === "late"))
    .map(fieldsOf);
  const cancellations = lines.filter((l) => (l.invoice_no as string).startsWith("C"));
  const sold = new Set(lines.filter((l) => (l.quantity as number) > 0).map((l) => `${l.stock_code} ${l.unit_price}`));
  assert.ok(cancellations.length > 100);
  assert.ok(cancellations.every((l) => (l.quantity as number) < 0 && sold.has(`${l.stock_code} ${l.unit_price}`)));
});

test("the clock replays the days before, draws the rhythm of a day, and never runs ahead of real time", () => {
  const clock = new EventClock(NOW_MS, 7, 20);
  const times = Array.from({ length: 20_000 }, (_, i) => clock.at(i / 1_000));
  assert.equal(times[0], NOW_MS - 7 * 86_400_000);
  assert.ok(
    times.every((ms, i) => i === 0 || ms >= (times[i - 1] as number)),
    "time went back",
  );
  assert.ok(
    times.every((ms, i) => ms <= NOW_MS + i),
    "ahead of real time",
  );
  assert.equal(clock.at(20), NOW_MS + 20_000);
  assert.equal(clock.at(3_600), NOW_MS + 3_600_000);
  const middays = times.filter((ms) => [10, 11, 12, 13, 14, 15].includes(new Date(ms).getUTCHours())).length;
  assert.ok(Math.abs(middays / times.length - 0.757) < 0.02, `${middays / times.length} between 10 and 16 h`);
});

test("a run without history begins now", () => {
  const clock = new EventClock(NOW_MS, 0, 20);
  assert.equal(clock.at(0), NOW_MS);
  assert.equal(clock.at(1.5), NOW_MS + 1_500);
});
