/** Topics of others as sources, at real brokers (`npm run engines:up -- kafka`). */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Admin, Producer } from "@platformatic/kafka";
import { endpoint } from "../../engines/endpoints.ts";
import type { TopicSource } from "../../src/define/read-kafka-topic.ts";
import { Secret } from "../../src/define/secret.ts";
import { MillraceError } from "../../src/errors.ts";
import { KafkaSource } from "../../src/gateway/kafka/kafka-source.ts";
import type { Admitted } from "../../src/gateway/kafka/partition-reader.ts";
import { type CheckpointStore, SourceCheckpoints } from "../../src/gateway/kafka/source-checkpoint.ts";
import type { TopicAccess } from "../../src/gateway/kafka/topic-client.ts";
import { MemoryLog } from "../gateway/memory-log.ts";
import { RunningPlatform } from "../platform/running-platform.ts";

const kafka = await endpoint("kafka");
const bootstrapBrokers = kafka.bootstrap.split(",");
const admin = new Admin({ clientId: "test", bootstrapBrokers });
const producer = new Producer({ clientId: "test", bootstrapBrokers, idempotent: true });
after(async () => {
  await producer.close();
  await admin.close();
});

async function newTopic(partitions: number, configs: Record<string, string> = {}): Promise<string> {
  const topic = `source-${randomBytes(6).toString("hex")}`;
  await createTopic(topic, partitions, configs);
  return topic;
}

async function createTopic(topic: string, partitions: number, configs: Record<string, string> = {}): Promise<void> {
  const given = Object.entries(configs).map(([name, value]) => ({ name, value }));
  await admin.createTopics({ topics: [topic], partitions, replicas: 3, configs: given });
  // A broker that has not heard of its leadership yet would refuse, and a producer send again: then the topic itself holds records twice.
  for (let quiet = 0; quiet < 3; await sleep(100)) {
    const { topics } = await admin.metadata({ topics: [topic], forceUpdate: true });
    const leaders = topics.get(topic)?.partitions ?? [];
    quiet =
      leaders.length === partitions && leaders.every(({ leader, isr }) => leader >= 0 && isr.length === 3)
        ? quiet + 1
        : 0;
  }
}

interface Sent {
  readonly partition?: number;
  readonly key?: string;
  readonly value: string | undefined;
  readonly headers?: Map<Buffer, Buffer>;
}

function messages(topic: string, records: readonly Sent[]) {
  return records.map(({ key, value, ...rest }) => ({
    ...{ topic, ...rest },
    ...(key !== undefined && { key: Buffer.from(key) }),
    value: (value === undefined ? null : Buffer.from(value)) as Buffer,
  }));
}

async function produce(topic: string, records: readonly Sent[]): Promise<void> {
  await producer.send({ messages: messages(topic, records), acks: -1 });
}

/** Waits for something that is only a matter of time. */
async function until(what: string, is: () => boolean | Promise<boolean>, limitMs = 60_000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await is())) {
    if (performance.now() > end) assert.fail(`not within ${limitMs} ms: ${what}`);
    await sleep(100);
  }
}

function payment(number: number, more: object = {}): Sent {
  const customer = `c${number % 7}`;
  return { key: customer, value: JSON.stringify({ number, customer, amount: number + 1, ...more }) };
}

test("a platform that is killed again and again has every committed record once, and what was aborted or refused not at all", async () => {
  const topic = await newTopic(3);
  const folder = await mkdtemp(join(tmpdir(), "millrace-source-"));
  const env = { TEST_TOPIC: topic, TEST_BROKERS: kafka.bootstrap };
  const start = () =>
    RunningPlatform.start("test/engines/projects/kafka-source", folder, ["--log-level", "error"], env);
  const transactional = new Producer({
    ...{ clientId: "test", bootstrapBrokers, transactionalId: topic, idempotent: true },
  });
  let platform = await start();
  const committed: number[] = [];
  const refused: number[] = [];
  let producing = true;
  const sends = (async () => {
    for (let number = 0; number < 9_000; ) {
      const some = Array.from({ length: 100 }, () => number++);
      const kind = (number / 100) % 5;
      if (kind === 1) {
        // Of a transaction that is aborted later than its records are read.
        const transaction = await transactional.beginTransaction();
        await transaction.send({
          messages: messages(
            topic,
            some.map((one) => payment(one)),
          ),
          acks: -1,
        });
        await sleep(30);
        await transaction.abort();
      } else if (kind === 2) {
        const transaction = await transactional.beginTransaction();
        await transaction.send({
          messages: messages(
            topic,
            some.map((one) => payment(one)),
          ),
          acks: -1,
        });
        await transaction.commit();
        committed.push(...some);
      } else {
        await produce(
          topic,
          some.map((one) => payment(one, one % 50 === 0 ? { amount: -1 } : {})),
        );
        for (const one of some) (one % 50 === 0 ? refused : committed).push(one);
      }
    }
    producing = false;
  })();
  try {
    for (let life = 0; producing || life < 3; life++) {
      await sleep(700 + (life % 3) * 400);
      await platform.stop("SIGKILL");
      platform = await start();
    }
    await sends;
    await until("everything is read", async () => {
      const rows = await platform.sql("select lag, problem from system.sources");
      return rows.length === 3 && rows.every(([lag, problem]) => Number(lag) === 0 && problem === null);
    });
    const numbers = (await platform.sql("select number from payments order by number")).map(([one]) => Number(one));
    assert.deepEqual(
      numbers,
      committed.sort((a, b) => a - b),
    );
    const letters = await platform.sql(
      "select cast(json_extract(payload, '$.number') as int) as number, code, source from system.dead_letters order by 1",
    );
    assert.deepEqual(
      letters.map(([one]) => Number(one)),
      refused.sort((a, b) => a - b),
    );
    assert.ok(letters.every(([, code]) => code === "EVENT_INVALID"));
    assert.match(String(letters[0]?.[2]), new RegExp(`^kafka:${topic}/[0-2]@\\d+$`));
    // Order per key, and the time of the record.
    const [[disordered]] = (await platform.sql(
      `select count(*) from (select number, lag(number) over (partition by customer order by _partition, _offset) as before
       from payments where number % 500 >= 200) where number < before`,
    )) as [[number]];
    assert.equal(Number(disordered), 0);
    const [[untimed, sources]] = (await platform.sql(
      "select count(*) filter (sent_at is null), count(distinct split_part(_source, '@', 1)) from payments",
    )) as [[number, number]];
    assert.deepEqual([Number(untimed), Number(sources)], [0, 3]);
    const totals = await platform.sql("select sum(payments)::bigint, sum(amount)::bigint from gold.totals");
    assert.deepEqual(totals[0]?.map(Number), [committed.length, committed.reduce((sum, one) => sum + one + 1, 0)]);
    const ready = await platform.get<{ checks: Record<string, { ok: boolean; message?: string }> }>("/readyz");
    assert.deepEqual([ready.body.checks["sources"], ready.body.checks["ledger"]], [{ ok: true }, { ok: true }]);
    const metrics = await (await fetch(`${platform.url}/metrics`)).text();
    assert.match(
      metrics,
      new RegExp(`millrace_source_lag_records\\{stream="payments",topic="${topic}",partition="0"\\} 0`),
    );
  } finally {
    await transactional.close();
    await platform.stop();
    await rm(folder, { recursive: true, force: true });
  }
});

const STREAM = "payments";

function memoryStore(): CheckpointStore {
  const objects = new Map<string, Uint8Array>();
  return {
    async get(key) {
      const found = objects.get(key);
      if (!found) throw new MillraceError("OBJECT_NOT_FOUND", { key });
      return found;
    },
    async put(key, bytes) {
      objects.set(key, bytes);
    },
    async putIfAbsent(key, bytes) {
      if (objects.has(key)) return false;
      objects.set(key, bytes);
      return true;
    },
    list: async (prefix) => [...objects.keys()].filter((key) => key.startsWith(prefix)).map((key) => ({ key })),
  };
}

const PLAIN: TopicSource = {
  ...{ topic: "", brokers: new Secret(kafka.bootstrap), tls: undefined, sasl: undefined, group: undefined },
  ...{ start: "earliest", format: "json", registry: undefined, fields: [], tombstones: "dead-letter" },
};

/** A log and what goes with it, which processes share. */
async function shared() {
  const log = new MemoryLog();
  await log.open(STREAM, { partitions: 2 });
  const letters: string[] = [];
  const store = memoryStore();
  return {
    log,
    letters,
    async values(): Promise<string[]> {
      const all: string[] = [];
      for (let partition = 0; partition < 2; partition++) {
        const run = await log.read(STREAM, partition, 0, 1e9);
        if (run) all.push(...Buffer.from(run.bytes).toString().trim().split("\n"));
      }
      return all;
    },
    source(topic: string, more: Partial<TopicSource> = {}, access: Partial<TopicAccess> = {}): KafkaSource {
      const group = more.group ?? `group-${topic}`;
      return new KafkaSource({
        ...{ stream: STREAM, source: { ...PLAIN, topic, ...more }, registry: undefined, log, maxEventBytes: 1000 },
        access: {
          ...{ subject: `kafkaTopic "${topic}"`, topic, brokers: bootstrapBrokers, tls: undefined, sasl: undefined },
          ...{ group, member: randomBytes(6).toString("hex"), sessionMs: 8_000, ...access },
        },
        checkpoints: new SourceCheckpoints(store, "", STREAM, { topic, group }),
        admit: (_stream, payload, partitions, otherwise): Admitted => {
          const line = Buffer.concat([payload, Buffer.from("\n")]);
          const digits = /\d+/.exec(Buffer.from(payload).toString())?.[0];
          return { kind: "accepted", partition: digits === undefined ? otherwise : Number(digits) % partitions, line };
        },
        deadLetters: async (recorded) => {
          letters.push(...recorded.map(({ code, source }) => `${code} ${source}`));
        },
        report: () => undefined,
      });
    },
  };
}

/** Begins a source, gives it to `work`, and closes it. */
async function during(source: KafkaSource, work: () => Promise<void>): Promise<void> {
  await source.open();
  source.begin();
  try {
    await work();
  } finally {
    await source.close();
  }
}

const problemOf = ({ status }: KafkaSource) =>
  [status.problem, ...status.partitions.map(({ problem }) => problem)].find((one) => one !== null) ?? "";

test("several processes share the partitions, and what moves between them is read once", async () => {
  const topic = await newTopic(4);
  const { source, values } = await shared();
  let sent = 0;
  let stopped = false;
  const sends = (async () => {
    for (; !stopped; await sleep(20))
      await produce(
        topic,
        Array.from({ length: 20 }, () => ({ partition: sent % 4, value: `{"n":${sent++}}` })),
      );
  })();
  const workers = [source(topic), source(topic), source(topic)];
  const [first, second, third] = workers as [KafkaSource, KafkaSource, KafkaSource];
  const shares = () => workers.map(({ status }) => status.partitions.length);
  try {
    first.begin();
    await until("one has all", () => shares()[0] === 4);
    second.begin();
    await until("two have two each", () => shares().join() === "2,2,0");
    third.begin();
    await until(
      "three share four",
      () => shares().every((share) => share > 0) && shares().reduce((a, b) => a + b) === 4,
    );
    await first.close();
    await until("the others have what it had", () => shares().join() === "0,2,2");
    stopped = true;
    await sends;
    const end = async () => (await values()).length >= sent;
    await until("everything is read", end);
  } finally {
    stopped = true;
    await Promise.all(workers.map((worker) => worker.close()));
    await sends;
  }
  const numbers = (await values()).map((text) => (JSON.parse(text) as { n: number }).n).sort((a, b) => a - b);
  assert.deepEqual(
    numbers,
    Array.from({ length: sent }, (_, n) => n),
  );
});

test("partitions that are added are read from their first record, also by a source that began with the latest", async () => {
  const topic = await newTopic(1);
  const { source, values } = await shared();
  await produce(topic, [{ value: '{"old":0}' }]);
  await during(source(topic, { start: "latest" }), async () => {
    const own = () => values();
    // Whatever is sent before it has begun is no part of it.
    await sleep(4_000);
    await produce(topic, [{ value: '{"new":1}' }]);
    await until("it reads", async () => (await own()).length === 1);
    await admin.createPartitions({ topics: [{ name: topic, count: 3, assignments: null }] });
    await until("the brokers lead them", async () => {
      const { topics } = await admin.metadata({ topics: [topic], forceUpdate: true });
      const leaders = topics.get(topic)?.partitions ?? [];
      return leaders.length === 3 && leaders.every(({ leader }) => leader >= 0);
    });
    await sleep(500);
    await produce(topic, [
      { partition: 1, value: '{"new":2}' },
      { partition: 2, value: '{"new":3}' },
    ]);
    await until("the new ones are read", async () => (await own()).length === 3);
  });
  assert.deepEqual((await values()).sort(), ['{"new":1}', '{"new":2}', '{"new":3}']);
});

test("a topic that was deleted and made again stops its source until it gets another group", async () => {
  const topic = await newTopic(1);
  const { source, values } = await shared();
  await produce(topic, [{ value: '{"n":1}' }, { value: '{"n":2}' }]);
  await during(source(topic), () => until("it is read", async () => (await values()).length === 2));
  await admin.deleteTopics({ topics: [topic] });
  await sleep(1000);
  const replaced = source(topic);
  await during(replaced, async () => {
    await until("it says that there is none", () => problemOf(replaced).includes("no such topic"));
    await createTopic(topic, 1);
    await produce(topic, [{ value: '{"n":3}' }]);
    await until("it says what is wrong", () => /is not the topic that was read before/.test(problemOf(replaced)));
  });
  assert.equal((await values()).length, 2);
  await during(source(topic, { group: `anew-${topic}` }), () =>
    until("it is read", async () => (await values()).length === 3),
  );
  assert.deepEqual((await values()).sort(), ['{"n":1}', '{"n":2}', '{"n":3}']);
});

test("records that are gone before they were read stop their partition and are named", async () => {
  const topic = await newTopic(1);
  const { source, values } = await shared();
  await produce(topic, [{ value: '{"n":0}' }]);
  await during(source(topic), () => until("it is read", async () => (await values()).length === 1));
  await produce(
    topic,
    Array.from({ length: 9 }, (_, i) => ({ value: `{"n":${i + 1}}` })),
  );
  await admin.deleteRecords({ topics: [{ name: topic, partitions: [{ partition: 0, offset: 5n }] }] });
  const behind = source(topic);
  await during(behind, () =>
    until("it says which", () => /partition 0 begins at offset 5, and 1 is the next/.test(problemOf(behind))),
  );
  assert.equal((await values()).length, 1);
  await during(source(topic, { group: `anew-${topic}` }), () =>
    until("the rest is read", async () => (await values()).length === 6),
  );
});

test("a compacted topic is read with its gaps, and tombstones are what the definition says", async () => {
  const topic = await newTopic(1, {
    ...{ "cleanup.policy": "compact", "segment.ms": "500", "min.cleanable.dirty.ratio": "0.01" },
    ...{ "min.compaction.lag.ms": "0", "max.compaction.lag.ms": "1000", "delete.retention.ms": "600000" },
  });
  for (let n = 0; n < 300; n++) if (n % 100 === 0) await produce(topic, burst(n));
  await produce(topic, [{ key: "k1", value: undefined }]);
  await sleep(1200);
  await produce(topic, [{ key: "k9", value: '{"n":999}' }]);
  const flagged = { tombstones: { flag: "gone" } } as const;
  const fields = [{ field: "id", part: "key", header: "", text: true }] as const;
  // The cleaner works when it likes: a fresh reader looks until it has been there.
  let found: string[] = [];
  for (let look = 0; look < 40; look++) {
    const { source, values } = await shared();
    const reading = source(topic, { ...flagged, fields, group: `look-${look}-${topic}` });
    await during(reading, () =>
      until("it is read", () => {
        const [one] = reading.status.partitions;
        return one !== undefined && one.end !== null && one.lag === 0 && one.position >= 302;
      }),
    );
    found = await values();
    if (found.length < 302) break;
    await sleep(1500);
  }
  assert.ok(found.length < 302, "the brokers compact within a minute");
  assert.ok(found.includes('{"id":"k1","gone":true}'), "the tombstone is an event with its key");
  assert.ok(found.includes('{"id":"k9","n":999}'));
  // Of every other key the newest record is there.
  for (const key of ["k0", "k2", "k3", "k4"])
    assert.ok(
      found.some((text) => text.includes(`"id":"${key}"`)),
      key,
    );
  const { source, letters } = await shared();
  const lettered = source(topic, { group: `letters-${topic}` });
  await during(lettered, () => until("it is read", () => letters.length > 0));
  assert.deepEqual(letters, [`SOURCE_TOMBSTONE kafka:${topic}+letters-${topic}/0@300`]);
});

function burst(from: number): Sent[] {
  return Array.from({ length: 100 }, (_, i) => ({ key: `k${(from + i) % 5}`, value: `{"n":${from + i}}` }));
}

test("wrong addresses, passwords and rights are told apart, and reading begins once they are right", async () => {
  const topic = await newTopic(1);
  await produce(topic, [{ value: '{"n":1}' }]);
  const { source, values } = await shared();
  const says = async (access: Partial<TopicAccess>, what: RegExp) => {
    const one = source(topic, {}, access);
    await during(one, () => until(String(what), () => what.test(problemOf(one)), 40_000));
  };
  await says({ brokers: ["127.0.0.1:1"] }, /cannot be read: .*127\.0\.0\.1:1/);
  const sasl = (user: { username: string; password: string }) =>
    ({ brokers: kafka.bootstrapSasl.split(","), sasl: { mechanism: "SCRAM-SHA-256", ...user } }) as const;
  await says(sasl({ ...kafka.users.admin, password: "wrong" }), /does not let the platform read: /);
  await says(sasl(kafka.users.limited), /does not let the platform read: TOPIC_AUTHORIZATION_FAILED/);
  assert.deepEqual(await values(), []);
  await during(source(topic, {}, sasl(kafka.users.admin)), () =>
    until("it reads", async () => (await values()).length === 1),
  );
});
