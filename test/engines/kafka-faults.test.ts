/** Brokers that die, stand still and come back, under a log that goes on without a restart (`npm run engines:up -- kafka`). */
import assert from "node:assert/strict";
import { after, describe, it, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { endpoint } from "../../engines/endpoints.ts";
import { brokerPid, startBroker, stopBroker } from "../../engines/kafka.ts";
import type { MillraceError } from "../../src/errors.ts";
import { type KafkaLog, type KafkaLogOptions, openKafkaLog } from "../../src/log/kafka/open-kafka-log.ts";
import { batchOf, readAll } from "../log/batches.ts";
import { kafkaOptions } from "./kafka-options.ts";

const kafka = await endpoint("kafka");
const PARTITIONS = 3;

async function opened(test: TestContext, options: Partial<KafkaLogOptions> = {}): Promise<KafkaLog> {
  const log = await openKafkaLog(kafkaOptions(kafka, options));
  test.after(() => log.close());
  await log.open("orders", { partitions: PARTITIONS });
  return log;
}

/** Appends to all partitions without pause, and notes what was acknowledged where. */
function appending(log: KafkaLog) {
  const acknowledged: { partition: number; offset: number; line: string }[] = [];
  const failures: MillraceError[] = [];
  let going = true;
  const append = async (partition: number): Promise<void> => {
    for (let n = 0; going; n++) {
      const lines = [`{"p":${partition},"n":${n}}`, `{"p":${partition},"n":${n},"second":true}`];
      try {
        const { from } = await log.append("orders", partition, batchOf(lines));
        acknowledged.push(...lines.map((line, i) => ({ partition, offset: from + i, line })));
      } catch (error) {
        failures.push(error as MillraceError);
      }
      await sleep(1);
    }
  };
  const done = Promise.all(Array.from({ length: PARTITIONS }, (_, partition) => append(partition)));
  return {
    acknowledged,
    failures,
    async stop(): Promise<void> {
      going = false;
      await done;
    },
  };
}

/** Reads all partitions as events come, waiting at the end of each. */
function following(log: KafkaLog) {
  const positions: number[] = Array.from({ length: PARTITIONS }, () => 0);
  const failures: unknown[] = [];
  const controller = new AbortController();
  const follow = async (partition: number): Promise<void> => {
    while (!controller.signal.aborted) {
      const run = await log.read("orders", partition, positions[partition] ?? 0, 1 << 16);
      if (run) positions[partition] = run.to + 1;
      else await log.wait("orders", partition, positions[partition] ?? 0, controller.signal);
    }
  };
  for (let partition = 0; partition < PARTITIONS; partition++)
    follow(partition).catch((error: unknown) => failures.push(error));
  return { positions, failures, stop: () => controller.abort() };
}

/** Everything acknowledged is there, at its offset; nothing is there twice, and no batch in part. */
async function judge(log: KafkaLog, acknowledged: ReturnType<typeof appending>["acknowledged"]): Promise<void> {
  await log.refresh();
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const events = await readAll(log, "orders", { partition });
    const mine = acknowledged.filter((one) => one.partition === partition);
    for (const { offset, line } of mine) assert.equal(events[offset]?.line, line, `${partition}/${offset}`);
    const lines = events.map(({ line }) => line);
    assert.equal(new Set(lines).size, lines.length, "nothing is stored twice");
    for (const [i, line] of lines.entries())
      if (!line.includes("second"))
        assert.equal(lines[i + 1], line.replace("}", ',"second":true}'), "batches are whole");
  }
}

async function until(condition: () => boolean, what: () => string): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (condition()) return;
    await sleep(100);
  }
  assert.fail(what());
}

describe("the log on Kafka, when brokers fail", () => {
  after(async () => {
    for (const { id } of kafka.brokers) await startBroker(kafka, id);
  });

  it("goes on while one broker after the other is killed and started again, and so do readers elsewhere", async (test) => {
    const log = await opened(test);
    const reader = await opened(test, { topicPrefix: log.topicOf("") });
    const follower = following(reader);
    const work = appending(log);
    for (const { id } of kafka.brokers) {
      const before = work.acknowledged.length;
      await stopBroker(kafka, id, "SIGKILL");
      await until(
        () => work.acknowledged.length > before + 60,
        () => `stuck: ${log.problems().join()}`,
      );
      await reader.refresh();
      await startBroker(kafka, id);
      await until(
        () => log.problems().length === 0,
        () => log.problems().join(),
      );
    }
    await work.stop();
    assert.deepEqual(work.failures, [], "a broker's death is waited for, not told");
    await judge(log, work.acknowledged);
    await judge(reader, work.acknowledged);
    const ends = Array.from({ length: PARTITIONS }, (_, partition) => log.ends("orders", partition).end);
    await until(
      () => ends.every((end, partition) => follower.positions[partition] === end),
      () => `${follower.positions} of ${ends}`,
    );
    assert.deepEqual(follower.failures, []);
    follower.stop();
  });

  it("goes on while a broker stands still, and when it comes back", async (test) => {
    const log = await opened(test);
    const work = appending(log);
    const pid = (await brokerPid(kafka, 2)) as number;
    await sleep(500);
    process.kill(pid, "SIGSTOP");
    try {
      const before = [0, 1, 2].map(
        (partition) => work.acknowledged.filter((one) => one.partition === partition).length,
      );
      await until(
        () =>
          before.every((count, p) => work.acknowledged.filter(({ partition }) => partition === p).length > count + 20),
        () => `stuck: ${log.problems().join()}`,
      );
      await log.refresh();
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await sleep(2_000);
    await work.stop();
    assert.deepEqual(work.failures, []);
    await judge(log, work.acknowledged);
  });

  it("refuses what too few replicas would keep, says so, and takes events again without a restart", async (test) => {
    const log = await opened(test, { timeoutMs: 4_000 });
    const work = appending(log);
    await sleep(500);
    await stopBroker(kafka, 1, "SIGKILL");
    await stopBroker(kafka, 2, "SIGKILL");
    await until(
      () => work.failures.length > 3,
      () => "nothing is refused",
    );
    const refused = work.failures.length;
    for (const error of work.failures) {
      assert.equal(error.code, "LOG_UNAVAILABLE", error.message);
      assert.ok(error.retryable);
    }
    assert.ok(log.problems().length > 0);
    await startBroker(kafka, 1);
    await startBroker(kafka, 2);
    const before = work.acknowledged.length;
    await until(
      () => work.acknowledged.length > before + 60,
      () => `still ${log.problems().join()}`,
    );
    await until(
      () => log.problems().length === 0,
      () => log.problems().join(),
    );
    await work.stop();
    test.diagnostic(`${refused} appends refused, ${work.acknowledged.length} events acknowledged`);
    await judge(log, work.acknowledged);
  });

  it("does not send what has become another's while it waited, and sends what waited beside it", async (test) => {
    const log = await opened(test);
    let mine = true;
    const may = () => mine;
    const batches = [0, 1, 2].map((n) => batchOf([`{"n":${n}}`]));
    const answers = Promise.allSettled([
      log.append("orders", 0, batches[0]!),
      log.append("orders", 0, { ...batches[1]!, may }),
      log.append("orders", 0, batches[2]!),
      log.append("orders", 1, { ...batches[1]!, may }),
    ]);
    mine = false;
    assert.deepEqual(
      (await answers).map((one) => (one.status === "fulfilled" ? one.value.from : (one.reason as MillraceError).code)),
      [0, "LOG_UNAVAILABLE", 1, "LOG_UNAVAILABLE"],
    );
    mine = true;
    assert.equal((await log.append("orders", 1, { ...batches[1]!, may })).from, 0);
    assert.deepEqual(log.problems(), []);
  });
});
