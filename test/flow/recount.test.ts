import assert from "node:assert/strict";
import { rename, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { pruneFiles } from "../../src/lake/prune.ts";
import { DAY_MS, openFlow, temporaryFolder } from "./open-flow.ts";

type Flow = Awaited<ReturnType<typeof openFlow>>;

const order = (id: number, more: Record<string, unknown> = {}) => ({
  order_id: `o${id}`,
  customer: `c${id % 3}`,
  country: "DE",
  amount: 10 + id,
  placed_at: "2026-01-01T10:00:00Z",
  ...more,
});

/** 60 orders in three flushes: second arrivals, filtered ones and dead letters among them. */
async function fill(f: Flow): Promise<void> {
  await f.append("rates", [{ country: "DE", rate: 2 }]);
  for (let part = 0; part < 3; part++) {
    const events = Array.from({ length: 20 }, (_, i) => order(part * 20 + i, { amount: 5 * (part * 20 + i) + 1 }));
    events[3] = order(part * 20); // a second arrival
    events[5] = order(part * 20 + 5, { customer: "test" }); // filtered
    events[7] = order(part * 20 + 7, { amount: -1 }); // fails a check
    await f.append("orders", events);
    await f.flow.flush();
  }
}

/** Commits other rows in place of a table's, as a fault in whatever writes tables would: files, statistics and all. */
async function swapRows(f: Flow, name: string, sql: string): Promise<void> {
  const { lake } = f.flow;
  const table = lake.get(name);
  const { snapshot } = table;
  const add = await lake.write(table, { sql, inputs: new Map([["rows", lake.relation(table)]]) });
  await lake.commit(table, {
    operation: "FLUSH",
    readVersion: snapshot.version,
    add,
    remove: snapshot.files.map((file) => file.path),
  });
}

async function addRows(f: Flow, name: string, sql: string): Promise<void> {
  const { lake } = f.flow;
  const table = lake.get(name);
  const { version } = table.snapshot;
  const add = await lake.write(table, { sql, inputs: new Map([["rows", lake.relation(table)]]) });
  await lake.commit(table, { operation: "FLUSH", readVersion: version, add });
}

async function setCounters(f: Flow, name: string, counters: Record<string, number>): Promise<void> {
  const { lake } = f.flow;
  const table = lake.get(name);
  const { version, txn } = table.snapshot;
  const changed = Object.entries(counters).map(([counter, by]): [string, number] => {
    const appId = `millrace:orders:0:${counter}`;
    return [appId, (txn.get(appId) ?? 0) + by];
  });
  await lake.commit(table, { operation: "FLUSH", readVersion: version, txn: new Map(changed) });
}

let rewritten = 0;

/** Rewrites the data file that holds an offset, on the disk alone. */
async function rewriteFile(f: Flow, dir: string, name: string, offset: number, sql: string): Promise<string> {
  const table = f.flow.lake.get(name);
  const [file] = pruneFiles(table.snapshot.files, [{ column: "_offset", op: "=", value: offset }]);
  assert.ok(file);
  const path = join(dir, "lake", table.delta.location, file.path);
  const other = join(dir, "tmp", "other.parquet");
  // The engine trusts what it remembers of a path.
  const unseen = path.replace(/\/([^/]*)$/, `${"/".repeat(2 + rewritten++)}$1`);
  await f.engine.local.run(
    `copy (${sql.replaceAll("rows", `read_parquet('${unseen}')`)}) to '${other}' (format parquet)`,
  );
  await rename(other, path);
  return file.path;
}

const brief = (f: Flow) =>
  f.flow.imbalances().map(({ what, stream, hop, partition, ranges, expected, found }) => ({
    ...{ what, stream, hop, partition, expected, found },
    ranges: ranges.map(({ from, to }) => [from, to]),
  }));

const alerts = (f: Flow) => f.query(`select "key", state from system.alerts order by "at", "key"`, ["system.alerts"]);

const hop = (f: Flow, name: string) =>
  f.flow.ledger().find((entry) => entry.hop === name) ?? assert.fail(`no hop ${name}`);

test("a healthy platform is verified up to the last event of every hop, and has no imbalance and no alert", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  await fill(f);
  assert.deepEqual(await f.flow.verifyLedger(), []);
  for (const entry of f.flow.ledger()) {
    assert.deepEqual([entry.balanced, entry.verified?.to, entry.pending], [true, entry.accepted - 1, 0], entry.hop);
  }
  assert.deepEqual(await alerts(f), []);
  const rows = await f.query(
    "select verified_to, verified_at is not null, imbalance from system.ledger where hop = 'silver.enriched'",
    ["system.ledger"],
  );
  assert.deepEqual(rows, [[59, true, null]]);
  await f.close();
});

test("rows that bronze has lost or holds twice are named by their offsets", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  await fill(f);
  await swapRows(f, "bronze.orders", "select * from rows where _offset not in (4, 30, 31, 32)");
  await f.flow.verifyLedger();
  const place = { what: "rows", stream: "orders", hop: "bronze.orders", partition: 0 };
  const missing = [
    [4, 4],
    [30, 32],
  ];
  assert.deepEqual(brief(f), [{ ...place, expected: 60, found: 56, ranges: missing }]);
  assert.equal(hop(f, "bronze.orders").balanced, false);
  const [[imbalance] = []] = await f.query("select imbalance from system.ledger where not balanced", ["system.ledger"]);
  assert.equal(
    imbalance,
    "bronze.orders, partition 0 of stream orders: 60 events were stored, there are 56 rows of 56 events, at offsets 4, 30 to 32",
  );
  await addRows(
    f,
    "bronze.orders",
    "select * replace (33::bigint as _offset) from rows where _offset between 33 and 36",
  );
  await f.flow.verifyLedger();
  const wrong = [
    [4, 4],
    [30, 33],
  ];
  assert.deepEqual(brief(f), [{ ...place, expected: 60, found: 60, ranges: wrong }], "as many rows as there should be");
  await f.crash();
});

test("rows missing from, or doubled in, a table are named by their offsets, and a replay puts them right", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  await fill(f);
  await swapRows(f, "silver.orders", "select * from rows where _offset not between 10 and 12");
  await swapRows(f, "silver.enriched", "select * from rows where _offset not in (21, 50)");
  await addRows(f, "silver.large", "select * from rows where _offset = 40");
  await f.flow.verifyLedger();
  const place = { what: "stored", stream: "orders", partition: 0 };
  const damage = [
    {
      ...{ ...place, hop: "silver.enriched", expected: 51, found: 49 },
      ranges: [
        [21, 21],
        [50, 50],
      ],
    },
    { ...place, hop: "silver.large", expected: 34, found: 35, ranges: [[40, 40]] },
    { ...place, hop: "silver.orders", expected: 57, found: 54, ranges: [[10, 12]] },
  ];
  assert.deepEqual(brief(f), damage);
  const keys = ["silver.enriched/0/stored", "silver.large/0/stored", "silver.orders/0/stored"];
  assert.deepEqual(
    await alerts(f),
    keys.map((key) => [key, "firing"]),
  );
  await f.append("orders", [order(60)]);
  await f.flow.flush();
  await f.flow.verifyLedger();
  assert.deepEqual(
    brief(f).map(({ hop, ranges }) => [hop, ranges]),
    damage.map(({ hop, ranges }) => [hop, ranges]),
    "what comes later does not hide it",
  );
  for (const { hop } of damage) await f.flow.replay(hop);
  assert.deepEqual(await f.flow.verifyLedger(), []);
  assert.deepEqual(
    await alerts(f),
    keys.map((key) => [key, "resolved"]),
  );
  const events = await f.query("select state, count(*) from system.alert_events group by 1 order by 1", [
    "system.alert_events",
  ]);
  assert.deepEqual(events, [
    ["firing", 3],
    ["resolved", 3],
  ]);
  await f.close();
});

test("a data file rewritten on the disk is named with the offsets it should hold, and the events it lacks", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  await fill(f);
  await f.flow.refresh("gold.daily");
  assert.deepEqual(await f.flow.verifyLedger(), []);
  const file = await rewriteFile(f, dir.path, "silver.enriched", 26, "select * from rows where _offset <> 26");
  const found = await f.flow.verifyLedger();
  assert.deepEqual(
    found.map(({ what, hop, from, to, expected, found }) => [what, hop, from, to, expected, found]),
    [
      ["file", "silver.enriched", 20, 39, 17, 16],
      ["stored", "silver.enriched", 26, 26, 51, 50],
    ],
  );
  assert.ok(found[0]?.message.includes(`${file}, offsets 20 to 39, holds 16 rows of 17`), found[0]?.message);
  await rewriteFile(
    f,
    dir.path,
    "silver.enriched",
    28,
    "select * from rows union all select * from rows where _offset = 28",
  );
  const doubled = await f.flow.verifyLedger();
  assert.deepEqual(
    doubled.map(({ what, from, to, expected, found }) => [what, from, to, expected, found]),
    [["stored", 26, 26, 51, 50]],
    "the file has as many rows as its commit says, and an event is missing all the same",
  );
  await f.crash();
});

test("a cut or lost data file is named with its offsets", async () => {
  await using dir = await temporaryFolder();
  {
    await using f = await openFlow(dir.path);
    await fill(f);
    const paths = ["bronze.orders", "silver.fx"].map((name) => {
      const { delta, snapshot } = f.flow.lake.get(name);
      return join(dir.path, "lake", delta.location, snapshot.files[0]?.path ?? "");
    });
    await f.crash();
    for (const path of paths) await truncate(path, 100);
    await rm(paths[1] ?? "");
  }
  await using f = await openFlow(dir.path);
  const found = (await f.flow.verifyLedger()).filter(({ what }) => what === "file");
  assert.deepEqual(
    found.map(({ hop, from, to }) => [hop, from, to]),
    [
      ["bronze.orders", 0, 19],
      ["silver.fx", 0, 0],
    ],
  );
  for (const { message } of found) assert.match(message, /the data file part-.*\.parquet, offsets .* cannot be read/);
  await f.crash();
});

test("a counter that is wrong is named, alone or with others that make up for it", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  await fill(f);
  await f.flow.verifyLedger();
  await setCounters(f, "silver.orders", { stored: 1 });
  await setCounters(f, "silver.enriched", { dead: -1, duplicate: 1 });
  await setCounters(f, "silver.large", { stored: 2, filtered: -2 });
  const found = await f.flow.verifyLedger();
  const place = { stream: "orders", partition: 0, ranges: [] };
  assert.deepEqual(brief(f), [
    { ...place, what: "duplicate", hop: "silver.enriched", expected: 3, found: 4 },
    { ...place, what: "stored", hop: "silver.large", expected: 36, found: 34 },
    { ...place, what: "counters", hop: "silver.orders", expected: 60, found: 61 },
    { ...place, what: "stored", hop: "silver.orders", expected: 58, found: 57 },
  ]);
  assert.match(
    found[0]?.message ?? "",
    /4 events were counted as second arrivals, bronze marks 3, somewhere in offsets 0 to 59/,
  );
  await setCounters(f, "silver.enriched", { dead: 0, duplicate: -1, filtered: 1 });
  await f.flow.verifyLedger();
  const dead = brief(f).find(({ hop }) => hop === "silver.enriched");
  assert.deepEqual(dead, { ...place, what: "dead", hop: "silver.enriched", expected: 3, found: 2 });
  await f.crash();
});

test("an imbalance raises one alert, however often it is found and whatever dies, and one that comes back another", async () => {
  await using dir = await temporaryFolder();
  const events = (f: Flow) =>
    f.query("select event_id from system.alert_events order by _offset", ["system.alert_events"]);
  const key = "ledger/imbalance/silver.orders/0/stored";
  {
    await using f = await openFlow(dir.path);
    await fill(f);
    await swapRows(f, "silver.orders", "select * from rows where _offset <> 10");
    await f.flow.verifyLedger();
    await f.flow.verifyLedger();
    assert.deepEqual(await events(f), [[`${key}/0/firing`]]);
    await f.crash();
  }
  {
    await using f = await openFlow(dir.path);
    await swapRows(f, "silver.orders", "select * from rows where _offset <> 11");
    await f.flow.verifyLedger();
    assert.deepEqual(await events(f), [[`${key}/0/firing`]], "it fires since before the restart");
    await f.flow.replay("silver.orders");
    await f.flow.verifyLedger();
    await f.crash();
  }
  await using f = await openFlow(dir.path);
  await f.flow.verifyLedger();
  await swapRows(f, "silver.orders", "select * from rows where _offset <> 12");
  await f.flow.verifyLedger();
  assert.deepEqual(
    await events(f),
    [`${key}/0/firing`, `${key}/0/resolved`, `${key}/1/firing`].map((id) => [id]),
  );
  assert.deepEqual(
    await f.query("select id, severity, state, resolved_at is null from system.alerts order by id", ["system.alerts"]),
    [
      [`${key}/0`, "critical", "resolved", false],
      [`${key}/1`, "critical", "firing", true],
    ],
  );
  const [[details] = []] = await f.query("select details from system.alerts where state = 'firing'", ["system.alerts"]);
  const { hop, from, to, expected, found } = typeof details === "string" ? JSON.parse(details) : (details as never);
  assert.deepEqual(
    { hop, from, to, expected, found },
    { hop: "silver.orders", from: 12, to: 12, expected: 57, found: 56 },
  );
  await f.crash();
});

test("traffic, flushes, compaction, retries, replays and a trimmed log give no false alarm, while and after", async () => {
  await using dir = await temporaryFolder();
  let ahead = 0;
  await using f = await openFlow(dir.path, { clock: () => Date.now() + ahead, partitions: 2 });
  const refused = { kind: "refused", code: "EVENT_INVALID", message: "no" } as const;
  const request = { actor: "tester", admit: () => refused };
  let sent = 0;
  const send = () =>
    f.append(
      "orders",
      Array.from({ length: 50 }, () => {
        const id = sent++ % 700;
        const broken = id % 50 === 3 ? { amount: -1 } : id % 50 === 7 ? { note: "n=x" } : {};
        return order(id, { amount: id + 1, ...broken });
      }),
    );
  const works = [
    async () => void (await f.append("rates", [{ country: "DE", rate: 1 + (sent % 3) }])),
    () => f.flow.flush(),
    async () => void (await f.flow.replay("silver.large")),
    async () => void (await f.flow.deadLetterDesk.retry({ filter: { table: "silver.enriched" } }, request)),
    async () => void (await f.flow.replay("silver.fx")),
    async () => {
      ahead += 8 * DAY_MS;
    },
  ];
  let going = true;
  const recounts = (async () => {
    let rounds = 0;
    for (; going || rounds < 2; rounds++) assert.deepEqual(await f.flow.verifyLedger(), []);
    return rounds;
  })();
  const traffic = (async () => {
    for (let i = 0; i < 40; i++) {
      await send();
      if (i % 2 === 1) await f.flow.flush(["orders"]);
    }
  })();
  for (let i = 0; i < works.length; i++) await works[i % works.length]?.();
  await traffic;
  going = false;
  assert.ok((await recounts) > 1);
  await f.flow.flush();
  assert.deepEqual(await f.flow.verifyLedger(), []);
  const history = await f.flow.lake.get("bronze.orders").delta.history(1000);
  assert.ok(history.some(({ operation }) => operation === "COMPACT"));
  assert.deepEqual(await f.query("select * from system.alert_events", ["system.alert_events"]), []);
  for (const { hop, partition, verified, accepted } of f.flow.ledger())
    assert.equal(verified?.to, accepted - 1, `${hop}/${partition}`);
  await f.close();
});
