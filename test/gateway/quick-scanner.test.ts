import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { z } from "zod";
import type { Contract } from "../../src/define/contract.ts";
import { readContract } from "../../src/define/contract.ts";
import type { Stream } from "../../src/define/project.ts";
import { EventJudge } from "../../src/gateway/event-judge.ts";
import { quickScan } from "../../src/gateway/quick-scanner.ts";
import { eventText, everyKind, members, validMembers } from "./event-texts.ts";

function judgeOf(schema: z.ZodObject, maxNesting = 64): EventJudge {
  const { columns, jsonSchema } = readContract(schema, "stream") as Contract;
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
  return new EventJudge(stream, { maxEventBytes: 1_000_000, maxNesting });
}

/** Where the quick scanner says the event ends, with other events before and after it; -1 when it is not sure. */
function quickEnd(judge: EventJudge, text: string): number {
  assert.ok(judge.plan, "the contract has a plan");
  const before = '{"x":1}\n';
  const bytes = Buffer.from(`${before}${text}\n{"y":2}`, "utf8");
  const body = { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length) };
  const end = quickScan(judge.plan, body, before.length);
  // At the very end of a body it must say the same, or not be sure.
  const alone = Buffer.from(text, "utf8");
  const last = quickScan(
    judge.plan,
    { bytes: alone, view: new DataView(alone.buffer, alone.byteOffset, alone.length) },
    0,
  );
  assert.ok(last === -1 || last === end - before.length, `${last} at the end, ${end - before.length} before more`);
  return end < 0 ? -1 : end - before.length;
}

function exact(judge: EventJudge, text: string): string | undefined {
  const bytes = Buffer.from(text, "utf8");
  return judge.judge(bytes, 0, bytes.length)?.message;
}

const judge = judgeOf(everyKind);

describe("the quick scanner", () => {
  it("takes no event that the exact way refuses, and sees the same end", () => {
    let taken = 0;
    fc.assert(
      fc.property(eventText, (text) => {
        const end = quickEnd(judge, text);
        if (end < 0) return;
        taken++;
        assert.equal(end, Buffer.byteLength(text));
        assert.equal(exact(judge, text), undefined, text);
      }),
      { numRuns: 6000 },
    );
    assert.ok(taken > 600, `only ${taken} of 6000 were taken, so little was compared`);
  });

  it("takes no value of any field that the exact way refuses", () => {
    for (const [name, values] of Object.entries(members)) {
      let taken = 0;
      for (const value of fc.sample(values, 400)) {
        const text = `{${Object.entries({ ...validMembers, [name]: value })
          .map(([key, member]) => `"${key}":${member}`)
          .join(",")}}`;
        if (quickEnd(judge, text) < 0) continue;
        taken++;
        assert.equal(exact(judge, text), undefined, text);
      }
      assert.ok(taken > 0, `no value of ${name} was taken`);
    }
  });

  it("takes no event with a byte changed that the exact way refuses", () => {
    const text = Buffer.from(
      `{${Object.entries(validMembers)
        .map(([name, value]) => `"${name}":${value}`)
        .join(",")},"tags":["a"],"free":{"b":[1]},"other":2}`,
    );
    assert.equal(quickEnd(judge, text.toString()), text.length);
    for (let at = 0; at < text.length; at++) {
      for (const byte of [0x00, 0x0a, 0x20, 0x22, 0x2c, 0x2d, 0x2e, 0x30, 0x39, 0x3a, 0x5c, 0x5d, 0x61, 0x65, 0x7d]) {
        const changed = Buffer.from(text);
        changed[at] = byte;
        const copy = changed.toString("latin1");
        if (quickEnd(judge, copy) < 0) continue;
        // It may end earlier than the line: then the reader sees no line feed there, and asks the exact way.
        const end = quickEnd(judge, copy);
        const refusal = exact(judge, Buffer.from(copy, "utf8").subarray(0, end).toString("utf8"));
        assert.equal(refusal, undefined, copy);
      }
    }
  });

  it("takes the usual: any order of keys, spaces after colons and commas, unnamed fields, free JSON", () => {
    const usual = [
      '{"id":"ab","at":"2025-06-30T12:00:00Z","day":null,"n":1,"i":2,"ok":true,"kind":"a","price":"12.50"}',
      '{"ok": false, "kind": "c", "price": 1, "i": 2, "n": -1.5, "day": "2024-02-29", "at": "2024-02-29T23:59:59.999999Z", "id": "é€"}',
      '{"id":"ab","at":"2025-06-30T12:00:00Z","day":null,"n":1,"i":2,"ok":true,"kind":"a","price":1.25,"more":{"a":[1,{"b":null}],"c":"d"},"and":[true,false]}',
      '{"id":"ab","at":"2025-06-30T12:00:00Z","day":null,"n":1,"i":2,"ok":true,"kind":"a","price":1.25,"rates":{"x":1,"y":2.5},"inner":{"x":1}}',
    ];
    for (const text of usual) assert.equal(quickEnd(judge, text), Buffer.byteLength(text), text);
  });

  it("is not sure of escapes, exponents, long numbers, a key twice, and a field that is missing", () => {
    const base = '"at":"2025-06-30T12:00:00Z","day":null,"n":1,"i":2,"ok":true,"kind":"a","price":1';
    assert.ok(quickEnd(judge, `{"id":"ab",${base}}`) > 0);
    for (const text of [
      `{"id":"a\\u0062",${base}}`,
      `{"i\\u0064":"ab",${base}}`,
      `{${base}}`,
      `{"id":"ab","id":"ab",${base}}`,
      `{"id":"ab",${base},"z":1,"z":1}`,
      `{"id":"ab",${base},"free":{"z":1,"z":1}}`,
      `{"id":"ab",${base},"above":1e2}`,
      `{"id":"ab",${base},"free":1234567890123456}`,
      `{"id":"ab",${base},"free":${"[".repeat(64)}${"]".repeat(64)}}`,
    ]) {
      assert.equal(quickEnd(judge, text), -1, text);
    }
  });

  it("has no plan for what it cannot judge: unions, tuples, multiples, patterns upon patterns", () => {
    for (const field of [
      z.union([z.string().min(2), z.string().max(1)]),
      z.tuple([z.number(), z.number()]),
      z.number().multipleOf(0.5),
    ]) {
      assert.equal(judgeOf(z.object({ field })).plan, undefined);
    }
  });
});
