import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { encodeIndexLine, parseIndexLine } from "../../src/log/index-line.ts";

const count = fc.maxSafeNat();
const crc32 = fc.integer({ min: 0, max: 0xffffffff });
const fields = {
  from: count,
  count,
  at: count,
  bytes: count,
  crc: fc.option(crc32, { nil: undefined }),
  receivedAtMs: count,
  source: fc.string({ unit: "binary", maxLength: 200 }),
  group: count,
};
const line = fc.record(fields, { noNullPrototype: true });

it("reads every index line as it was written, and writes it as plain JSON", () => {
  fc.assert(
    fc.property(line, fc.nat(30), (line, before) => {
      const text = encodeIndexLine(line);
      assert.ok(text.endsWith("}\n") && text.indexOf("\n") === text.length - 1);
      assert.equal(JSON.parse(text).source, line.source);
      const buffer = Buffer.from(" ".repeat(before) + text);
      assert.deepEqual(parseIndexLine(buffer, before, buffer.length - 1), line);
    }),
  );
});

it("takes no line in which a bit was flipped, or of which a part is missing", () => {
  fc.assert(
    fc.property(line, fc.nat(), fc.nat(7), (line, place, bit) => {
      const buffer = Buffer.from(encodeIndexLine(line));
      const end = buffer.length - 1;
      const at = place % end;
      assert.equal(parseIndexLine(buffer, 0, at), undefined, "cut off");
      assert.equal(parseIndexLine(buffer, at + 1, end), undefined, "beginning lost");
      buffer[at]! ^= 1 << bit;
      assert.equal(parseIndexLine(buffer, 0, end), undefined, "flipped");
    }),
    { numRuns: 500 },
  );
});
