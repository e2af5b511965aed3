import assert from "node:assert/strict";
import { test } from "node:test";
import { alertsUnderLease } from "../../src/platform/delivering.ts";
import { soleLeases } from "../../src/state/leases.ts";

test("who no longer leads looks after no alerts, whatever keeps their delivery from ending", async () => {
  const calls: string[] = [];
  const reported: string[] = [];
  const part = (name: string, trouble?: Error) => ({
    start: async () => void calls.push(`${name} starts`),
    async stop() {
      calls.push(`${name} stops`);
      if (trouble) throw trouble;
    },
  });
  const leases = soleLeases((error) => reported.push((error as Error).message));
  const began = Promise.withResolvers<void>();
  const work = alertsUnderLease(
    { start: () => void calls.push("alerting starts"), stop: part("alerting").stop },
    part("delivery", new Error("the log is away")),
  );
  leases.want("react", {
    async gained(lease) {
      await work.gained(lease);
      began.resolve();
    },
    lost: (lease) => work.lost(lease),
  });
  await began.promise;
  assert.deepEqual(calls, ["alerting starts", "delivery starts"]);
  await leases.close();
  assert.deepEqual(calls.slice(2).toSorted(), ["alerting stops", "delivery stops"]);
  assert.deepEqual(reported, ["the log is away"]);
});
