/** What empty pages offer to copy into a project. A test copies each into one and starts it. */

export const FIRST_STREAM = `import { stream, z } from "millrace";

export const orders = stream("orders", {
  schema: z.object({ order_id: z.string(), amount: z.number() }),
  id: ["order_id"],
});`;

export const FIRST_TABLE = `import { table } from "millrace";

export const totals = table("gold.totals", {
  sql: "select count(*) as orders, sum(amount) as revenue from silver.orders",
});`;

export const FIRST_WORKFLOW = `import { cron, workflow } from "millrace";

export const nightly = workflow("nightly", { on: [cron("0 2 * * *")] }, async (run) => {
  const hops = await run.sql("select * from system.ledger");
  run.log("every event is accounted for", { hops: hops.length });
});`;

export const FIRST_ALERT = `import { alert } from "millrace";

export const refused = alert("refused_events", {
  sql: \`select stream as key, count(*) as letters from system.dead_letters
        where status = 'open' group by all\`,
  summary: "{letters} events of {key} were refused",
});`;
