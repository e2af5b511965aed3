/** Several workers over the shop's project, with lines of rates and what every one of them must show. */
import assert from "node:assert/strict";
import { type Cluster, partitionsOf, type Worker, type WorkerOptions } from "../open-workers.ts";

export const RATES = [{ country: "DE", rate: 2 }];

export interface Line {
  readonly order_id: string;
  readonly amount: number;
  readonly customer: string;
  readonly seq: number;
}

/** Orders in which every customer comes in every partition. */
export function lines(from: number, count: number): Line[] {
  return Array.from({ length: count }, (_, i) => ({
    ...{
      order_id: `o${from + i}`,
      customer: `c${(from + i) % 7}`,
      country: "DE",
      amount: 50 + ((from + i) % 100),
      seq: from + i,
    },
    placed_at: `2026-01-0${1 + ((from + i) % 4)}T10:00:00Z`,
  }));
}

/** Workers that each own one partition of the orders; the first owns all else and leads. */
export async function several(
  cluster: Cluster,
  count: number,
  options: Partial<WorkerOptions> = {},
): Promise<Worker[]> {
  const workers = await Promise.all(
    Array.from({ length: count }, (_, i) =>
      cluster.open({ name: `w${i}`, project: "workers", leads: i === 0, ...options }),
    ),
  );
  const others = partitionsOf(workers[0] as Worker, [0], true).filter(({ stream }) => stream !== "orders");
  await workers[0]?.group.give(others);
  for (const [i, w] of workers.entries()) await w.group.give([{ stream: "orders", partition: i }]);
  await cluster.append("rates", 0, RATES);
  await workers[0]?.flow.flush(["rates"]);
  return workers;
}

export async function agrees(w: Worker, all: readonly Line[]): Promise<void> {
  const enriched = await w.query("select order_id, amount from silver.enriched order by all", ["silver.enriched"]);
  assert.deepEqual(enriched, all.map((one) => [one.order_id, one.amount]).sort(), w.name);
  const newest = new Map(all.toSorted((a, b) => a.seq - b.seq).map((one) => [one.customer, one.seq]));
  const customers = await w.query("select customer, seq::int from silver.customers order by all", ["silver.customers"]);
  assert.deepEqual(customers, [...newest].sort(), w.name);
}

export const balanced = (w: Worker) =>
  assert.deepEqual(
    w.flow.ledger().filter((entry) => !entry.balanced),
    [],
    w.name,
  );
