import assert from "node:assert/strict";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { openFlow, temporaryFolder } from "./open-flow.ts";

type Flow = Awaited<ReturnType<typeof openFlow>>;

const event = fc.record({
  id: fc.integer({ min: 0, max: 25 }),
  country: fc.constantFrom("DE", "FR", "UK"),
  customer: fc.constantFrom("c", "c", "c", "test"),
  amount: fc.integer({ min: 50, max: 200 }),
  // What cannot be read as an order at all.
  broken: fc.integer({ min: 0, max: 11 }).map((n) => n === 0),
});

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("orders" as const),
      events: fc.array(event, { minLength: 1, maxLength: 8 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("rate" as const),
      country: fc.constantFrom("DE", "FR", "UK"),
      rate: fc.constantFrom(2, 3, 5000),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("flush" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("redefine" as const), project: fc.constantFrom("mended", "loosened") }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("replay" as const), at: fc.nat(40) }) },
);

function ordersOf(events: readonly (typeof event extends fc.Arbitrary<infer T> ? T : never)[]): unknown[] {
  return events.map(({ id, broken, ...rest }) =>
    broken ? { id } : { order_id: `o${id}`, ...rest, placed_at: `2026-01-0${1 + (id % 3)}T00:00:00Z` },
  );
}

/**
 * Lets events come, and be stored, when the replay has written its first file, and gives what resolves once they are. Where that file is
 * written while nothing may be flushed, they are stored as soon as it may.
 */
function storeDuringReplay(f: Flow, orders: unknown[]): () => Promise<void> {
  const { lake } = f.flow;
  const write = lake.write.bind(lake);
  let stored: Promise<void> | undefined;
  lake.write = async (table, statement, options) => {
    const files = await write(table, statement, options);
    if (stored === undefined) {
      stored = f.append("orders", orders).then(() => f.flow.flush());
      await Promise.race([stored, sleep(200)]);
    }
    return files;
  };
  return async () => stored;
}

/** Rows of each table, with the event they come from. */
const TABLES: Record<string, string> = {
  "silver.orders": "order_id, country, amount",
  "silver.rated": "order_id, country, amount, rate",
  "silver.large": "order_id, amount, rate",
  "silver.newest": "country, order_id, amount",
};

async function rowsOf(f: Flow, table: string): Promise<unknown[][]> {
  return f.query(`select _offset, ${TABLES[table]} from ${table} order by all`, [table], "committed");
}

/** Every table as a platform makes it that never saw anything but the log. */
async function fromScratch(dir: string, project: string): Promise<Map<string, unknown[][]>> {
  await using empty = await temporaryFolder();
  await cp(join(dir, "log"), join(empty.path, "log"), { recursive: true });
  await using f = await openFlow(empty.path, { project });
  await f.flow.flush(["rates"]);
  await f.flow.flush();
  const tables = new Map<string, unknown[][]>();
  for (const table of Object.keys(TABLES)) tables.set(table, await rowsOf(f, table));
  return tables;
}

test("whatever happened before, a replayed table is the table built from scratch, behind the offset it was replayed from", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 3, maxLength: 10 }),
      fc.nat(60),
      fc.constantFrom("offset", "whole", "log") satisfies fc.Arbitrary<string>,
      fc.array(event, { maxLength: 6 }),
      async (history, point, how, meanwhile) => {
        await using dir = await temporaryFolder();
        let project = "mended";
        // Small pieces, so that a replay has several.
        let f = await openFlow(dir.path, { project, flushBytes: 700 });
        try {
          await f.append("orders", [
            { order_id: "first", customer: "c", country: "DE", amount: 60, placed_at: "2026-01-01T00:00:00Z" },
          ]);
          for (const action of history) {
            const { end } = f.log.ends("orders", 0);
            if (action.do === "orders") await f.append("orders", ordersOf(action.events));
            else if (action.do === "rate") await f.append("rates", [{ country: action.country, rate: action.rate }]);
            else if (action.do === "flush") await f.flow.flush();
            else if (action.do === "replay") await f.flow.replay("silver.rated", { fromOffset: action.at % end });
            else {
              // What waits is stored by the definition it was staged with.
              await f.flow.flush();
              project = action.project;
              await f.crash();
              f = await openFlow(dir.path, { project, flushBytes: 700 });
            }
          }
          await f.flow.flush();
          const before = new Map<string, unknown[][]>();
          for (const table of Object.keys(TABLES)) before.set(table, await rowsOf(f, table));
          const from = how === "whole" ? 0 : point % f.log.ends("orders", 0).end;
          const stored = meanwhile.length > 0 ? storeDuringReplay(f, ordersOf(meanwhile)) : undefined;
          if (how === "log") await f.flow.replay("bronze.orders", { fromOffset: from });
          else await f.flow.replay("silver.rated", how === "whole" ? {} : { fromOffset: from });
          await stored?.();
          const scratch = await fromScratch(dir.path, project);
          for (const table of Object.keys(TABLES)) {
            if (table === "silver.orders" && how !== "log") continue;
            const whole = table === "silver.newest" || from === 0;
            const expected = [
              ...(whole ? [] : (before.get(table) ?? []).filter(([offset]) => Number(offset) < from)),
              ...(scratch.get(table) ?? []).filter(([offset]) => whole || Number(offset) >= from),
            ];
            assert.deepEqual(await rowsOf(f, table), expected, `${table} from ${from}`);
          }
          for (const entry of f.flow.ledger()) {
            assert.ok(entry.balanced && (entry.stream !== "orders" || entry.pending === 0), JSON.stringify(entry));
            if (entry.stream !== "orders" || entry.hop === "silver.newest") continue;
            const [[stored] = []] = await f.query(`select count(distinct _offset) from ${entry.hop}`, [entry.hop]);
            const [[dead] = []] = await f.query(
              `select count(distinct event_offset) from system.dead_letters where stream = 'orders' and status <> 'retried'
                 and (table_name is null or table_name = '${entry.hop}')`,
              ["system.dead_letters"],
            );
            const expected = entry.hop === "bronze.orders" ? 0 : dead;
            assert.deepEqual([entry.stored, entry.deadLettered], [stored, expected], entry.hop);
          }
        } finally {
          await f.crash();
        }
      },
    ),
    { numRuns: Number(process.env["REPLAY_RUNS"] ?? 8) },
  );
});
