import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import {
  type DuckDBConnection,
  type DuckDBDateValue,
  type DuckDBDecimalValue,
  DuckDBInstance,
  type DuckDBListValue,
  type DuckDBMapValue,
  type DuckDBStructValue,
  type DuckDBTimestampTZValue,
  type DuckDBValue,
  listValue,
} from "@duckdb/node-api";
import fc from "fast-check";
import { z } from "zod";
import { readContract } from "../../src/define/contract.ts";
import type { Column, ColumnType, Stream } from "../../src/define/project.ts";
import { jsonStructure } from "../../src/define/types.ts";
import { EventJudge } from "../../src/gateway/event-judge.ts";
import { eventText, everyKind, freeText, stringText } from "./event-texts.ts";
import { sharedData } from "./shared-data.ts";

/**
 * What the door lets in, the lake must convert exactly: for every event that passes, DuckDB's `from_json` gives the values that
 * are written in it, and never NULL for a value that is there.
 */
let instance: DuckDBInstance;
let duckdb: DuckDBConnection;

before(async () => {
  instance = await DuckDBInstance.create(":memory:");
  duckdb = await instance.connect();
  await duckdb.run("set TimeZone = 'UTC'");
});

after(() => {
  duckdb.closeSync();
  instance.closeSync();
});

interface Door {
  readonly columns: readonly Column[];
  readonly judge: EventJudge;
}

function doorOf(schema: z.ZodObject): Door {
  const contract = readContract(schema, "stream");
  assert.ok("columns" in contract, JSON.stringify(contract));
  const { columns, jsonSchema } = contract;
  const stream: Stream = {
    name: "s",
    columns,
    jsonSchema,
    id: [],
    key: undefined,
    time: undefined,
    horizonMs: 0,
    file: "s.ts",
  };
  return { columns, judge: new EventJudge(stream, { maxEventBytes: 1_000_000, maxNesting: 64 }) };
}

function passes({ judge }: Door, text: string): boolean {
  const bytes = Buffer.from(text, "utf8");
  return judge.judge(bytes, 0, bytes.length) === undefined;
}

/** Converts events in the lake's way and compares every value. */
async function compare({ columns }: Door, events: readonly string[]): Promise<void> {
  const sql = "select from_json(payload, $structure) from (select unnest($events::json[]) as payload)";
  const result = await duckdb.runAndReadAll(sql, { structure: jsonStructure(columns), events: listValue([...events]) });
  const rows = result.getRows();
  assert.equal(rows.length, events.length);
  const type: ColumnType = { kind: "struct", fields: columns };
  rows.forEach(([stored], index) => {
    const text = events[index] as string;
    const wanted = expected(type, JSON.parse(text), sourceOf(text));
    assert.deepEqual(kept(type, stored as DuckDBValue), wanted, text);
  });
}

/** The value an event means, in a form that can be compared. */
function expected(type: ColumnType, value: unknown, source: (value: unknown) => string): unknown {
  if (value === undefined || value === null) return null;
  switch (type.kind) {
    case "struct":
      return type.fields.map(({ name, type: field }) => [name, expected(field, own(value, name), source)]);
    case "array":
      return (value as unknown[]).map((element) => expected(type.element, element, source));
    case "map":
      return byKey(
        Object.entries(value as object).map(([key, member]) => [
          withoutMark(key),
          expected(type.value, member, source),
        ]),
      );
    case "timestamp":
      return microsOf(value as string);
    case "date":
      return BigInt(Date.parse(`${value as string}T00:00:00Z`) / 86_400_000);
    case "decimal":
      return decimalText(source(value), type.scale);
    case "long":
    case "integer":
      return BigInt(value as number);
    case "float":
      return positiveZero(Math.fround(value as number));
    case "double":
      return positiveZero(value as number);
    case "json":
      return zeros(value);
    default:
      return withoutMark(value);
  }
}

/** JavaScript puts keys that look like numbers first. */
function byKey(entries: unknown[][]): unknown[][] {
  return entries.sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
}

/** The binding drops a byte order mark at the beginning of a string that it reads; DuckDB itself keeps it. */
function withoutMark(text: unknown): unknown {
  return typeof text === "string" && text.startsWith("\ufeff") ? text.slice(1) : text;
}

/** What DuckDB stored, in the same form. */
function kept(type: ColumnType, value: DuckDBValue): unknown {
  if (value === null) return null;
  switch (type.kind) {
    case "struct":
      return type.fields.map(({ name, type: field }) => [
        name,
        kept(field, (value as DuckDBStructValue).entries[name] as DuckDBValue),
      ]);
    case "array":
      return (value as DuckDBListValue).items.map((item) => kept(type.element, item));
    case "map":
      return byKey((value as DuckDBMapValue).entries.map((entry) => [entry.key, kept(type.value, entry.value)]));
    case "timestamp":
      return (value as DuckDBTimestampTZValue).micros;
    case "date":
      return BigInt((value as DuckDBDateValue).days);
    case "decimal":
      return (value as DuckDBDecimalValue).toString();
    case "long":
    case "integer":
      return BigInt(value as bigint | number);
    case "double":
    case "float":
      return positiveZero(value as number);
    case "json":
      return zeros(JSON.parse(value as string));
    default:
      return value;
  }
}

function own(value: unknown, name: string): unknown {
  return Object.hasOwn(value as object, name) ? (value as Record<string, unknown>)[name] : undefined;
}

/** Minus zero is zero in both worlds, and only one of them keeps its sign in an integer's text. */
function positiveZero(value: number): number {
  return value === 0 ? 0 : value;
}

function zeros(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_key, member: unknown) => (Object.is(member, -0) ? 0 : member)));
}

/** Microseconds since the epoch, from the digits as they are written. */
function microsOf(text: string): bigint {
  const [, start, fraction = "", offset = "Z"] = /^(.{19})(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?$/.exec(
    text,
  ) as RegExpExecArray;
  const digits = fraction.padEnd(6, "0");
  assert.match(digits.slice(6), /^0*$/, `${text} has more than microseconds`);
  return BigInt(Date.parse(`${start}${offset}`)) * 1000n + BigInt(digits.slice(0, 6));
}

/** A decimal as DuckDB writes it, made from the digits as they are written. */
function decimalText(written: string, scale: number): string {
  const [, sign, whole = "", decimals = "", power = "0"] = /^(-?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/.exec(
    written,
  ) as RegExpExecArray;
  const shift = Number(power) + scale;
  const digits = `${whole}${decimals.padEnd(Math.max(shift, 0), "0")}`;
  const point = whole.length + shift;
  assert.match(digits.slice(Math.max(point, 0)), /^0*$/, `${written} has more than ${scale} decimals`);
  const unscaled = BigInt(point <= 0 ? 0 : digits.slice(0, point).padEnd(point, "0"));
  const text = String(unscaled).padStart(scale + 1, "0");
  const placed = scale === 0 ? text : `${text.slice(0, -scale)}.${text.slice(-scale)}`;
  return sign === "-" && unscaled !== 0n ? `-${placed}` : placed;
}

/** How the numbers of an event are written. Numbers of one value written in two ways are the same decimal, or none was let in. */
function sourceOf(text: string): (value: unknown) => string {
  const written = new Map<number, string>();
  const reviver = (_key: string, value: unknown, context?: { source?: string }): unknown => {
    if (typeof value === "number" && context?.source !== undefined) {
      const before = written.get(value);
      if (before === undefined || before.length > context.source.length) written.set(value, context.source);
    }
    return value;
  };
  JSON.parse(text, reviver as (key: string, value: unknown) => unknown);
  return (value) => (typeof value === "string" ? value : (written.get(value as number) as string));
}

describe("every event the door lets in", () => {
  it("is converted by the lake to the values written in it", async () => {
    const door = doorOf(everyKind);
    const events = fc.sample(eventText, 8_000).filter((text) => passes(door, text));
    assert.ok(events.length > 1000, `only ${events.length} of 8000 passed, so little was compared`);
    await compare(door, events);
  });

  it("keeps each field on its own: one event per edge case of every kind", async () => {
    const door = doorOf(
      z.object(Object.fromEntries(Object.entries(everyKind.shape).map(([name, type]) => [name, z.optional(type)]))),
    );
    for (const name of Object.keys(everyKind.shape)) {
      const arbitrary = eventText.map((text) => memberText(text, name)).filter((member) => member !== undefined);
      const events = fc.sample(arbitrary, { numRuns: 60 }).map((member) => `{${JSON.stringify(name)}:${member}}`);
      const passed = events.filter((text) => passes(door, text));
      await compare(door, passed);
    }
  });

  it("may have fields that are absent, null, or not in the contract, also ones that differ only in case", async () => {
    const door = doorOf(
      z.object({ a: z.int().nullish(), b: z.string().optional(), c: z.object({ d: z.json() }).optional() }),
    );
    const events = [
      "{}",
      '{"a":null}',
      '{"A":1}',
      '{"A":1,"a":2}',
      '{"a":2,"A":1}',
      '{"b":"x","z":[1,{}]}',
      '{"c":{"d":null}}',
      '{"c":{"D":1,"d":2}}',
      '{"\\u0061":3}',
      '{"c":{"d":{}},"":0}',
    ];
    for (const event of events) assert.ok(passes(door, event), event);
    await compare(door, events);
  });

  it("keeps free JSON, map keys and strings as they are meant", async () => {
    const door = doorOf(
      z.object({ s: z.string().optional(), j: z.json().optional(), m: z.record(z.string(), z.string()).optional() }),
    );
    const texts = fc
      .sample(fc.tuple(stringText, freeText), 3000)
      .map(([text, free]) => `{"s":${text},"j":${free},"m":{${text}:${text}}}`);
    const passed = texts.filter((text) => passes(door, text));
    assert.ok(passed.length > 1000);
    await compare(door, passed);
  });
});

/** The text of one member of an event that `eventText` wrote: it is valid JSON, or the member is not looked at. */
function memberText(text: string, name: string): string | undefined {
  try {
    const value = own(JSON.parse(text), name);
    return value === undefined ? undefined : JSON.stringify(value);
  } catch {
    return undefined;
  }
}

describe("the corpora", () => {
  it("the values of JSONTestSuite that pass are converted exactly, the rest is refused by name", async () => {
    const folder = sharedData("jsontestsuite");
    const door = doorOf(z.object({ j: z.json() }));
    const files = folder === undefined ? [] : readdirSync(join(folder, "test_parsing"));
    const passed: string[] = [];
    for (const file of files) {
      const text = readFileSync(join(folder as string, "test_parsing", file)).toString("utf8");
      const bytes = Buffer.from(`{"j":${text.trim().replaceAll(/[\r\n]/g, " ")}}`, "utf8");
      const refusal = door.judge.judge(bytes, 0, bytes.length);
      if (refusal === undefined) passed.push(bytes.toString("utf8"));
      else if (file.startsWith("y_")) assert.match(refusal.code, /^EVENT_(NOT_STORABLE|DUPLICATE_KEY|TOO_DEEP)$/, file);
    }
    assert.ok(folder === undefined || passed.length > 80);
    if (passed.length > 0) await compare(door, passed);
  });

  it("naughty strings come out as they went in, as text, as free JSON and as keys", async () => {
    const folder = sharedData("blns");
    const listed =
      folder === undefined
        ? ["ＮＵＬＬ", "‮test", "Ω≈ç√∫", "👩‍👩‍👧", "$(touch /tmp/x)", "\ufeff"]
        : (JSON.parse(readFileSync(join(folder, "blns.json"), "utf8")) as string[]);
    const door = doorOf(z.object({ s: z.string(), j: z.json(), m: z.record(z.string(), z.json()) }));
    const events = listed.map((text) => JSON.stringify({ s: text, j: { [text]: text }, m: { [text]: [text] } }));
    for (const event of events) assert.ok(passes(door, event), event);
    await compare(door, events);
  });
});
