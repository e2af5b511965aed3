/** What goes wrong with Kafka, and what is said of it (`npm run engines:up -- kafka`). */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { describe, it, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createTopicsV7, deleteTopicsV6, incrementalAlterConfigsV1 } from "@platformatic/kafka";
import { endpoint } from "../../engines/endpoints.ts";
import type { MillraceError } from "../../src/errors.ts";
import { Cluster } from "../../src/log/kafka/cluster.ts";
import type { ConnectSettings } from "../../src/log/kafka/connect-settings.ts";
import { type KafkaLogOptions, openKafkaLog } from "../../src/log/kafka/open-kafka-log.ts";
import { batchOf, numbered, readLines } from "../log/batches.ts";
import { kafkaOptions } from "./kafka-options.ts";

const kafka = await endpoint("kafka");
const ca = await readFile(kafka.caFile, "utf8");
const clientId = "millrace-test";
const scram = (user: { username: string; password: string }) => ({ mechanism: "SCRAM-SHA-512" as const, ...user });

async function connectionTo(settings: ConnectSettings): Promise<void> {
  await (await Cluster.connect(settings)).close();
}

async function opened(test: TestContext, options: Partial<KafkaLogOptions> = {}) {
  const log = await openKafkaLog(kafkaOptions(kafka, options));
  test.after(() => log.close());
  return log;
}

describe("connections to Kafka", () => {
  const { admin, limited } = kafka.users;
  const sasl = kafka.bootstrapSasl.split(",");
  const saslTls = kafka.bootstrapSaslTls.split(",");
  const tls = kafka.bootstrapTls.split(",");
  const plain = kafka.bootstrap.split(",");

  it("come about by TLS, by each SASL mechanism, and by both", async () => {
    await connectionTo({ brokers: tls, clientId, tls: { ca } });
    for (const mechanism of ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] as const)
      await connectionTo({ brokers: sasl, clientId, sasl: { mechanism, ...limited } });
    await connectionTo({ brokers: saslTls, clientId, tls: { ca }, sasl: scram(admin) });
  });

  it("come about when only the last of the addresses answers", async () => {
    await connectionTo({ brokers: ["127.0.0.1:1", "no-such-host.invalid:9092", plain[0] as string], clientId });
  });

  const refused: [string, ConnectSettings, string, RegExp][] = [
    ["nobody listens", { brokers: ["127.0.0.1:1"], clientId }, "KAFKA_UNREACHABLE", /127\.0\.0\.1:1: .*ECONNREFUSED/],
    ["the host is unknown", { brokers: ["no-such-host.invalid:9092"], clientId }, "KAFKA_UNREACHABLE", /no-such-host/],
    [
      "the password is wrong",
      { brokers: sasl, clientId, sasl: scram({ ...admin, password: "wrong" }) },
      "KAFKA_CREDENTIALS",
      /refuses the credentials/,
    ],
    [
      "the user is unknown",
      { brokers: sasl, clientId, sasl: scram({ username: "nobody", password: "x" }) },
      "KAFKA_CREDENTIALS",
      /credentials/,
    ],
    ["no credentials are given where they are needed", { brokers: sasl, clientId }, "KAFKA_CREDENTIALS", /bring none/],
    [
      "credentials are given where none are taken",
      { brokers: plain, clientId, sasl: scram(admin) },
      "KAFKA_CREDENTIALS",
      /takes no credentials/,
    ],
    [
      "the authority is another one",
      { brokers: tls, clientId, tls: {} },
      "KAFKA_TLS",
      /self-signed|unable to|certificate/,
    ],
    ["TLS is spoken to a port without", { brokers: plain, clientId, tls: { ca } }, "KAFKA_TLS", /TLS|SSL/],
    ["a port with TLS is spoken to without", { brokers: tls, clientId }, "KAFKA_TLS", /TLS/],
  ];
  for (const [situation, settings, code, message] of refused)
    it(`are refused with a reason when ${situation}`, async () => {
      await assert.rejects(connectionTo(settings), (error: MillraceError) => {
        assert.equal(error.code, code, error.message);
        assert.match(error.message, message);
        return true;
      });
    });

  it("are refused with a reason when something else answers, or nothing does", async (test) => {
    const mute = createServer(() => undefined);
    const web = createServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    for (const server of [mute, web]) {
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      test.after(() => server.close());
    }
    for (const server of [mute, web]) {
      const { port } = server.address() as { port: number };
      await assert.rejects(connectionTo({ brokers: [`127.0.0.1:${port}`], clientId }), (error: MillraceError) => {
        assert.match(error.code, /^KAFKA_(UNREACHABLE|CREDENTIALS)$/);
        return true;
      });
    }
  });
});

describe("topics", () => {
  const limited = { brokers: kafka.bootstrapSasl.split(","), clientId, sasl: scram(kafka.users.limited) };

  it("of others are not made or read without the right to", async (test) => {
    const log = await opened(test, { connect: limited });
    await assert.rejects(log.open("orders"), (error: MillraceError) => {
      assert.equal(error.code, "KAFKA_NOT_ALLOWED");
      assert.match(error.message, /user "limited" .* topic t[0-9a-f]+\.orders/);
      return true;
    });
  });

  it("that somebody else has made are written and read with no right but to that", async (test) => {
    const own = kafkaOptions(kafka, { topicPrefix: `allowed-${Date.now()}.` });
    const maker = await openKafkaLog(own);
    await maker.open("orders");
    await maker.close();
    const log = await openKafkaLog({ ...own, connect: limited });
    test.after(() => log.close());
    await log.open("orders");
    await log.append("orders", 0, batchOf(numbered(0, 3)));
    await log.refresh();
    assert.deepEqual(await readLines(log, "orders"), numbered(0, 3));
  });

  it("that need more brokers than there are name the setting", async (test) => {
    const log = await opened(test, { replication: 7 });
    await assert.rejects(log.open("orders"), (error: MillraceError) => {
      assert.equal(error.code, "KAFKA_TOPIC_UNFIT");
      assert.match(`${error.message} ${error.hint}`, /7 replicas.* 3 brokers.*kafkaReplication/);
      return true;
    });
  });

  it("that are compacted are refused, and those that remove events by age are told of", async (test) => {
    const warnings: string[] = [];
    const log = await opened(test, { warn: (warning) => warnings.push(warning) });
    await makeTopic(log.cluster, log.topicOf("compacted"), { "cleanup.policy": "compact" });
    await assert.rejects(log.open("compacted"), { code: "KAFKA_TOPIC_UNFIT" });
    await makeTopic(log.cluster, log.topicOf("weekly"), { "retention.ms": "604800000", "min.insync.replicas": "1" });
    await log.open("weekly");
    assert.equal(warnings.length, 2, warnings.join("\n"));
    assert.match(warnings.join("\n"), /retention\.ms=-1[\s\S]*min\.insync\.replicas=2/);
    await log.append("weekly", 0, batchOf(numbered(0, 1)));
    await log.release("weekly", 0, 1);
    assert.equal(log.ends("weekly", 0).start, 0, "their events are not removed from here");
  });

  it("refuse a batch that they do not take whole, and go on", async (test) => {
    const log = await opened(test);
    await makeTopic(log.cluster, log.topicOf("small"), { ...OURS, "max.message.bytes": "2000" });
    await log.open("small");
    const answers = await Promise.allSettled([
      log.append("small", 0, batchOf(numbered(0, 10))),
      log.append("small", 0, batchOf(numbered(10, 50, 50))),
      log.append("small", 0, batchOf(numbered(60, 10))),
    ]);
    assert.deepEqual(
      answers.map((answer) => (answer.status === "fulfilled" ? answer.value.from : answer.reason.code)),
      [0, "LOG_BATCH_TOO_LARGE", 10],
    );
    // Lowered behind its back: the broker says so.
    await setConfig(log.cluster, log.topicOf("small"), "max.message.bytes", "500");
    // The leader hears of it a moment later.
    const large = () => log.append("small", 0, batchOf(numbered(75, 30)));
    const refused = () =>
      large().then(
        () => false,
        () => true,
      );
    for (let tries = 0; !(await refused()); tries++) {
      assert.ok(tries < 100, "the leader goes on taking what is too large");
      await sleep(50);
    }
    const from = log.ends("small", 0).end;
    const later = await Promise.allSettled([
      log.append("small", 0, batchOf(numbered(70, 5))),
      large(),
      log.append("small", 0, batchOf(numbered(105, 5))),
    ]);
    assert.deepEqual(
      later.map((answer) => (answer.status === "fulfilled" ? answer.value.from : answer.reason.code)),
      [from, "LOG_BATCH_TOO_LARGE", from + 5],
    );
  });

  it("that are deleted take nothing and say so; made again they are not taken for the same", async (test) => {
    const log = await opened(test, { timeoutMs: 3_000 });
    await log.open("orders");
    await log.append("orders", 0, batchOf(numbered(0, 5)));
    await deleteTopic(log.cluster, log.topicOf("orders"));
    await assert.rejects(log.append("orders", 0, batchOf(numbered(5, 1))), (error: MillraceError) => {
      assert.equal(error.code, "LOG_UNAVAILABLE");
      assert.match(error.message, /orders-0: the topic is not there/);
      return true;
    });
    assert.match(log.problems().join(), /orders/);
    await makeTopic(log.cluster, log.topicOf("orders"), OURS);
    await log.cluster.refresh();
    const wentBack = { code: "LOG_WENT_BACK" };
    await assert.rejects(log.append("orders", 0, batchOf(numbered(5, 1))), wentBack);
    await assert.rejects(log.append("orders", 0, batchOf(numbered(5, 1))), wentBack);
    await assert.rejects(log.refresh(), wentBack);
    await assert.rejects(log.read("orders", 0, 0, 100), wentBack);
    assert.match(log.problems().join(), /ended at offset 5 and now ends at 0/);
  });

  it("that are deleted and made again while they are empty are taken as they are", async (test) => {
    const log = await opened(test, { timeoutMs: 3_000 });
    await log.open("orders");
    await deleteTopic(log.cluster, log.topicOf("orders"));
    await assert.rejects(log.append("orders", 0, batchOf(numbered(0, 1))), { code: "LOG_UNAVAILABLE" });
    await makeTopic(log.cluster, log.topicOf("orders"), OURS);
    await log.cluster.refresh();
    assert.equal((await log.append("orders", 0, batchOf(numbered(0, 1)))).from, 0);
    assert.deepEqual(log.problems(), []);
  });
});

/** As the platform makes them. */
const OURS = { "retention.ms": "-1", "retention.bytes": "-1", "message.timestamp.type": "LogAppendTime" };

async function makeTopic(cluster: Cluster, name: string, configs: Readonly<Record<string, string>>): Promise<void> {
  const wanted = Object.entries(configs).map(([name, value]) => ({ name, value }));
  await cluster.retry(performance.now() + 20_000, async () => {
    const connection = await cluster.controller("control");
    const topic = { name, numPartitions: 1, replicationFactor: 3, assignments: [], configs: wanted };
    await createTopicsV7.api.async(connection, [topic], 10_000, false);
  });
}

async function deleteTopic(cluster: Cluster, name: string): Promise<void> {
  const connection = await cluster.controller("control");
  await deleteTopicsV6.api.async(connection, [{ name }], 10_000);
}

async function setConfig(cluster: Cluster, topic: string, name: string, value: string): Promise<void> {
  const connection = await cluster.controller("control");
  const configs = [{ name, configOperation: 0 as const, value }];
  await incrementalAlterConfigsV1.api.async(connection, [{ resourceType: 2, resourceName: topic, configs }], false);
}
