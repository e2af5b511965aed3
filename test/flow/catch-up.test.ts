import assert from "node:assert/strict";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { DAY_MS, type OpenFlowOptions, openFlow, temporaryFolder } from "./open-flow.ts";

type Flow = Awaited<ReturnType<typeof openFlow>>;

const HEAD = `import { stream, table, z } from "millrace";
export const orders = stream("orders", {
  schema: z.object({ order_id: z.string(), customer: z.string(), amount: z.number().optional() }),
  id: ["order_id"],
});
`;
const ENRICHED = `export const enriched = table("silver.enriched", {
  sql: "select order_id, customer, cast(amount as integer) as euros from orders where customer <> 'test'",
  checks: { positive: "euros >= 0" },
});
`;
const OVER = `export const large = table("silver.large", { sql: "select order_id, euros from silver.enriched where euros >= 5" });
`;
const LATEST = `export const latest = table("silver.latest", {
  sql: "select customer, order_id, amount from orders", key: ["customer"], latest: "_offset",
});
`;
const LOOKING_UP = `export const looking = table("silver.looking", {
  sql: "select o.order_id, l.customer from orders o left join silver.latest l using (customer)",
});
`;
const GOLD = `export const totals = table("gold.totals", {
  sql: "select customer, count(*) as orders, sum(euros) as euros from silver.enriched group by all",
});
`;
const ADDED = ENRICHED + OVER + LATEST + GOLD;

let projects = 0;
async function project(dir: string, definitions: string): Promise<string> {
  const folder = join(dir, `project-${++projects}`);
  await mkdir(folder);
  await writeFile(join(folder, "definitions.ts"), HEAD + definitions);
  const config = `import { defineConfig } from "millrace"; export default defineConfig({ name: "changing" });`;
  await writeFile(join(folder, "millrace.config.ts"), config);
  return folder;
}

/** Every fate an event can have, again and again: taken, repeated, refused by a check, by a cast, filtered. */
const event = (n: number) => ({
  order_id: `o${n % 10 === 3 ? n - 1 : n}`,
  customer: n % 10 === 4 ? "test" : `c${n % 3}`,
  amount: n % 10 === 5 ? -1 : n % 10 === 6 ? 1e12 : n % 10,
});
const events = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => event(from + i));

/** What the added tables have of the events below `to`, by the definition and not by the platform. */
function expected(to: number) {
  const seen = new Set<string>();
  const taken = events(0, to).filter(({ order_id: id }) => !seen.has(id) && seen.add(id));
  const enriched = taken
    .filter(({ customer, amount }) => customer !== "test" && amount >= 0 && amount < 1e9)
    .map(({ order_id, amount }) => [order_id, amount]);
  const newest = new Map(taken.map(({ customer, order_id }) => [customer, order_id]));
  return { enriched, large: enriched.filter(([, euros]) => (euros as number) >= 5), newest: [...newest].sort() };
}

async function assertComplete(f: Flow, to: number): Promise<void> {
  const { enriched, large, newest } = expected(to);
  const rows = (sql: string, table: string) => f.query(sql, [table]);
  const byNumber = "order by substr(order_id, 2)::integer";
  assert.deepEqual(await rows(`select order_id, euros from silver.enriched ${byNumber}`, "silver.enriched"), enriched);
  assert.deepEqual(await rows(`select order_id, euros from silver.large ${byNumber}`, "silver.large"), large);
  assert.deepEqual(await rows("select customer, order_id from silver.latest order by 1", "silver.latest"), newest);
  const [[orders, euros] = []] = await rows(
    "select sum(orders)::integer, sum(euros)::integer from gold.totals",
    "gold.totals",
  );
  assert.deepEqual([orders, euros], [enriched.length, enriched.reduce((sum, [, one]) => sum + Number(one), 0)]);
  await f.flow.flush();
  const hops = f.flow.ledger();
  assert.equal(hops.length, 5);
  for (const hop of hops) assert.ok(hop.balanced && hop.pending === 0 && hop.accepted === to, JSON.stringify(hop));
  assert.deepEqual(await f.flow.verifyLedger(), []);
  const twice =
    "select stream || event_offset || coalesce(table_name, '') from system.dead_letters group by 1 having count(*) > 1";
  assert.deepEqual(await f.query(twice, ["system.dead_letters"]), []);
}

/** A project's life up to the moment at which tables are added: 600 events stored, of which the log has all or the newest. */
async function history(dir: string, trimmed: boolean, definitions = "") {
  let nowMs = Date.now() - 9 * DAY_MS;
  const options: OpenFlowOptions = { clock: () => nowMs, segmentBytes: 4096, flushBytes: 4096 };
  const folder = await project(dir, definitions);
  {
    await using f = await openFlow(dir, { ...options, project: folder });
    for (let n = 0; n < 600; n += 100) {
      await f.append("orders", events(n, n + 100));
      await f.flow.flush();
    }
  }
  if (trimmed) nowMs += 8 * DAY_MS;
  {
    await using f = await openFlow(dir, { ...options, project: folder });
    await f.append("orders", events(600, 610));
    await f.flow.flush();
    assert.equal(f.log.ends("orders", 0).start > 0, trimmed);
  }
  return options;
}

for (const trimmed of [false, true]) {
  const log = trimmed ? "of which the log has the newest events only" : "of which the log has everything";
  test(`append, keyed and refreshed tables added to a project with a history ${log} get all of it, while new events come`, async () => {
    await using dir = await temporaryFolder();
    const options = await history(dir.path, trimmed);
    await using f = await openFlow(dir.path, { ...options, project: await project(dir.path, ADDED) });
    // Acknowledged and stored at once, whatever is still to be built.
    await f.append("orders", events(610, 620));
    await f.flow.flush();
    assert.equal(f.flow.ledger().find(({ hop }) => hop === "silver.orders")?.pending, 0);
    await f.flow.built();
    assert.deepEqual(f.flow.building(), []);
    await f.append("orders", events(620, 630));
    await assertComplete(f, 630);
  });
}

test("until a table is complete no query gets a part of it: the error says how far it is, and so does the ledger", async () => {
  await using dir = await temporaryFolder();
  const options = await history(dir.path, true);
  await using f = await openFlow(dir.path, { ...options, project: await project(dir.path, ADDED + LOOKING_UP) });
  const added = ["silver.enriched", "silver.large", "silver.latest", "silver.looking"];
  assert.deepEqual(
    f.flow
      .building()
      .map(({ table }) => table)
      .sort(),
    added,
  );
  assert.deepEqual(f.flow.unavailable(), {});
  let asked = 0;
  while (f.flow.building().length > 0) {
    for (const table of [...added, "gold.totals"]) {
      const [row, error] = await f.query(`select count(*)::integer from ${table}`, [table]).then(
        ([one]) => [one, undefined],
        (reason: unknown) => [undefined, reason],
      );
      if (error) {
        const { code, message } = error as { code: string; message: string };
        assert.equal(code, "TABLE_BUILDING", message);
        assert.match(message, /^table "\w+\.\w+" is not complete yet: .+; \d+ of 610 events are taken in$/);
        asked++;
      } else if (table === "silver.enriched") assert.deepEqual(row, [expected(610).enriched.length]);
    }
    for (const hop of f.flow.ledger()) assert.ok(hop.balanced, JSON.stringify(hop));
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(asked > 0);
  const [[looked] = []] = await f.query("select count(*)::integer from silver.looking where customer is not null", [
    "silver.looking",
  ]);
  assert.equal(looked, 549);
});

test("a build that dies behind any piece goes on behind it, and repeats neither rows nor dead letters", async () => {
  await using dir = await temporaryFolder();
  const options = await history(dir.path, true);
  const added = await project(dir.path, ADDED);
  const before = new Set<number>();
  for (let life = 0; life < 5; life++) {
    await using f = await openFlow(dir.path, { ...options, project: added });
    const { lake } = f.flow;
    const [commit, write] = [lake.commit.bind(lake), lake.write.bind(lake)];
    let left = life;
    const die = (name: string) => {
      if (name.startsWith("silver.") && name !== "silver.orders" && left-- <= 0) throw new Error("died");
    };
    lake.commit = async (table, request) => {
      die(table.name);
      return commit(table, request);
    };
    lake.write = async (table, ...rest) => {
      if (life % 2 === 0) die(table.name);
      return write(table, ...rest);
    };
    while (!f.flow.building().some(({ failure }) => failure !== undefined) && f.flow.building().length > 0)
      await new Promise((resolve) => setImmediate(resolve));
    before.add(f.flow.building()[0]?.events ?? 610);
    await f.crash();
  }
  assert.ok(before.size > 1, `progress was kept: ${[...before]}`);
  await using f = await openFlow(dir.path, { ...options, project: added });
  await f.flow.built();
  await assertComplete(f, 610);
});

test("a build that fails says why, is tried again, and the platform takes events all the same", async () => {
  await using dir = await temporaryFolder();
  const options = await history(dir.path, true);
  await using f = await openFlow(dir.path, { ...options, project: await project(dir.path, ADDED) });
  const { lake } = f.flow;
  const write = lake.write.bind(lake);
  let broken = true;
  lake.write = async (table, ...rest) => {
    if (broken && table.name === "silver.enriched") throw new Error("no space left on device");
    return write(table, ...rest);
  };
  while (f.flow.building()[0]?.failure === undefined) await new Promise((resolve) => setImmediate(resolve));
  assert.match(f.flow.building()[0]?.failure ?? "", /no space left/);
  await f.append("orders", events(610, 620));
  await f.flow.flush();
  broken = false;
  await f.flow.built();
  await assertComplete(f, 620);
});

test("a stream whose bronze cannot be read holds up no table of another one, and its own are built once it can be", async () => {
  await using dir = await temporaryFolder();
  const visits = `export const visits = stream("visits", { schema: z.object({ page: z.string() }) });
`;
  const pages = `export const pages = table("silver.pages", { sql: "select page from visits" });
`;
  const options: OpenFlowOptions = { flushBytes: 4096 };
  {
    await using f = await openFlow(dir.path, { ...options, project: await project(dir.path, visits) });
    for (let n = 0; n < 600; n += 100) {
      await f.append("orders", events(n, n + 100));
      const seen = Array.from({ length: 100 }, (_, i) => ({ page: `/${n + i}` }));
      await f.append("visits", seen);
      await f.flow.flush();
    }
  }
  const folder = join(dir.path, "lake/bronze/orders");
  const files = (await readdir(folder)).filter((name) => name.endsWith(".parquet"));
  const whole = await Promise.all(files.map((name) => readFile(join(folder, name))));
  for (const name of files) await writeFile(join(folder, name), "");
  await using f = await openFlow(dir.path, {
    ...options,
    project: await project(dir.path, visits + ENRICHED + pages),
  });
  const building = () => f.flow.building().map(({ table }) => table);
  assert.deepEqual(building(), ["silver.enriched", "silver.pages"]);
  for (let i = 0; i < 500 && building().includes("silver.pages"); i++) await sleep(20);
  assert.deepEqual(building(), ["silver.enriched"]);
  assert.notEqual(f.flow.building()[0]?.failure, undefined);
  assert.deepEqual(await f.query("select count(*)::integer from silver.pages", ["silver.pages"]), [[600]]);
  for (const [i, name] of files.entries()) await writeFile(join(folder, name), whole[i] as Buffer);
  await f.flow.built();
  const rows = await f.query("select count(*)::integer from silver.enriched", ["silver.enriched"]);
  assert.deepEqual(rows, [[expected(600).enriched.length]]);
});

test("a table that waited for two others, of streams of their own, goes on once both are built", async () => {
  await using dir = await temporaryFolder();
  const lookUp = (name: string) => `
export const ${name} = stream("${name}", { schema: z.object({ customer: z.string(), n: z.number() }) });
export const ${name}Now = table("silver.${name}", {
  sql: "select customer, n from ${name}", key: ["customer"], latest: "_offset",
});
`;
  const both = `export const both = table("silver.both", {
  sql: "select order_id, r.n as rate, b.n as bonus from orders left join silver.rates r using (customer) left join silver.bonuses b using (customer)",
});
`;
  const folder = await project(dir.path, lookUp("rates") + lookUp("bonuses") + both);
  const options: OpenFlowOptions = { flushBytes: 4096, project: folder };
  const live = async (f: Flow, from: number) => {
    const some = Array.from({ length: 300 }, (_, i) => ({ customer: `c${i % 3}`, n: from + i }));
    for (const stream of ["rates", "bonuses"]) await f.append(stream, some);
    await f.flow.flush();
    await f.append("orders", events(from, from + 300));
    await f.flow.flush();
  };
  {
    await using f = await openFlow(dir.path, options);
    await live(f, 0);
  }
  for (const table of ["rates", "bonuses"]) await rm(join(dir.path, "lake/silver", table), { recursive: true });
  await using f = await openFlow(dir.path, { ...options, flushBytes: 1024 });
  assert.deepEqual(
    f.flow.building().map(({ waitsFor }) => waitsFor),
    [undefined, undefined, "silver.rates"],
  );
  for (let i = 0; i < 500 && f.flow.building().length > 0; i++) await sleep(20);
  assert.deepEqual(f.flow.building(), []);
  await live(f, 300);
  const count =
    "select count(distinct order_id)::integer, count(rate)::integer, count(bonus)::integer from silver.both";
  assert.deepEqual(await f.query(count, ["silver.both"]), [[540, 480, 480]]);
});

for (const [how, files] of [
  ["put back with its files", false],
  ["put back without its files", true],
] as const) {
  test(`tables that were taken out of the project and ${how} get what came meanwhile`, async () => {
    await using dir = await temporaryFolder();
    let nowMs = Date.now() - 20 * DAY_MS;
    const options: OpenFlowOptions = { clock: () => nowMs, segmentBytes: 4096, flushBytes: 4096 };
    const [without, withTables] = [await project(dir.path, ""), await project(dir.path, ADDED)];
    let next = 0;
    const live = async (folder: string, count: number) => {
      await using f = await openFlow(dir.path, { ...options, project: folder });
      await f.append("orders", events(next, next + count));
      next += count;
      await f.flow.flush();
    };
    await live(withTables, 200);
    for (let i = 0; i < 3; i++) {
      nowMs += 3 * DAY_MS;
      await live(without, 100);
    }
    nowMs += 8 * DAY_MS;
    await live(without, 10);
    for (const table of files ? ["enriched", "latest"] : [])
      await rm(join(dir.path, "lake/silver", table), { recursive: true });
    await using f = await openFlow(dir.path, { ...options, project: withTables });
    await f.append("orders", events(next, next + 10));
    await f.flow.built();
    await assertComplete(f, next + 10);
  });
}
