import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decimalFault, isExactDouble } from "../../src/gateway/decimal-text.ts";
import { FORMATS, isDate, isDateTime } from "../../src/gateway/formats.ts";

describe("moments and days", () => {
  it("are taken where every engine holds them exactly", () => {
    for (const text of [
      "2025-06-30T12:00:00Z",
      "2025-06-30T23:59:59.999999Z",
      "2025-06-30T00:00:00.1234560000Z",
      "2025-06-30T12:00:00-00:00",
      "2024-02-29T12:00:00+14:00",
      "2000-02-29T12:00:00Z",
      "0001-01-01T00:00:00Z",
      "0001-01-01T00:00:00-23:59",
      "9999-12-31T23:59:59.999999Z",
    ]) {
      assert.ok(isDateTime(text), text);
    }
    for (const text of ["2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31"]) assert.ok(isDate(text), text);
  });

  it("are refused where one engine reads them differently, rounds them or has no such time", () => {
    for (const text of [
      "2025-06-30T12:00:00", // whose time?
      "2025-06-30T12:00Z",
      "2025-06-30 12:00:00Z",
      "2025-06-30t12:00:00z",
      "2025-06-30T12:00:00.1234567Z",
      "2025-06-30T12:00:00.Z",
      "2025-06-30T23:59:60Z",
      "2025-06-30T24:00:00Z",
      "2025-06-31T12:00:00Z",
      "2023-02-29T12:00:00Z",
      "1900-02-29T12:00:00Z",
      "2025-13-01T12:00:00Z",
      "2025-00-01T12:00:00Z",
      "2025-01-00T12:00:00Z",
      "0000-01-01T00:00:00Z",
      "0001-01-01T00:00:00+00:01", // in UTC still the year 0
      "9999-12-31T23:59:59-00:01", // in UTC already the year 10000
      "2025-06-30T12:00:00+24:00",
      "2025-06-30T12:00:00+0200",
      " 2025-06-30T12:00:00Z",
      "2025-06-30T12:00:00Z\n",
      "epoch",
    ]) {
      assert.ok(!isDateTime(text), text);
    }
    for (const text of [
      "2023-02-29",
      "1900-02-29",
      "2025-04-31",
      "0000-01-01",
      "2025-1-1",
      "2025-01-01Z",
      "infinity",
    ]) {
      assert.ok(!isDate(text), text);
    }
  });

  it("stand beside the formats of JSON Schema", () => {
    assert.ok(FORMATS.get("uuid")?.("8c4b6ad5-3c4f-4d0b-9a57-0f2a6f7e3c11"));
    assert.ok(!FORMATS.get("uuid")?.("8c4b6ad5"));
    assert.ok(FORMATS.get("email")?.("a@example.com") && !FORMATS.get("email")?.("a@"));
    assert.ok(FORMATS.get("uri")?.("https://example.com/a?b#c") && !FORMATS.get("uri")?.("a b"));
  });
});

describe("decimals", () => {
  it("fit by their digits, as a number or as a string", () => {
    for (const value of [0, -0, 12.5, -99999.99, 0.01, "12.50", "-0.00", "0012.5", "9999999999.99", "-9999999999.99"]) {
      assert.equal(decimalFault(value, 12, 2), undefined, String(value));
    }
    assert.equal(decimalFault(0.0000001, 10, 10), undefined);
    assert.equal(decimalFault("0.5", 1, 1), undefined);
    assert.equal(decimalFault("99999999999999999999999999999999999999", 38, 0), undefined);
  });

  it("are refused with what is too much", () => {
    const cases: readonly (readonly [unknown, RegExp])[] = [
      [true, /a number or a string/],
      ["", /written like/],
      [".5", /written like/],
      ["5.", /written like/],
      ["+5", /written like/],
      ["1e3", /written like/],
      ["1_000", /written like/],
      [" 1", /written like/],
      [1.005, /at most 2 decimals/],
      ["1.000", /at most 2 decimals/],
      [1e-7, /at most 2 decimals/],
      ["12345678901", /at most 10 digits before the point/],
      [1e21, /at most 10 digits before the point/],
    ];
    for (const [value, fault] of cases) assert.match(decimalFault(value, 12, 2) ?? "", fault, String(value));
    assert.match(
      decimalFault(12345678901234, 18, 2) ?? "",
      /must be sent as a string to keep its digits \(like "12345678901234"\)/,
    );
  });

  it("of numbers are exact when their double writes the same digits", () => {
    for (const source of ["1.10", "1e2", "-0.0", "0.1", "123456789012345", "1.5E-3", "0.30000000000000004"]) {
      assert.ok(isExactDouble(source), source);
    }
    for (const source of ["1.1000000000000000001", "9007199254740993", "1e-400", "0.123456789012345678"]) {
      assert.ok(!isExactDouble(source), source);
    }
  });
});
