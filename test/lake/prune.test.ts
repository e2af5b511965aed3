import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Column, ColumnType } from "../../src/define/project.ts";
import { compareCodePoints } from "../../src/lake/bounds.ts";
import { AddedFile } from "../../src/lake/data-file.ts";
import type { DataFile } from "../../src/lake/delta-table.ts";
import { writeStats } from "../../src/lake/file-stats.ts";
import { type Predicate, pruneFiles } from "../../src/lake/prune.ts";

/** A type's values as an engine gives them, with the order of SQL among them. */
interface Domain {
  readonly type: ColumnType;
  readonly values: fc.Arbitrary<unknown>;
  compare(a: never, b: never): number;
}

const instant = fc.bigInt({ min: -62_135_596_800_000_000n, max: 253_402_300_799_999_999n }).map(microsText);
const nearInstant = fc.bigInt({ min: 1_767_225_599_998_000n, max: 1_767_225_600_003_000n }).map(microsText);
const prefix = "a prefix that is longer than the 32 characters kept ";
const text = fc.oneof(
  fc.string({ unit: "binary" }).filter((s) => s.isWellFormed()),
  fc.constantFrom("", "10", "9", "2026-01-31", "2026-01-31T00:00:00Z", "true", "\u{10FFFF}", "\uFFFD", "😀", "\uE000"),
  fc
    .tuple(fc.constantFrom(prefix, `${prefix}x`, `${prefix.slice(0, 31)}\u{10FFFF}\u{10FFFF}`), fc.string())
    .map((p) => p.join("")),
);
const digits = (d: string) => BigInt(d.replace(".", ""));

const DOMAINS: Readonly<Record<string, Domain>> = {
  long: {
    type: { kind: "long" },
    values: fc.oneof(
      fc.integer(),
      fc.bigInt({ min: 2n ** 53n - 5n, max: 2n ** 53n + 9n }),
      fc.constantFrom(2n ** 63n - 1n, -(2n ** 63n)),
    ),
    compare: (a: number | bigint, b: number | bigint) => (a < b ? -1 : a > b ? 1 : 0),
  },
  double: {
    type: { kind: "double" },
    values: fc.oneof(
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.constantFrom(0.1, 0.2, 0.30000000000000004, 1e300),
    ),
    compare: (a: number, b: number) => a - b,
  },
  decimal: {
    type: { kind: "decimal", precision: 38, scale: 2 },
    values: fc
      .oneof(fc.bigInt({ min: -(10n ** 37n), max: 10n ** 37n }), fc.bigInt({ min: 0n, max: 300n }))
      .map(decimalText),
    compare: (a: string, b: string) => (digits(a) < digits(b) ? -1 : digits(a) > digits(b) ? 1 : 0),
  },
  string: {
    type: { kind: "string" },
    values: text,
    compare: (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b)),
  },
  timestamp: {
    type: { kind: "timestamp" },
    values: fc.oneof(instant, nearInstant),
    compare: (a: string, b: string) => compareMicros(a, b),
  },
  date: {
    type: { kind: "date" },
    values: fc
      .date({ min: new Date("0001-01-01"), max: new Date("9999-12-31"), noInvalidDate: true })
      .map((d) => d.toISOString().slice(0, 10)),
    compare: (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0),
  },
  boolean: {
    type: { kind: "boolean" },
    values: fc.boolean(),
    compare: (a: boolean, b: boolean) => Number(a) - Number(b),
  },
};

for (const [name, domain] of Object.entries(DOMAINS)) {
  const compare = domain.compare as (a: unknown, b: unknown) => number;
  const rows = fc.array(fc.option(domain.values, { freq: 6 }), { minLength: 1, maxLength: 6 });

  test(`no file that holds a matching row is left out, by statistics of a ${name}`, () => {
    fc.assert(
      fc.property(rows, fc.array(domain.values, { minLength: 1, maxLength: 3 }), (held, wanted) => {
        const file = fileWith(held, domain, compare);
        for (const predicate of predicatesOn(wanted.concat(held.filter((v) => v !== null)))) {
          const matching = held.filter((row) => meets(row, predicate, compare));
          if (matching.length > 0)
            assert.equal(pruneFiles([file], [predicate]).length, 1, show({ held, predicate, file }));
        }
      }),
      { numRuns: 300 },
    );
  });

  if (name !== "double")
    test(`no partition that holds a matching row is left out, by values of a ${name}`, () => {
      fc.assert(
        fc.property(
          fc.option(domain.values),
          fc.array(domain.values, { minLength: 1, maxLength: 3 }),
          (value, wanted) => {
            if (value === "") return;
            const text = value === null ? null : String(value);
            const file = { ...fileWith([], domain, compare), path: "p", partition: { c: text } } as DataFile;
            for (const predicate of predicatesOn(value === null ? wanted : [...wanted, value])) {
              if (meets(value, predicate, compare))
                assert.equal(pruneFiles([file], [predicate]).length, 1, show({ value, predicate }));
            }
          },
        ),
        { numRuns: 300 },
      );
    });
}

test("files that cannot hold a matching row are left out", () => {
  const day = (path: string, min: string, max: string) => statFile(path, { at: min }, { at: max });
  const files = [
    day("jan", "2026-01-01T00:00:00.000Z", "2026-01-31T23:59:59.999Z"),
    day("feb", "2026-02-01T00:00:00.000Z", "2026-02-28T23:59:59.999Z"),
    day("mar", "2026-03-01T00:00:00.000Z", "2026-03-31T23:59:59.999Z"),
  ];
  const kept = (...predicates: Predicate[]) => pruneFiles(files, predicates).map((f) => f.path);
  assert.deepEqual(
    kept(
      { column: "at", op: ">=", value: "2026-02-01T00:00:00.000Z" },
      { column: "at", op: "<", value: "2026-03-01T00:00:00.000Z" },
    ),
    ["feb"],
  );
  assert.deepEqual(kept({ column: "at", op: ">", value: "2026-04-01T00:00:00Z" }), []);
  assert.deepEqual(
    kept({ column: "at", op: "=", value: "2026-01-31T23:59:59.999500Z" }),
    ["jan"],
    "a maximum in milliseconds covers its microseconds",
  );
  assert.deepEqual(kept({ column: "at", op: "in", values: ["2026-01-15T00:00:00Z", "2026-03-15T00:00:00Z"] }), [
    "jan",
    "mar",
  ]);
  assert.deepEqual(kept({ column: "at", op: "in", values: [] }), []);
  assert.deepEqual(kept({ column: "unknown", op: "=", value: 1 }), ["jan", "feb", "mar"]);

  const numbers = [statFile("low", { n: 1 }, { n: 10 }), statFile("high", { n: 11 }, { n: 20 })];
  const hit = (op: "=" | "<" | "<=" | ">" | ">=", value: unknown) =>
    pruneFiles(numbers, [{ column: "n", op, value }]).map((f) => f.path);
  assert.deepEqual(hit("=", 10), ["low"]);
  assert.deepEqual(hit("<", 11), ["low"]);
  assert.deepEqual(hit("<=", 11), ["low", "high"]);
  assert.deepEqual(hit(">", 10), ["high"]);
  assert.deepEqual(hit(">=", 10n), ["low", "high"]);
  assert.deepEqual(hit("=", "15"), ["high"]);
  assert.deepEqual(hit("=", 21), []);

  const countries = ["DE", "FR", null].map((c) => ({ ...statFile(String(c), {}, {}), partition: { country: c } }));
  assert.deepEqual(
    pruneFiles(countries, [{ column: "country", op: "=", value: "FR" }]).map((f) => f.path),
    ["FR"],
  );
  assert.deepEqual(
    pruneFiles(countries, [{ column: "country", op: "is null" }]).map((f) => f.path),
    ["null"],
  );
  assert.deepEqual(
    pruneFiles(countries, [{ column: "country", op: "is not null" }]).map((f) => f.path),
    ["DE", "FR"],
  );
  assert.deepEqual(
    pruneFiles(countries, [{ column: "country", op: ">", value: "E" }]).map((f) => f.path),
    ["FR"],
  );
});

test("files without statistics always stay", () => {
  const bare: DataFile = { path: "x", sizeBytes: 1, modifiedAtMs: 0, partition: {}, stats: undefined };
  for (const predicate of predicatesOn([1, "a"])) assert.equal(pruneFiles([bare], [predicate]).length, 1);
});

test("statistics of a maximum that another writer cut without raising it keep the file", () => {
  const cut = "x".repeat(32);
  const file = statFile("f", { s: "a" }, { s: cut });
  assert.equal(pruneFiles([file], [{ column: "s", op: "=", value: `${cut}yz` }]).length, 1);
  assert.equal(pruneFiles([file], [{ column: "s", op: "=", value: "y" }]).length, 0);
});

test("texts compare as their UTF-8 bytes do", () => {
  fc.assert(
    fc.property(text, text, (a, b) => {
      assert.equal(Math.sign(compareCodePoints(a, b)), Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
  );
});

function predicatesOn(values: readonly unknown[]): Predicate[] {
  const column = "c";
  const ops = ["=", "<", "<=", ">", ">="] as const;
  return [
    ...values.flatMap((value) => ops.map((op): Predicate => ({ column, op, value }))),
    { column, op: "in", values },
    { column, op: "is null" },
    { column, op: "is not null" },
  ];
}

function meets(row: unknown, predicate: Predicate, compare: (a: unknown, b: unknown) => number): boolean {
  if (predicate.op === "is null") return row === null;
  if (row === null) return false;
  switch (predicate.op) {
    case "is not null":
      return true;
    case "in":
      return predicate.values.some((value) => compare(row, value) === 0);
    case "=":
      return compare(row, predicate.value) === 0;
    case "<":
      return compare(row, predicate.value) < 0;
    case "<=":
      return compare(row, predicate.value) <= 0;
    case ">":
      return compare(row, predicate.value) > 0;
    case ">=":
      return compare(row, predicate.value) >= 0;
  }
}

/** Through the JSON of the log and back, as every file of a table comes. */
function fileWith(rows: readonly unknown[], { type }: Domain, compare: (a: unknown, b: unknown) => number): DataFile {
  const columns: Column[] = [{ name: "c", type, nullable: true }];
  const values = rows.filter((row) => row !== null).sort(compare);
  const stats = {
    rowCount: rows.length,
    min: values.length > 0 ? { c: values[0] } : {},
    max: values.length > 0 ? { c: values.at(-1) } : {},
    nullCount: { c: rows.length - values.length },
  };
  const statsText = writeStats(stats, columns);
  return new AddedFile({ path: "f", sizeBytes: 1, modifiedAtMs: 0, partition: {}, statsText, dataChange: true });
}

function statFile(path: string, min: Record<string, unknown>, max: Record<string, unknown>): DataFile {
  return { path, sizeBytes: 1, modifiedAtMs: 0, partition: {}, stats: { rowCount: 9, min, max, nullCount: {} } };
}

function microsText(micros: bigint): string {
  const ms = micros >= 0n ? micros / 1000n : -((-micros + 999n) / 1000n);
  const rest = String(micros - ms * 1000n).padStart(3, "0");
  const iso = new Date(Number(ms)).toISOString();
  return rest === "000" ? iso : iso.replace("Z", `${rest}Z`);
}

function compareMicros(a: string, b: string): number {
  const key = (s: string) => s.replace("Z", "").padEnd(26, "0");
  return key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0;
}

function decimalText(unscaled: bigint): string {
  const whole = String(unscaled < 0n ? -unscaled : unscaled).padStart(3, "0");
  return `${unscaled < 0n ? "-" : ""}${whole.slice(0, -2)}.${whole.slice(-2)}`;
}

function show(value: unknown): string {
  return JSON.stringify(value, (_, v: unknown) => (typeof v === "bigint" ? `${v}n` : v));
}
