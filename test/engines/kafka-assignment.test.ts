/** Groups of processes over the partitions of a log on Kafka (`npm run engines:up -- kafka`). */
import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { endpoint } from "../../engines/endpoints.ts";
import type { GroupOptions, Membership, Owned } from "../../src/log/assignment.ts";
import { kafkaAssignment } from "../../src/log/kafka/group/kafka-assignment.ts";
import { type KafkaLogOptions, openKafkaLog } from "../../src/log/kafka/open-kafka-log.ts";
import { committedOffsets } from "./committed-offsets.ts";
import { kafkaOptions } from "./kafka-options.ts";

const kafka = await endpoint("kafka");
const STREAMS = { orders: 4, clicks: 4, audits: 2 } as const;
const ALL = Object.entries(STREAMS).flatMap(([stream, count]) =>
  Array.from({ length: count }, (_, partition) => `${stream}/${partition}`),
);

/** A process that notes what it hears. */
async function worker(test: TestContext, own: KafkaLogOptions, workerId: string, user: Partial<GroupOptions> = {}) {
  const log = await openKafkaLog(own);
  for (const [stream, partitions] of Object.entries(STREAMS)) await log.open(stream, { partitions });
  const assignment = kafkaAssignment(log, { workerId, sessionMs: 6_000, handOverMs: 5_000 });
  test.after(async () => {
    await assignment.close();
    await log.close();
  });
  const heard: [string, string[]][] = [];
  const failures: Error[] = [];
  const names = (partitions: readonly Owned[]) => partitions.map((one) => `${one.stream}/${one.partition}`);
  const membership: Membership = await assignment.join({
    ...{ group: "flow", streams: Object.keys(STREAMS) },
    gained: (partitions) => void heard.push(["gained", names(partitions)]),
    lost: async (partitions, how) => void heard.push([how, names(partitions)]),
    failed: (error) => void failures.push(error),
    ...user,
  });
  const owned = () => names(membership.owned());
  return { log, assignment, membership, heard, failures, owned };
}

/** Waits until the condition holds; half a minute at most. */
async function until(condition: () => boolean, what: () => string): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (condition()) return;
    await sleep(50);
  }
  assert.fail(what());
}

function coPartitioned(owned: readonly string[]): boolean {
  const slots = new Set(owned.map((name) => name.split("/")[1]));
  return ALL.every((name) => owned.includes(name) === slots.has(name.split("/")[1] as string));
}

describe("groups on Kafka", () => {
  it("give everything to one process, half of it to a second one, and all back when that leaves", async (test) => {
    const own = kafkaOptions(kafka);
    const one = await worker(test, own, "one");
    assert.deepEqual(one.heard, [["gained", ALL.toSorted()]]);
    assert.ok(one.membership.owns("orders", 3) && one.membership.confirmed());
    const two = await worker(test, own, "two");
    const told = () => JSON.stringify([one.owned(), two.owned()]);
    await until(() => two.owned().length === ALL.length / 2, told);
    assert.deepEqual([...one.owned(), ...two.owned()].sort(), ALL.toSorted());
    assert.ok(coPartitioned(one.owned()) && coPartitioned(two.owned()), told());
    // What stayed was not disturbed.
    const revoked = one.heard.filter(([how]) => how === "revoked").flatMap(([, partitions]) => partitions);
    assert.deepEqual([...revoked, ...one.owned()].sort(), ALL.toSorted());
    await two.membership.leave();
    assert.deepEqual(two.heard.at(-1)?.[0], "revoked");
    assert.deepEqual(two.owned(), []);
    await until(() => one.owned().length === ALL.length, told);
    assert.deepEqual([...one.failures, ...two.failures], []);
  });

  it("give a partition away only when its owner has finished with it", async (test) => {
    const own = kafkaOptions(kafka);
    const finish = Promise.withResolvers<void>();
    const letGo: string[] = [];
    const one = await worker(test, own, "one", {
      lost: async (partitions, how) => {
        assert.equal(how, "revoked");
        for (const { stream, partition } of partitions) assert.ok(!one.membership.owns(stream, partition));
        assert.ok(one.membership.confirmed());
        await finish.promise;
        letGo.push(...partitions.map(({ stream, partition }) => `${stream}/${partition}`));
      },
    });
    const two = await worker(test, own, "two", {
      gained: (partitions) => {
        for (const { stream, partition } of partitions) assert.ok(letGo.includes(`${stream}/${partition}`));
      },
    });
    await until(
      () => one.owned().length === ALL.length / 2,
      () => JSON.stringify(one.owned()),
    );
    await sleep(1_500);
    assert.deepEqual(two.owned(), []);
    finish.resolve();
    await until(
      () => two.owned().length === ALL.length / 2,
      () => JSON.stringify(two.owned()),
    );
    assert.deepEqual([...one.failures, ...two.failures], []);
  });

  it("take partitions from an owner who does not finish in time", async (test) => {
    const own = kafkaOptions(kafka);
    const never = Promise.withResolvers<void>();
    const one = await worker(test, own, "one", { lost: () => never.promise });
    const two = await worker(test, own, "two");
    await until(
      () => two.owned().length === ALL.length / 2,
      () => JSON.stringify([one.owned(), two.owned()]),
    );
    never.resolve();
  });

  it("end the membership of a process whose name another one takes", async (test) => {
    const own = kafkaOptions(kafka);
    const one = await worker(test, own, "same");
    const two = await worker(test, own, "same");
    await until(
      () => one.failures.length > 0,
      () => JSON.stringify(one.heard),
    );
    assert.deepEqual(
      one.failures.map((error) => (error as Error & { code?: string }).code),
      ["LOG_WORKER_TWICE"],
    );
    assert.deepEqual(one.heard.at(-1)?.[0], "fenced");
    assert.ok(!one.membership.confirmed() && one.owned().length === 0);
    await until(
      () => two.owned().length === ALL.length,
      () => JSON.stringify(two.owned()),
    );
  });

  it("say how far the partitions are stored, for Kafka's own tools to see", async (test) => {
    const own = kafkaOptions(kafka);
    const one = await worker(test, own, "one");
    one.membership.progress?.("orders", 1, 17);
    one.membership.progress?.("clicks", 0, 3);
    one.membership.progress?.("orders", 1, 18);
    await one.membership.leave();
    assert.deepEqual(one.failures, []);
    const committed = await committedOffsets(one.log.cluster, one.log.topicOf("flow"));
    assert.deepEqual(committed, [
      [`${one.log.topicOf("clicks")}/0`, 3],
      [`${one.log.topicOf("orders")}/1`, 18],
    ]);
  });

  it("divide anew when a process is gone without a word", async (test) => {
    const own = kafkaOptions(kafka);
    const one = await worker(test, own, "one");
    const two = await worker(test, own, "two");
    await until(
      () => two.owned().length === ALL.length / 2,
      () => JSON.stringify(two.owned()),
    );
    // Its connections are cut, and it never comes back.
    await two.log.cluster.close();
    await until(
      () => one.owned().length === ALL.length,
      () => JSON.stringify(one.owned()),
    );
    await until(
      () => !two.membership.confirmed(),
      () => "it still believes",
    );
    assert.deepEqual(two.owned(), []);
  });
});
