/** What the tests of whole platforms run: steps that write down that they ran, by the id of their run. */
import { appendFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { commit, cron, stream, table, workflow, z } from "millrace";

export const orders = stream("orders", {
  schema: z.object({ id: z.string(), shop: z.string(), amount: z.number() }),
  id: ["id"],
});

export const totals = table("gold.totals", {
  sql: "select shop, count(*) as orders, sum(amount) as amount from orders group by shop",
  refresh: "full",
});

export const steps = workflow<{ file: string; count: number; pauseMs: number }>("steps", {}, async (run) => {
  const { file, count, pauseMs } = run.input;
  const note = (what: string) => appendFileSync(file, `${run.id} ${what}\n`);
  const total = await run.step("begin", () => count, { compensate: () => note("undo") });
  await run.parallel({
    left: () =>
      run.map(
        "item",
        Array.from({ length: total }),
        (_, i) =>
          run.step("do", async () => {
            await sleep(pauseMs);
            note(`left ${i}`);
            return i;
          }),
        { concurrency: 2 },
      ),
    right: async () => {
      for (let i = 0; i < total; i++) {
        await run.step("do", async () => {
          await sleep(pauseMs);
          note(`right ${i}`);
        });
        await run.sleep(`${pauseMs}ms`);
      }
    },
  });
  return { total };
});

export const report = workflow("report", { on: [commit("silver.orders")] }, async (run) => {
  const { kind } = await run.refresh("gold.totals");
  const rows = await run.sql<{ shop: string; orders: number }>(
    "select shop, orders from gold.totals where orders >= ?",
    [1],
  );
  const said = await run.exec({
    command: "sh",
    args: ["-c", "echo $GREETING; echo to stderr >&2"],
    env: { GREETING: "hello" },
  });
  return { kind, rows, said };
});

export const often = workflow("often", { on: [cron("* * * * * *", { missed: "skip" })], concurrency: 1 }, (run) => ({
  at: run.scheduledAt,
}));

export const heavy = workflow<{ export: string; memoryBytes?: number }>("heavy", {}, (run) =>
  run.isolated("work", { module: new URL("./steps/heavy.ts", import.meta.url), ...run.input }),
);
