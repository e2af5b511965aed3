import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { quickFields } from "../../src/flow/quick-fields.ts";

const read = quickFields(["id", "at"]);

test("fields that stand there plainly are read", () => {
  assert.deepEqual(read('{"id":"a-1","n":{"id":2},"at":"2026-01-01"}'), undefined, "a second one may be meant");
  assert.deepEqual(read('{"id":"a-1","at":"2026-01-01","n":{"x":2}}'), { id: "a-1", at: "2026-01-01" });
  assert.deepEqual(read('{"n":"\\"id\\":\\"b\\"","at":"x","id":"ü"}'), { id: "ü", at: "x" });
});

test("what is read is what parsing gives, and whatever is not certain is left to it", () => {
  const key = fc.oneof(fc.constantFrom("id", "at", 'x"id', "n", '{"id":"'), fc.string({ maxLength: 4 }));
  const text = fc.oneof(fc.string({ maxLength: 8 }), fc.constantFrom('"id":"z"', "{", "\\", '\\"at":"', "}"));
  const leaf = fc.oneof(text, fc.integer(), fc.constant(null), fc.boolean());
  const value = fc.oneof(leaf, fc.dictionary(key, leaf, { maxKeys: 3 }), fc.array(leaf, { maxLength: 2 }));
  let certain = 0;
  const event = fc.record({ id: text, at: text, rest: fc.dictionary(key, value, { maxKeys: 4 }), first: fc.boolean() });
  fc.assert(
    fc.property(event, fc.boolean(), ({ id, at, rest, first }, lacks) => {
      const own = lacks ? { id } : { id, at };
      const line = JSON.stringify(first ? { ...own, ...rest } : { ...rest, ...own });
      const found = read(line);
      if (found === undefined) return;
      certain++;
      const parsed = JSON.parse(line) as Record<string, unknown>;
      assert.deepEqual({ ...found }, { id: parsed["id"], at: parsed["at"] });
    }),
    { numRuns: 5_000 },
  );
  assert.ok(certain > 200, `${certain}`);
});
