import assert from "node:assert/strict";
import { test } from "node:test";
import type { Owned } from "../../src/log/assignment.ts";
import { soleAssignment } from "../../src/log/sole-assignment.ts";

const counts: Record<string, number> = { orders: 2, clicks: 1 };
const log = { partitions: (stream: string) => counts[stream] as number };
const everything = [
  { stream: "orders", partition: 0 },
  { stream: "orders", partition: 1 },
  { stream: "clicks", partition: 0 },
];

function listening() {
  const heard: [string, readonly Owned[]][] = [];
  const failures: Error[] = [];
  return {
    heard,
    failures,
    options: {
      ...{ group: "flow", streams: ["orders", "clicks"] },
      gained: (partitions: readonly Owned[]) => void heard.push(["gained", partitions]),
      lost: async (partitions: readonly Owned[], how: string) => void heard.push([how, partitions]),
      failed: (error: Error) => void failures.push(error),
    },
  };
}

test("a process that works alone owns every partition at once", async () => {
  const { heard, options } = listening();
  const membership = await soleAssignment(log).join(options);
  assert.deepEqual(heard, [["gained", everything]]);
  assert.deepEqual(membership.owned(), everything);
  assert.ok(membership.owns("orders", 1));
  assert.ok(!membership.owns("clicks", 1) && !membership.owns("other", 0));
});

test("leaving hands everything over once, and owns nothing meanwhile", async () => {
  const { heard, options } = listening();
  const membership = await soleAssignment(log).join({
    ...options,
    lost: async (partitions, how) => {
      assert.equal(membership.owns("orders", 0), false);
      await options.lost(partitions, how);
    },
  });
  await Promise.all([membership.leave(), membership.leave()]);
  assert.deepEqual(heard.slice(1), [["revoked", everything]]);
  assert.deepEqual(membership.owned(), []);
});

test("a hand-over that fails is told, and leaving ends all the same", async () => {
  const { failures, options } = listening();
  const assignment = soleAssignment(log);
  await assignment.join({ ...options, lost: () => Promise.reject(new Error("disk full")) });
  await assignment.close();
  assert.deepEqual(
    failures.map(({ message }) => message),
    ["disk full"],
  );
  await assert.rejects(assignment.join(options), { code: "SHUTTING_DOWN" });
});
