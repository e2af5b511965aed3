import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import * as z from "zod";
import { type KafkaTopicOptions, kafkaTopic } from "../../src/define/kafka-topic.ts";
import type { TopicSource } from "../../src/define/read-kafka-topic.ts";
import { readStream } from "../../src/define/read-stream.ts";
import { env } from "../../src/define/secret.ts";
import { stream } from "../../src/define/stream.ts";

const schema = z.object({
  id: z.string(),
  at: z.iso.datetime().optional(),
  number: z.int().optional(),
  gone: z.boolean().optional(),
});

function reading(options: object, topic = "billing.payments") {
  const from = kafkaTopic(topic, { brokers: "k:9092", ...options } as KafkaTopicOptions);
  return readStream(stream("payments", { schema, from }), "s.ts", 1000);
}

function read(options: object): TopicSource {
  const found = reading(options);
  if (!("columns" in found)) assert.fail(JSON.stringify(found));
  return found.from as TopicSource;
}

function problems(options: object, topic?: string): string[] {
  const found = reading(options, topic);
  if ("columns" in found) assert.fail("it was taken");
  return found.map(({ code, message }) => `${code}: ${message}`);
}

test("what is not said has its default", () => {
  const { brokers, ...rest } = read({});
  assert.equal(brokers.literal, "k:9092");
  assert.deepEqual(rest, {
    ...{ topic: "billing.payments", tls: undefined, sasl: undefined, group: undefined, start: "earliest" },
    ...{ format: "json", registry: undefined, fields: [], tombstones: "dead-letter" },
  });
});

test("brokers, times, fields and tombstones are read as they are meant", () => {
  assert.equal(read({ brokers: ["a:1", "[::1]:2"] }).brokers.literal, "a:1,[::1]:2");
  assert.equal(read({ brokers: env("B") }).brokers.variable, "B");
  assert.equal(read({ start: "2026-01-31T00:00:00Z" }).start, Date.UTC(2026, 0, 31));
  const { fields, tombstones } = read({
    fields: { id: "key", at: "timestamp", number: "header:n" },
    tombstones: { flag: "gone" },
  });
  assert.deepEqual(fields, [
    { field: "id", part: "key", header: "", text: true },
    { field: "at", part: "timestamp", header: "", text: true },
    { field: "number", part: "header", header: "n", text: false },
  ]);
  assert.deepEqual(tombstones, { flag: "gone" });
});

test("every mistake is named with what is allowed", () => {
  assert.match(
    problems({ brokers: "k" })[0] as string,
    /^OPTION_INVALID: brokers of kafkaTopic "billing.payments" of stream "payments" is "k"/,
  );
  assert.match(problems({}, "a b")[0] as string, /OPTION_INVALID: from of .*a topic's name/);
  assert.match(problems({ strat: "latest" })[0] as string, /OPTION_UNKNOWN.*"strat".*start/);
  assert.match(problems({ start: "yesterday" })[0] as string, /start of .*earliest/);
  assert.match(problems({ format: "protobuf" })[0] as string, /format of .*"json" or "avro"/);
  assert.match(problems({ format: "avro" })[0] as string, /registry of .*missing/);
  assert.match(problems({ registry: "http://r" })[0] as string, /registry of .*json/);
  assert.match(problems({ fields: { idd: "key" } })[0] as string, /FIELD_UNKNOWN.*"idd"/);
  assert.match(problems({ fields: { gone: "timestamp" } })[0] as string, /FIELD_UNFIT.*"gone"/);
  assert.match(problems({ fields: { id: "value" } })[0] as string, /fields.id of .*header:NAME/);
  assert.match(problems({ tombstones: { flag: "id" } })[0] as string, /FIELD_UNFIT.*"id".*a boolean/);
  assert.match(problems({ sasl: { mechanism: "gssapi" } })[0] as string, /sasl of /);
  assert.match(problems({ sasl: { mechanism: "plain", username: "u" } })[0] as string, /sasl.password of .*missing/);
  assert.match(problems({ tls: { cert: "c" } })[0] as string, /tls.key of .*together/);
  assert.match(problems({ group: "a b" })[0] as string, /group of /);
  const found = readStream(stream("payments", { schema, from: "billing" as never }), "s.ts", 1000);
  assert.match(JSON.stringify(found), /kafkaTopic\(/);
});

test("secrets are in no text, no JSON and no inspection", () => {
  const source = read({
    brokers: "secret:1",
    tls: { ca: "secret", cert: "secret", key: "secret" },
    sasl: { mechanism: "scram-sha-512", username: "secret", password: "secret" },
    format: "avro",
    registry: { url: "http://secret/secret", username: "secret", password: "secret" },
  });
  assert.doesNotMatch(`${JSON.stringify(source)}${inspect(source, { depth: 9 })}`, /secret/);
  const refused = problems({ sasl: { mechanism: "plain", password: "secret" }, registry: "secret" }).join();
  assert.doesNotMatch(refused, /secret/);
});
