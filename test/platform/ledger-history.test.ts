import assert from "node:assert/strict";
import { test } from "node:test";
import { keepLedgerHistory } from "../../src/platform/ledger-history.ts";
import type { LedgerHop, LedgerView } from "../../src/serve/admin-route.ts";
import type { HopMoment } from "../../src/state/ledger-minutes.ts";

function hop(name: string, accepted: number): LedgerHop {
  return {
    ...{
      stream: "orders",
      hop: name,
      accepted,
      stored: accepted,
      duplicate: 0,
      filtered: 0,
      deadLettered: 0,
      pending: 0,
    },
    ...{ balanced: true, verified: accepted, verifiedAt: new Date(accepted).toISOString() },
  };
}

test("every minute the hops are written down that have changed, and what could not be written is written later", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  let hops = [hop("bronze.orders", 1), hop("silver.orders", 1)];
  let broken = false;
  const written: [number, string][][] = [];
  const reports: string[] = [];
  const end = keepLedgerHistory({
    ledger: async () => ({ balanced: true, hops, imbalances: [] }) satisfies LedgerView,
    minutes: {
      async write(moments: readonly HopMoment[]) {
        if (broken) throw new Error("no server");
        written.push(moments.map(({ accepted, hop: name }) => [accepted, name]));
      },
    },
    clock: () => 0,
    report: (_error, what) => reports.push(what),
  });
  const minute = async () => {
    t.mock.timers.tick(60_000);
    for (let i = 0; i < 10; i++) await Promise.resolve();
  };
  await minute();
  hops = [hop("bronze.orders", 2), { ...hop("silver.orders", 1), verifiedAt: null }];
  await minute();
  broken = true;
  hops = [hop("bronze.orders", 3), hop("silver.orders", 1)];
  await minute();
  await minute();
  broken = false;
  await minute();
  await end();
  assert.deepEqual(
    written.filter((moments) => moments.length > 0),
    [
      [
        [1, "bronze.orders"],
        [1, "silver.orders"],
      ],
      [[2, "bronze.orders"]],
      [[3, "bronze.orders"]],
    ],
  );
  assert.deepEqual(reports, ["writing the ledger's history down failed"]);
});
