/** Pieces of the console that are plain functions. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { stepsOf } from "../../packages/console/src/pages/ledger/steps.ts";
import { faultIn } from "../../packages/console/src/pages/letters/fault.ts";
import { bind, parametersOf } from "../../packages/console/src/pages/sql/parameters.ts";
import { exampleOf } from "../../packages/console/src/pages/streams/example.ts";

test("parameters are found where a value can go, each once, and nowhere else", () => {
  const sql = "select '$no', \"$neither\", $day /* $nor */ from t where a = $country and b = $day -- $never";
  assert.deepEqual(parametersOf(sql), ["day", "country"]);
  assert.deepEqual(bind(sql, { day: "2026-01-05", country: "DE" }), {
    sql: "select '$no', \"$neither\", $1 /* $nor */ from t where a = $2 and b = $1 -- $never",
    params: ["2026-01-05", "DE"],
  });
});

test("a parameter's text is a number where it reads as one, and null where it is empty", () => {
  const { params } = bind("select $a, $b, $c, $d, $e", {
    a: "12.5",
    b: "",
    c: "007",
    d: "12345678901234567890",
    e: "-3",
  });
  assert.deepEqual(params, [12.5, null, "007", "12345678901234567890", -3]);
});

test("the fault of a payload is marked by its pointer, however deep and whatever stands before it", () => {
  const payload = '{"a": "}{", "b": [1, {"c d": "\\"x"}, 3], "country": {"code": 7}}';
  const marked = (message: string) => {
    const fault = faultIn(payload, message);
    return fault && payload.slice(fault.from, fault.to);
  };
  assert.equal(marked('"/country" must be a string, got an object'), '{"code": 7}');
  assert.equal(marked('"/country/code" must be a string'), "7");
  assert.equal(marked('"/b/1/c d" must be a number'), '"\\"x"');
  assert.equal(marked('"/nowhere" must be there'), undefined);
});

test("a fault by its byte is marked at its character, also behind others that take several bytes", () => {
  const payload = '{"näme": "€", x}';
  const at = Buffer.byteLength('{"näme": "€", ');
  const fault = faultIn(payload, `not valid JSON: at byte ${at} a name was expected`);
  assert.equal(fault && payload.slice(fault.from, fault.to), "x");
});

test("an example has what the contract requires, within its limits", () => {
  const example = exampleOf({
    type: "object",
    properties: {
      id: { type: "string", minLength: 12 },
      kind: { enum: ["a", "b"] },
      amount: { type: "number", exclusiveMinimum: 100 },
      small: { type: "integer", maximum: 3 },
      at: { type: "string", format: "date-time" },
      tags: { type: "array", items: { type: "string" }, minItems: 2 },
      left: { type: "string" },
    },
    required: ["id", "kind", "amount", "small", "at", "tags"],
  }) as Record<string, unknown>;
  assert.deepEqual(Object.keys(example), ["id", "kind", "amount", "small", "at", "tags"]);
  assert.ok((example["id"] as string).length >= 12);
  assert.ok((example["amount"] as number) > 100);
  assert.ok((example["small"] as number) <= 3);
  assert.ok(!Number.isNaN(Date.parse(example["at"] as string)));
  assert.equal((example["tags"] as string[]).length, 2);
});

test("a hop over time: what came in each step, as before where nothing was written, and nothing made up at the beginning or by a replay", () => {
  const point = (atMs: number, stored: number, balanced = true) => ({
    ...{ atMs, accepted: stored, stored, duplicate: 0, filtered: 0, deadLettered: 0, pending: atMs, balanced },
  });
  const told = (points: Parameters<typeof stepsOf>[0]) =>
    stepsOf(points, 100, 10, 145).map(({ became, balanced }) => [became.stored, balanced]);
  assert.deepEqual(told([point(60, 5), point(110, 8, false), point(130, 9)]), [
    [0, true],
    [3, false],
    [0, false],
    [1, true],
    [0, true],
  ]);
  assert.deepEqual(
    told([point(110, 1_000), point(120, 1_001), point(130, 20)]).map(([stored]) => stored),
    [0, 0, 1, 0, 0],
  );
  assert.deepEqual(told([point(141, 7), point(143, 9)]).at(-1), [2, true]);
  assert.deepEqual(told([]).length, 5);
});
