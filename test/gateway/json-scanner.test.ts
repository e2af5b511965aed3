import assert from "node:assert/strict";
import { isUtf8 } from "node:buffer";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { JsonScanner } from "../../src/gateway/json-scanner.ts";
import { sharedData } from "./shared-data.ts";

const scanner = new JsonScanner(64);

function scanText(text: string, maxNesting = 64): { end: number; problem: string | undefined; at: number } {
  const bytes = Buffer.from(text, "utf8");
  const own = maxNesting === 64 ? scanner : new JsonScanner(maxNesting);
  return { end: own.scan(bytes, 0, bytes.length), problem: own.problem, at: own.at };
}

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe("the scanner and JSON.parse", () => {
  it("agree on every value that JSON.stringify writes, spaced or not, and end where it ends", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.constantFrom(undefined, 1, "\t"), (value, space) => {
        const text = JSON.stringify(value, null, space);
        const bytes = Buffer.from(`${text} ,rest`, "utf8");
        assert.equal(scanner.scan(bytes, 0, bytes.length), Buffer.byteLength(text));
        assert.equal(scanner.problem, undefined);
        assert.equal(scanner.ascii, /^[\x00-\x7f]*$/.test(text));
        assert.equal(scanner.lineBreaks, text.includes("\n"));
      }),
    );
  });

  it("agree on what is malformed, for values with a byte changed, left out or put in", () => {
    const noise = fc.constantFrom(...'{}[],:"\\ \n0123456789-+.eEtrufalsn\u0000\u001f\u007fé');
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 3 }), fc.nat(), noise, fc.nat(2), (value, place, char, kind) => {
        const text = JSON.stringify(value);
        const at = place % (text.length + 1);
        const changed = text.slice(0, at) + (kind === 2 ? "" : char) + text.slice(kind === 1 ? at : at + 1);
        const bytes = Buffer.from(changed.toWellFormed(), "utf8");
        const start = scanner.skipSpace(bytes, 0, bytes.length);
        const end = scanner.scan(bytes, start, bytes.length);
        const whole = end >= 0 && scanner.skipSpace(bytes, end, bytes.length) === bytes.length;
        assert.equal(whole, parses(changed.toWellFormed()), JSON.stringify(changed));
      }),
      { numRuns: 3000 },
    );
  });

  it("count the same keys when none stands twice, and more when one does", () => {
    const counted = (text: string) => {
      scanText(text);
      return scanner.keys;
    };
    assert.equal(counted('{"a":{"b":[{"c":1},{"c":2}]}}'), 4);
    assert.equal(counted('{"a":1,"a":2}'), 2);
  });
});

describe("a value the lake could not hold", () => {
  const cases: readonly (readonly [string, string, number])[] = [
    ['"\\ud800"', "lone-surrogate", 1],
    ['"x\\udc00\\ud800"', "lone-surrogate", 2],
    ['"\\ud800\\u0041"', "lone-surrogate", 1],
    ['{"\\ud800":1}', "lone-surrogate", 2],
    ['"a\\u0000"', "nul", 2],
    ["1e400", "number-not-finite", 0],
    ["-1e400", "number-not-finite", 0],
    [`1${"0".repeat(400)}`, "number-not-finite", 0],
    [`1${"0".repeat(400)}.5`, "number-not-finite", 0],
    ["9007199254740993", "integer-not-exact", 0],
    ["-9007199254740993", "integer-not-exact", 0],
    ["[1,12345678901234567891]", "integer-not-exact", 3],
  ];
  for (const [text, problem, at] of cases) {
    it(`${text.slice(0, 30)}: ${problem} at byte ${at}, and its end is known`, () => {
      assert.deepEqual(scanText(text), { end: text.length, problem, at });
    });
  }

  it("is told from one it can: pairs of surrogates, exact large integers, small numbers", () => {
    for (const text of [
      '"\\ud83d\\ude00"',
      "9007199254740992",
      "1180591620717411303424",
      "1e-400",
      "-0",
      "1e308",
      '"\\uFFFF"',
    ]) {
      assert.equal(scanText(text).problem, undefined, text);
    }
  });

  it("nests as deep as allowed and no deeper, without an end to the depth it can cross", () => {
    const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;
    assert.equal(scanText(nested(8), 8).problem, undefined);
    assert.deepEqual(scanText(nested(9), 8), { end: 18, problem: "too-deep", at: 8 });
    assert.equal(scanText(nested(200_000)).end, 400_000);
    assert.equal(scanText("[".repeat(200_000)).end, -1);
  });
});

describe("a malformed value", () => {
  const cases: readonly (readonly [string, number, string])[] = [
    ["", 0, "a value"],
    ["{", 1, "a key"],
    ["{a:1}", 1, "a key in double quotes"],
    ['{"a"}', 4, "a colon"],
    ['{"a":1,}', 7, "a key in double quotes"],
    ["[1,]", 3, "a value"],
    ["[1 2]", 3, "a comma or ]"],
    ["01", 1, ""],
    ["1.", 2, "a digit after the decimal point"],
    ["1e", 2, "a digit in the exponent"],
    ["-", 1, "a digit"],
    ['"a\nb"', 2, "no raw control character in a string"],
    ['"\\x"', 1, "an escape that JSON knows"],
    ['"\\u00g0"', 1, "four hexadecimal digits after \\u"],
    ['"abc', 4, "the end of a string"],
    ["trye", 2, '"true"'],
  ];
  for (const [text, at, expected] of cases) {
    it(`${JSON.stringify(text)} is found out at byte ${at}`, () => {
      const result = scanText(text);
      if (expected === "") assert.equal(result.end, at);
      else assert.deepEqual([result.end, result.at, scanner.expected], [-1, at, expected]);
    });
  }
});

describe("JSONTestSuite", () => {
  const folder = sharedData("jsontestsuite");
  const files = folder === undefined ? [] : readdirSync(join(folder, "test_parsing"));
  it("is judged as it says: y_ is JSON, n_ is not", () => {
    for (const file of files) {
      const bytes = readFileSync(join(folder as string, "test_parsing", file));
      const start = scanner.skipSpace(bytes, 0, bytes.length);
      const end = isUtf8(bytes) ? scanner.scan(bytes, start, bytes.length) : -1;
      const whole = end >= 0 && scanner.skipSpace(bytes, end, bytes.length) === bytes.length;
      if (file.startsWith("y_")) assert.ok(whole, file);
      if (file.startsWith("n_")) assert.ok(!whole, file);
      if (file.startsWith("i_") && isUtf8(bytes)) assert.equal(whole, parses(bytes.toString("utf8")), file);
    }
    assert.ok(folder === undefined || files.length > 300);
  });
});
