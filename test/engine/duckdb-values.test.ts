import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type DuckdbEngine, openDuckdbEngine } from "../../src/engine/duckdb-engine.ts";
import { dateText, durationText, instantText } from "../../src/engine/value-text.ts";

let dir: string;
let engine: DuckdbEngine;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "engine-values-"));
  engine = await openDuckdbEngine({ memoryBytes: 512 * 2 ** 20, threads: 2, tempDir: dir, allowedDirs: [] });
});
after(async () => {
  await engine.close();
  await rm(dir, { recursive: true, force: true });
});

async function all(sql: string): Promise<unknown[][]> {
  const rows: unknown[][] = [];
  for await (const batch of (await engine.query({ sql, inputs: new Map() })).batches) rows.push(...batch);
  return rows;
}

/** SQL expression -> JSON value. */
const VALUES: [sql: string, value: unknown][] = [
  ["true", true],
  ["(-128)::tinyint", -128],
  ["255::utinyint", 255],
  ["(-32768)::smallint", -32768],
  ["65535::usmallint", 65535],
  ["(-2147483648)::integer", -2147483648],
  ["4294967295::uinteger", 4294967295],
  ["9007199254740991", 9007199254740991],
  ["-9007199254740991", -9007199254740991],
  ["9007199254740992", "9007199254740992"],
  ["-9223372036854775808", "-9223372036854775808"],
  ["18446744073709551615::ubigint", "18446744073709551615"],
  ["5::hugeint", 5],
  ["(-170141183460469231731687303715884105727)::hugeint", "-170141183460469231731687303715884105727"],
  ["340282366920938463463374607431768211455::uhugeint", "340282366920938463463374607431768211455"],
  ["0.1::float", 0.1],
  ["16777217::float", 16777216],
  ["1e-30::float", 1e-30],
  ["0.1::double", 0.1],
  ["'nan'::double", "NaN"],
  ["'-inf'::float", "-Infinity"],
  ["1e400", "Infinity"],
  ["1.50::decimal(4,2)", "1.50"],
  ["(-0.05)::decimal(9,2)", "-0.05"],
  ["12345678901.234567::decimal(18,6)", "12345678901.234567"],
  ["(-99999999999999999999999999999999999.999)::decimal(38,3)", "-99999999999999999999999999999999999.999"],
  ["7::decimal(38,0)", "7"],
  ["date '2024-02-29'", "2024-02-29"],
  ["date '0001-01-01'", "0001-01-01"],
  ["date '0044-03-15 (BC)'", "-000043-03-15"],
  ["date '12000-01-01'", "+012000-01-01"],
  ["date '-infinity'", "-infinity"],
  ["timestamptz '2024-01-01 02:00:00+02'", "2024-01-01T00:00:00.000Z"],
  ["timestamptz '2024-01-01 00:00:00.120+00'", "2024-01-01T00:00:00.120Z"],
  ["timestamptz '1969-12-31 23:59:59.999999+00'", "1969-12-31T23:59:59.999999Z"],
  ["timestamptz '290000-01-01 00:00:00.000001+00'", "+290000-01-01T00:00:00.000001Z"],
  ["timestamptz 'infinity'", "infinity"],
  ["timestamp '2024-01-01 00:00:00'", "2024-01-01T00:00:00.000Z"],
  ["'2024-01-01 00:00:00'::timestamp_s", "2024-01-01T00:00:00.000Z"],
  ["'2024-01-01 00:00:00.005'::timestamp_ms", "2024-01-01T00:00:00.005Z"],
  ["'1969-12-31 23:59:59.123456789'::timestamp_ns", "1969-12-31T23:59:59.123456789Z"],
  ["time '01:02:03'", "01:02:03"],
  ["time '01:02:03.000004'", "01:02:03.000004"],
  ["interval '14 months 3 days 01:02:03.5'", "P1Y2M3DT1H2M3.5S"],
  ["interval '0 days'", "PT0S"],
  ["uuid 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
  ["uuid '00000000-0000-0000-0000-000000000001'", "00000000-0000-0000-0000-000000000001"],
  ["''", ""],
  ["'twelve chars'", "twelve chars"],
  ["'thirteen char'", "thirteen char"],
  ["chr(65279) || 'a byte order mark stays'", "\u{feff}a byte order mark stays"],
  ["'nul' || chr(0) || 'nul'", "nul\0nul"],
  ["repeat('\u{1f600}', 5000)", "\u{1f600}".repeat(5000)],
  ["'\\x00\\xFF'::blob", "AP8="],
  ["'101'::bit", "101"],
  ["'b'::enum('a', 'b')", "b"],
  ["[1, null, 3]", [1, null, 3]],
  ["[[]::varchar[], null, ['long enough to be no inline text']]", [[], null, ["long enough to be no inline text"]]],
  ["{'a': 1, 'b c': {'d': null}}", { a: 1, "b c": { d: null } }],
  ["{'__proto__': 1}", Object.fromEntries([["__proto__", 1]])],
  ["null::struct(a integer)", null],
  ["row(1, 'x')", [1, "x"]],
  ["map {'k': [1], 'l': null}", { k: [1], l: null }],
  ["map {1: 2}", { 1: 2 }],
  ["map {date '2024-01-01': 1}", { "2024-01-01": 1 }],
  ["union_value(a := 5)", 5],
  ["'{\"b\": [1,  2]}'::json", '{"b": [1,  2]}'],
  ["123456789012345678901234567890::bignum", "123456789012345678901234567890"],
  ["time_ns '01:02:03.123456789'", "01:02:03.123456789"],
  ["null", null],
];

for (const [sql, value] of VALUES) {
  test(`${sql.slice(0, 60)} comes as JSON`, async () => {
    assert.deepEqual(
      await all(`select ${sql}, ${sql.includes("(BC)") ? "1" : `[${sql}]`}`).then(([row]) => row?.[0]),
      value,
    );
    // The same among nulls, and in a vector of more than one chunk.
    const column = await all(`select case when i % 3 = 0 then null else ${sql} end from range(5000) t(i)`);
    for (const row of [3, 4, 2047, 2048, 4999]) assert.deepEqual(column[row], [row % 3 === 0 ? null : value]);
  });
}

test("every day of eight centuries, and every kind of fraction, reads as Date reads it", () => {
  for (let day = -200_000; day < 100_000; day++) {
    assert.equal(dateText(day), new Date(day * 86_400_000).toISOString().slice(0, 10));
  }
  for (const ms of [0, 1, -1, 999, 1000, -62_135_596_800_000, 253_402_300_799_999]) {
    assert.equal(instantText(BigInt(ms), 3), new Date(ms).toISOString());
    assert.equal(instantText(BigInt(ms) * 1000n, 6), new Date(ms).toISOString());
  }
});

test("arrays of a fixed length come as arrays", async () => {
  const rows = await all("select array_value(i::double, null), [array_value('a', 'b')] from range(3000) t(i)");
  assert.deepEqual(rows[2999], [[2999, null], [["a", "b"]]]);
});

test("negative and mixed durations keep their signs", () => {
  assert.equal(durationText(-14, 3, -3_723_000_001n), "P-1Y-2M3DT-1H-2M-3.000001S");
});

test("texts of every length and order come out whole, from several chunks at a time", async () => {
  const rows = await all(
    "select i, repeat(chr((97 + i % 26)::int), (i * 7919 % 60)::int) from range(20000) t(i) order by hash(i)",
  );
  assert.equal(rows.length, 20000);
  for (const [i, text] of rows as [number, string][]) {
    assert.equal(text, String.fromCharCode(97 + (i % 26)).repeat((i * 7919) % 60));
  }
});

test("converting keeps the event loop free", async () => {
  const result = await engine.query({
    sql: "select i, i * 1.5, 'text number ' || i, timestamptz '2024-01-01' + interval (i) seconds from range(300000) t(i)",
    inputs: new Map(),
  });
  const gaps: number[] = [];
  let cells = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    gaps.push(performance.now() - last);
    last = performance.now();
  }, 1);
  for await (const batch of result.batches) cells += batch.length * 4;
  clearInterval(timer);
  assert.equal(cells, 1_200_000);
  // The machine may be busy with other things now and then; most of the time there is nothing to wait for.
  const usual = gaps.sort((a, b) => a - b)[Math.floor(gaps.length * 0.9)] ?? 0;
  assert.ok(usual < 30, `the loop stood still for ${usual} ms`);
});
