import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { KafkaEndpoint } from "../../engines/endpoints.ts";
import type { KafkaLogOptions } from "../../src/log/kafka/open-kafka-log.ts";

/** Options of a log whose topics nobody else has. */
export function kafkaOptions(
  kafka: Pick<KafkaEndpoint, "bootstrap" | "brokers">,
  options: Partial<KafkaLogOptions> = {},
): KafkaLogOptions {
  return {
    connect: { brokers: kafka.bootstrap.split(","), clientId: "millrace-test" },
    topicPrefix: `t${randomBytes(6).toString("hex")}.`,
    replication: kafka.brokers.length,
    compression: "none",
    maxBatchBytes: 32 * 1024 * 1024,
    retentionMs: 7 * 24 * 3600 * 1000,
    clock: Date.now,
    warn: (warning) => assert.fail(warning),
    ...options,
  };
}
