/** The log's contract against real brokers (`npm run engines:up -- kafka`). */
import type { TestContext } from "node:test";
import { endpoint } from "../../engines/endpoints.ts";
import type { EventLog } from "../../src/log/event-log.ts";
import { type KafkaLogOptions, openKafkaLog } from "../../src/log/kafka/open-kafka-log.ts";
import { describeEventLog, describeHistories, describeSharedLog } from "../log/contract.ts";
import { kafkaOptions } from "./kafka-options.ts";

const kafka = await endpoint("kafka");

function opener(options: Partial<KafkaLogOptions> = {}): (test: TestContext) => () => Promise<EventLog> {
  return () => {
    const own = kafkaOptions(kafka, options);
    return () => openKafkaLog(own);
  };
}

describeEventLog("Kafka", opener());
describeEventLog("Kafka, compressed with zstd", opener({ compression: "zstd" }));
describeEventLog("Kafka, compressed with lz4", opener({ compression: "lz4" }));
describeSharedLog("Kafka", opener());

describeHistories(
  "Kafka",
  async (_test, _run, size) => {
    const compression = (["none", "zstd", "lz4"] as const)[size % 3] ?? "none";
    const own = kafkaOptions(kafka, { compression, retentionMs: -1 });
    return { open: () => openKafkaLog(own), remove: async () => undefined };
  },
  { histories: 40, limitMs: 120_000 },
);
