import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { JsonScanner } from "../../src/gateway/json-scanner.ts";
import { judgedMessages } from "../../src/gateway/segment/message-lines.ts";
import { MessagePlan } from "../../src/gateway/segment/message-plan.ts";
import { MessageReader } from "../../src/gateway/segment/message-reader.ts";
import { judgeOf } from "../../src/gateway/segment/plan-judge.ts";
import type { StreamDoor } from "../../src/gateway/stream-door.ts";
import { segmentStream } from "./segment-stream.ts";

const NESTING = 8;
const stream = segmentStream();
const plan = MessagePlan.of(stream, NESTING);
const door = {
  stream,
  judge: judgeOf(stream, { maxEventBytes: 100_000, maxNesting: NESTING }),
  router: undefined,
} as unknown as StreamDoor;

/** What becomes of a body's messages: the stored ones as values, the refused ones as index, code and reason. */
function fates(body: Buffer, through: MessagePlan | undefined) {
  const reader = new MessageReader(body, through, new JsonScanner(NESTING), NESTING);
  reader.read(false);
  const limits = { maxMessageBytes: 5_000, maxEventBytes: 100_000, maxStoredBytes: 10_000_000 };
  const { runs, refused } = judgedMessages(reader, door, undefined, limits, () => "any");
  const lines = runs.flatMap(({ payload }) => Buffer.from(payload).toString().trimEnd().split("\n"));
  return {
    quick: reader.lacking.filter((lacks) => lacks >= 0).length,
    stored: lines.map((line) => JSON.parse(line) as unknown),
    refused: refused.map(({ index, code, message }) => ({ index, code, message })),
  };
}

const text = fc.oneof(
  { weight: 40, arbitrary: fc.constantFrom("a", "b c", "ü", "") },
  { weight: 1, arbitrary: fc.oneof(fc.constantFrom('"', "\ud800"), fc.string({ maxLength: 5 })) },
);
const maybeText = fc.oneof({ weight: 40, arbitrary: text }, { weight: 1, arbitrary: fc.constantFrom(null, 7) });
const value = fc.oneof(
  { weight: 30, arbitrary: fc.oneof(text, fc.integer()) },
  { weight: 1, arbitrary: fc.jsonValue() },
);
const free = fc.oneof(
  { weight: 20, arbitrary: fc.dictionary(fc.constantFrom("page", "ip", "ü"), value) },
  { weight: 1, arbitrary: fc.jsonValue() },
);
const messages = fc.record(
  {
    type: fc.oneof(
      { weight: 20, arbitrary: fc.constantFrom("track", "identify", "page", "screen", "group", "alias") },
      { weight: 1, arbitrary: fc.constantFrom("tracks", null, 1) },
    ),
    messageId: fc.oneof({ weight: 20, arbitrary: fc.uuid() }, { weight: 1, arbitrary: fc.constantFrom("", null) }),
    event: maybeText,
    userId: maybeText,
    anonymousId: maybeText,
    groupId: maybeText,
    previousId: maybeText,
    timestamp: maybeText,
    sentAt: maybeText,
    properties: free,
    context: free,
    integrations: free,
    others: value,
  },
  { requiredKeys: ["type"] },
);
const withSecrets = fc
  .tuple(messages, fc.constantFrom({ writeKey: "k" }, { planViolation: "v" }))
  .map(([m, s]) => ({ ...m, ...s }));
const anyMessage = fc.oneof({ weight: 20, arbitrary: messages }, { weight: 1, arbitrary: withSecrets });
const batches = fc.record(
  {
    batch: fc.array(anyMessage, { maxLength: 8 }),
    sentAt: maybeText,
    context: free,
    integrations: free,
    writeKey: text,
  },
  { requiredKeys: ["batch"] },
);

test("the quick way stores and refuses exactly what the exact way does", () => {
  assert.ok(plan !== undefined);
  let quick = 0;
  fc.assert(
    fc.property(batches, fc.constantFrom(undefined, undefined, undefined, 1), (body, indent) => {
      const bytes = Buffer.from(JSON.stringify(body, undefined, indent));
      const { quick: quickly, ...one } = fates(bytes, plan);
      const { quick: _none, ...other } = fates(bytes, undefined);
      quick += quickly;
      assert.deepEqual(one, other);
      assert.equal(one.stored.length + one.refused.length, body.batch.length);
      for (const stored of one.stored as Record<string, unknown>[]) {
        assert.ok(!("writeKey" in stored) && !("planViolation" in stored));
      }
    }),
    { numRuns: 1_000 },
  );
  assert.ok(quick > 500, `${quick} messages went the quick way`);
});
