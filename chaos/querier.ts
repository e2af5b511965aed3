/**
 * A querier in a process of its own. Each query must see every event acknowledged before it began, once; which those are, it
 * reads from the obligations before it asks. A query may fail while faults last, but never answer wrongly.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "./client.ts";
import { type Obligation, ObligationReader } from "./obligations.ts";
import { Random } from "./random.ts";

export interface QuerierOptions {
  readonly seed: number;
  readonly ports: readonly number[];
  readonly key: string;
  readonly dir: string;
  readonly pauseMs: number;
  /** How long an answer is waited for. */
  readonly timeoutMs: number;
}

const IDLE_MS = 15;
const options = JSON.parse(process.argv[2] ?? "") as QuerierOptions;
const client = new Client(options.ports, options.key);
const reader = new ObligationReader(options.dir);
const random = new Random(options.seed);
/** Stream and lane -> acknowledged events; a lane's events are acknowledged in their order. */
const acknowledged = new Map<string, number>();
const skus = new Map<string, number>();
let storedOrders = 0;
/** Answers since they were last told: a querier may be ended before its end. */
let answered = 0;
let failed = 0;
let stopping = false;
process.on("SIGTERM", () => {
  stopping = true;
});
process.on("disconnect", () => process.exit(1)); // never outlives the oracle
process.channel?.unref();
process.on("SIGINT", () => undefined); // the oracle says when

const checks = [
  oneLane,
  oneLane,
  oneLane,
  () => seesAll("orders", "orders", "lane", "n"),
  () => seesAll("payments", "payments", "lane", "n"),
  () =>
    seesAll(
      "orders",
      "bronze.orders",
      "split_part(_id, '-', 1)",
      "split_part(_id, '-', 2)::bigint",
      "_duplicate_of is null",
    ),
  goldFollows,
  stockIsNewest,
];

while (!stopping) {
  for (const obligation of reader.readNew()) take(obligation);
  const before = answered;
  const violation = acknowledged.size === 0 ? undefined : await random.pick(checks)();
  if (violation !== undefined) console.log(JSON.stringify({ violation }));
  // While nobody answers the next life is waited for closely: its first moment is the one that matters most.
  await sleep(answered > before ? options.pauseMs : IDLE_MS);
}
console.log(JSON.stringify({ failed }));

function take({ s, lane, n, fate, about }: Obligation): void {
  if (fate === "door") return;
  acknowledged.set(`${s} ${lane}`, n + 1);
  if (s === "stock_levels") skus.set(String(about[0]), n);
  if (s === "orders" && fate === "stored") storedOrders++;
}

/** The cheapest check: every acknowledged event of one lane, once, by the stream's name, its bronze or its silver. */
async function oneLane(): Promise<string | undefined> {
  const lanes = [...acknowledged].filter(([key]) => key.startsWith("orders ") || key.startsWith("payments "));
  if (lanes.length === 0) return undefined;
  const [key, count] = random.pick(lanes);
  const [stream = "", lane = ""] = key.split(" ");
  const table = random.pick([stream, `silver.${stream}`]);
  const rows = await ask(
    `select count(*)::double, count(distinct n)::double from ${table} where lane = '${lane}' and n < ${count}`,
  );
  const [found, distinct] = (rows?.[0] ?? []).map(Number);
  if (rows === undefined || (found === count && distinct === count)) return undefined;
  return `${table}: lane ${lane} has ${count} acknowledged events, ${found} rows of ${distinct} were shown`;
}

/** Undefined when the query had no answer. */
async function ask(sql: string): Promise<unknown[][] | undefined> {
  const { timeoutMs } = options;
  const body = JSON.stringify({ sql, timeoutMs });
  const answer = await client.send("POST", "/v1/sql", body, "application/json", timeoutMs);
  if (answer === undefined) return undefined; // between two lives there is nobody to ask
  if (answer?.status !== 200) {
    failed++;
    if (answer && answer.status < 500 && answer.status !== 429) {
      console.log(JSON.stringify({ violation: `a query was refused: ${answer.status} ${answer.body}`, sql }));
    } else if (answer) console.log(JSON.stringify({ refused: answer.body.slice(0, 300) }));
    return undefined;
  }
  answered++;
  console.log(JSON.stringify({ answered: 1 }));
  return JSON.parse(answer.body).rows;
}

async function seesAll(
  stream: string,
  table: string,
  lane: string,
  n: string,
  where = "true",
): Promise<string | undefined> {
  const lanes = [...acknowledged].filter(([key]) => key.startsWith(`${stream} `));
  if (lanes.length === 0) return undefined;
  const values = lanes.map(([key, count]) => `('${key.slice(stream.length + 1)}', ${count})`).join(", ");
  const rows = await ask(
    `select a.lane, a.acked, count(e.n) as rows, count(distinct e.n) as events
     from (values ${values}) a(lane, acked)
     left join (select ${lane} as lane, ${n} as n from ${table} where ${where}) e on e.lane = a.lane and e.n < a.acked
     group by all having count(e.n) <> a.acked or count(distinct e.n) <> a.acked`,
  );
  if (rows === undefined || rows.length === 0) return undefined;
  return `${table}: [lane, acknowledged, rows, events] ${JSON.stringify(rows)}`;
}

/** Within one query gold is what its SQL gives over silver. */
async function goldFollows(): Promise<string | undefined> {
  const rows = await ask(
    `select (select coalesce(sum(orders), 0)::bigint from gold.daily) as daily, (select coalesce(sum(orders), 0)::bigint from gold.totals) as totals,
       (select count(*) from silver.enriched) as silver`,
  );
  const [daily, totals, silver] = (rows?.[0] ?? []).map(Number);
  if (rows === undefined || (daily === silver && totals === silver && Number(silver) >= storedOrders)) return undefined;
  return `gold.daily counts ${daily} orders, gold.totals ${totals}, silver.enriched has ${silver}, acknowledged ${storedOrders}`;
}

async function stockIsNewest(): Promise<string | undefined> {
  if (skus.size === 0) return undefined;
  const values = [...skus].map(([sku, n]) => `('${sku}', ${n})`).join(", ");
  const rows = await ask(
    `select a.sku, a.n, s.n, count(s.n) from (values ${values}) a(sku, n) left join silver.stock s on s.sku = a.sku
     group by all having count(s.n) <> 1 or s.n < a.n`,
  );
  if (rows === undefined || rows.length === 0) return undefined;
  return `silver.stock: [sku, acknowledged, shown, rows] ${JSON.stringify(rows)}`;
}
