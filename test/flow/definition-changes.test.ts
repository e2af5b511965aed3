/** What becomes of a project with a history when one thing in its definitions changes: it applies, or the start is refused by name. */
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { openFlow, temporaryFolder } from "./open-flow.ts";

const STREAM = `export const orders = stream("orders", {
  schema: z.object({ order_id: z.string(), customer: z.string(), amount: z.number(), note: z.string().optional() }),
  id: ["order_id"],
});
`;
const CLEAN = `export const clean = table("silver.clean", {
  sql: "select order_id, customer, amount from orders", checks: { positive: "amount > 0" },
});
`;
const LATEST = `export const latest = table("silver.latest", {
  sql: "select customer, order_id, amount, amount > 90 as gone from orders", key: ["customer"], latest: "_offset",
});
`;
const PARTED = `export const parted = table("silver.parted", {
  sql: "select order_id, customer, amount from orders", partitionBy: ["customer"],
});
`;
const GOLD = `export const totals = table("gold.totals", {
  sql: "select customer, sum(amount) as amount from orders group by all",
});
`;
const ALL = STREAM + CLEAN + LATEST + PARTED + GOLD;

let count = 0;
async function project(dir: string, source: string): Promise<string> {
  const folder = join(dir, `project-${++count}`);
  await mkdir(folder);
  await writeFile(join(folder, "definitions.ts"), `import { stream, table, z } from "millrace";\n${source}`);
  const config = `import { defineConfig } from "millrace"; export default defineConfig({ name: "changing" });`;
  await writeFile(join(folder, "millrace.config.ts"), config);
  return folder;
}

const order = (n: number, more: object = {}) => ({ order_id: `o${n}`, customer: `c${n % 2}`, amount: n + 1, ...more });
const BEFORE = [order(0), order(1), order(2), order(1)];
/** Two events come after the change; the second repeats one from before it. */
const AFTER = [order(3), order(2)];

interface Change {
  readonly what: string;
  readonly from?: string;
  readonly to: string;
  /** The whole message. */
  readonly refused?: string;
  /** Statements over the changed project, each with what they give after two more events. */
  readonly gives?: readonly (readonly [table: string, sql: string, rows: unknown[][]])[];
  readonly after?: readonly object[];
}

const REFUSED = "definitions no longer fit what is stored:\n  ";
const NEW_NAME = "put that back, or give the table a new name: it is then built from all events there are";
const BY_NAME = "put that back (a stream keeps its events under its name), or give the table a new name";
const IDS = "select order_id from silver.clean order by _offset";

const CHANGES: readonly Change[] = [
  {
    what: "nothing",
    to: ALL,
    gives: [
      ["silver.clean", IDS, [["o0"], ["o1"], ["o2"], ["o3"]]],
      [
        "gold.totals",
        "select customer, amount from gold.totals order by 1",
        [
          ["c0", 4],
          ["c1", 6],
        ],
      ],
    ],
  },
  {
    what: "the SQL of an append table",
    to: ALL.replace('customer, amount from orders", checks', 'customer, amount * 10 as amount from orders", checks'),
    gives: [
      [
        "silver.clean",
        "select order_id, amount from silver.clean order by _offset",
        [
          ["o0", 1],
          ["o1", 2],
          ["o2", 3],
          ["o3", 40],
        ],
      ],
    ],
  },
  {
    what: "the SQL of a refreshed table",
    to: ALL.replace("sum(amount)", "max(amount)"),
    gives: [
      [
        "gold.totals",
        "select customer, amount from gold.totals order by 1",
        [
          ["c0", 3],
          ["c1", 4],
        ],
      ],
    ],
  },
  {
    what: "a check",
    to: ALL.replace("amount > 0", "amount > 100"),
    gives: [["silver.clean", IDS, [["o0"], ["o1"], ["o2"]]]],
  },
  {
    what: "a column added to an append table",
    to: ALL.replace(
      'select order_id, customer, amount from orders", checks',
      'select order_id, customer, amount, amount * 2 as twice from orders", checks',
    ),
    gives: [
      [
        "silver.clean",
        "select order_id, twice from silver.clean order by _offset",
        [
          ["o0", null],
          ["o1", null],
          ["o2", null],
          ["o3", 8],
        ],
      ],
    ],
  },
  {
    what: "a column removed",
    to: ALL.replace(
      'select order_id, customer, amount from orders", checks',
      'select order_id, amount from orders", checks',
    ),
    refused: `${REFUSED}silver.clean (definitions.ts): column customer VARCHAR is stored and the definition no longer has it; keep it under its old name, or rebuild the table under a new name`,
  },
  {
    what: "a column renamed",
    to: ALL.replace(
      'select order_id, customer, amount from orders", checks',
      'select order_id, customer as buyer, amount from orders", checks',
    ),
    refused: `${REFUSED}silver.clean (definitions.ts): column customer VARCHAR is stored and the definition no longer has it (renamed to buyer?); keep it under its old name, or rebuild the table under a new name`,
  },
  {
    what: "a column of another type",
    to: ALL.replace(
      'select order_id, customer, amount from orders", checks',
      'select order_id, customer, amount::integer as amount from orders", checks',
    ),
    refused: `${REFUSED}silver.clean (definitions.ts): column amount is stored as DOUBLE and would become INTEGER; keep the type (cast it in the SQL), give the new column another name, or rebuild the table under a new name`,
  },
  {
    what: "the key of a table",
    to: ALL.replace('key: ["customer"]', 'key: ["order_id"]'),
    refused: `${REFUSED}silver.latest (definitions.ts): its key was customer and is order_id now; ${NEW_NAME}`,
  },
  {
    what: "a key where there was none",
    to: ALL.replace('checks: { positive: "amount > 0" }', 'key: ["customer"], latest: "_offset"'),
    refused: `${REFUSED}silver.clean (definitions.ts): its key was none and is customer now, its latest was none and is _offset now; ${NEW_NAME}`,
  },
  {
    what: "the column that says which row is newest",
    to: ALL.replace('latest: "_offset"', 'latest: "amount"'),
    refused: `${REFUSED}silver.latest (definitions.ts): its latest was _offset and is amount now; ${NEW_NAME}`,
  },
  {
    what: "a tombstone",
    to: ALL.replace('latest: "_offset"', 'latest: "_offset", tombstone: "gone"'),
    refused: `${REFUSED}silver.latest (definitions.ts): its tombstone was none and is gone now; ${NEW_NAME}`,
  },
  {
    what: "the division of its files",
    to: ALL.replace('partitionBy: ["customer"]', 'partitionBy: ["order_id"]'),
    refused: `${REFUSED}silver.parted (definitions.ts): its files are divided by customer, and its definition now wants order_id (partitionBy); ${NEW_NAME}`,
  },
  {
    what: "an append table that becomes a refreshed one",
    to: ALL.replace(
      'select order_id, customer, amount from orders", checks',
      'select order_id, customer, sum(amount) as amount from orders group by all", checks',
    ),
    refused: `${REFUSED}silver.clean (definitions.ts): it takes each event as it comes, and its definition now combines rows of its inputs; ${NEW_NAME}`,
  },
  {
    what: "a refreshed table that becomes an append one",
    to: ALL.replace(
      "select customer, sum(amount) as amount from orders group by all",
      "select customer, amount from orders",
    ),
    refused: `${REFUSED}gold.totals (definitions.ts): it combines rows of its inputs, and its definition now takes each event as it comes; ${NEW_NAME}`,
  },
  {
    what: "a stream renamed with its tables",
    to: ALL.replaceAll("orders", "sales"),
    refused:
      `${REFUSED}silver.clean (definitions.ts): its rows are events of stream "orders", and its definition now takes those of "sales"; ${BY_NAME}\n` +
      `  silver.latest (definitions.ts): its rows are events of stream "orders", and its definition now takes those of "sales"; ${BY_NAME}\n` +
      `  silver.parted (definitions.ts): its rows are events of stream "orders", and its definition now takes those of "sales"; ${BY_NAME}`,
  },
  {
    what: "a stream removed with its tables",
    to: `export const other = stream("other", { schema: z.object({ a: z.string() }) });\n`,
    gives: [["bronze.other", "select count(*)::integer from bronze.other", [[0]]]],
    after: [],
  },
  {
    what: "a field that the contract requires from now on",
    to:
      ALL.replace("note: z.string().optional()", "note: z.string().optional(), currency: z.string()") +
      `export const priced = table("silver.priced", { sql: "select order_id, currency from orders" });\n`,
    after: AFTER.map((event) => ({ ...event, currency: "EUR" })),
    gives: [
      [
        "silver.priced",
        "select order_id, currency from silver.priced order by _offset",
        [
          ["o0", null],
          ["o1", null],
          ["o2", null],
          ["o3", "EUR"],
        ],
      ],
      ["orders", "select count(*)::integer from orders", [[4]]],
      [
        "gold.totals",
        "select customer, amount from gold.totals order by 1",
        [
          ["c0", 4],
          ["c1", 6],
        ],
      ],
    ],
  },
  {
    what: "a field that the contract no longer requires",
    to: ALL.replace("amount: z.number()", "amount: z.number().optional()"),
    after: [...AFTER, { order_id: "o4", customer: "c0" }],
    gives: [["silver.latest", "select order_id from silver.latest order by 1", [["o3"], ["o4"]]]],
  },
  {
    what: "another id: what has a value in another field is no repetition, and repetitions of stored events are known by the new one",
    to: ALL.replace('id: ["order_id"]', 'id: ["customer", "note"]'),
    // The first has for its id what an earlier event had for another; the second repeats a stored event by the new id.
    after: [
      { order_id: "new", customer: "o0", amount: 5 },
      { order_id: "other", customer: "c0", amount: 5 },
    ],
    gives: [["silver.clean", IDS, [["o0"], ["o1"], ["o2"], ["new"]]]],
  },
  {
    what: "an id of one field for that of another",
    to: ALL.replace('id: ["order_id"]', 'id: ["customer"]'),
    after: [{ order_id: "new", customer: "o0", amount: 5 }],
    gives: [["silver.clean", IDS, [["o0"], ["o1"], ["o2"], ["new"]]]],
  },
  {
    what: "an id where there was none",
    from: ALL.replace('id: ["order_id"],', ""),
    to: ALL,
    gives: [["silver.clean", IDS, [["o0"], ["o1"], ["o2"], ["o1"], ["o3"]]]],
  },
  {
    what: "no id any more",
    to: ALL.replace('id: ["order_id"],', ""),
    gives: [["silver.clean", IDS, [["o0"], ["o1"], ["o2"], ["o3"], ["o2"]]]],
  },
  {
    what: "the key that keeps events in order",
    to: ALL.replace('id: ["order_id"],', 'id: ["order_id"], key: "customer",'),
    gives: [["silver.clean", IDS, [["o0"], ["o1"], ["o2"], ["o3"]]]],
  },
];

for (const { what, from = ALL, to, refused, gives = [], after = AFTER } of CHANGES) {
  test(`a change of ${what} ${refused ? "is refused, and the project goes on as it was" : "applies"}`, async () => {
    assert.ok(what === "nothing" || from !== to, "the change is one");
    await using dir = await temporaryFolder();
    const folders = { from: await project(dir.path, from), to: await project(dir.path, to) };
    {
      await using f = await openFlow(dir.path, { project: folders.from });
      await f.append("orders", BEFORE);
      await f.flow.flush();
      await f.flow.refresher.settle();
    }
    if (refused !== undefined) {
      await assert.rejects(openFlow(dir.path, { project: folders.to }), {
        code: "SCHEMA_CHANGE_REFUSED",
        message: refused,
      });
    } else {
      await using f = await openFlow(dir.path, { project: folders.to });
      await f.flow.built();
      if (after.length > 0) await f.append("orders", after);
      for (const when of ["staged", "stored"]) {
        for (const [table, sql, rows] of gives) assert.deepEqual(await f.query(sql, [table]), rows, `${when}: ${sql}`);
        await f.flow.flush();
        await f.flow.refresher.settle();
      }
      if (from === ALL && after.length > 0) {
        const { arrivals } = await f.flow.receipt("orders", "o1", { older: true });
        assert.ok(
          arrivals.some(({ offset }) => offset === 1),
          "found by the id that it had when it came",
        );
      }
      for (const hop of f.flow.ledger()) assert.ok(hop.balanced && hop.pending === 0, JSON.stringify(hop));
      assert.deepEqual(await f.flow.verifyLedger(), []);
    }
    // What was stored is there under the old definitions, whatever was tried meanwhile.
    if (refused === undefined && from !== ALL) return;
    await using again = await openFlow(dir.path, { project: folders.from }).catch((error: { code?: string }) => {
      assert.equal(error.code, "SCHEMA_CHANGE_REFUSED");
      return undefined as never;
    });
    if (again === undefined) return;
    const [[orders] = []] = await again.query("select count(*)::integer from bronze.orders", ["bronze.orders"]);
    assert.equal(orders, BEFORE.length + (refused === undefined ? after.length : 0));
  });
}
