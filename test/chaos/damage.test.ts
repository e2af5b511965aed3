import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError } from "../../src/errors.ts";
import { openEmbeddedLog } from "../../src/log/embedded-log.ts";
import { DAY_MS, openFlow, temporaryFolder } from "../flow/open-flow.ts";

const order = (n: number) => ({
  order_id: `o${n}`,
  customer: "c",
  country: "DE",
  amount: "1.50",
  placed_at: "2026-01-01T00:00:00Z",
});
/** Commits of a table, oldest first. */
function commits(dir: string, table: string): string[] {
  const folder = join(dir, "lake", table.replace(".", "/"), "_delta_log");
  const names = readdirSync(folder).filter((name) => /^\d{20}\.json$/.test(name));
  return names.sort().map((name) => join(folder, name));
}

/** Damages a table's newest commit and returns its name. */
function spoilNewestCommit(dir: string, table: string, spoil: (bytes: Buffer) => Buffer): string {
  const file = commits(dir, table).at(-1) as string;
  writeFileSync(file, spoil(readFileSync(file)));
  return basename(file);
}

/** What tables hold, event by event. */
async function pictures(flow: Awaited<ReturnType<typeof openFlow>>, tables: readonly string[], reach?: "committed") {
  const rows = tables.map(async (table) =>
    (await flow.query(`select * from ${table} order by all`, [table], reach)).map(String),
  );
  return Object.fromEntries((await Promise.all(rows)).map((all, i) => [tables[i], all]));
}

const COUNT = "select count(*)::integer from bronze.orders";

test("a flipped bit in events that are not stored yet costs these events alone: each is a dead letter that names file and range, and the rest goes on", async () => {
  await using dir = await temporaryFolder();
  const before = await openFlow(dir.path);
  await before.append("orders", [order(0)]);
  await before.flow.flush();
  await before.append("orders", [order(1), order(2)]);
  await before.append("orders", [order(3)]);
  await before.append("rates", [{ country: "DE", rate: 2 }]);
  await before.crash();
  const file = join(dir.path, "log/orders/0/00000000000000000000.ndjson");
  const bytes = readFileSync(file);
  const at = bytes.indexOf('"o1"');
  bytes[at + 1] = bytes[at + 1]! ^ 1;
  writeFileSync(file, bytes);

  const log = await openEmbeddedLog({ dir: join(dir.path, "log") });
  await log.open("orders");
  const damage = { code: "LOG_CORRUPT", details: { stream: "orders", partition: 0, file, from: 1, to: 2 } };
  await assert.rejects(log.read("orders", 0, 1, 1 << 20), (error: MillraceError) => {
    const { stream, partition, file, from, to } = error.details as Record<string, unknown>;
    assert.deepEqual({ code: error.code, details: { stream, partition, file, from, to } }, damage);
    return true;
  });
  await log.close();

  await using flow = await openFlow(dir.path);
  const seen = async () => {
    const bronze = await flow.query("select payload = 'null', _id from bronze.orders order by _offset", [
      "bronze.orders",
    ]);
    assert.deepEqual(bronze, [
      [false, "o0"],
      [true, "0-1"],
      [true, "0-2"],
      [false, "o3"],
      [false, "o4"],
    ]);
    const silver = await flow.query("select order_id from silver.enriched order by 1", ["silver.enriched"]);
    assert.deepEqual(silver, [["o0"], ["o3"], ["o4"]]);
    const dead = await flow.query(
      "select stage, code, event_offset::integer, message from system.dead_letters order by event_offset",
      ["system.dead_letters"],
    );
    assert.deepEqual(
      dead.map((letter) => letter.slice(0, 3)),
      [
        ["log", "LOG_CORRUPT", 1],
        ["log", "LOG_CORRUPT", 2],
      ],
    );
    assert.match(String(dead[0]?.[3]), /events 1 to 2 .*00000000000000000000\.ndjson/);
  };
  await flow.append("orders", [order(4)]);
  await seen();
  await flow.flow.flush();
  await seen();
  assert.deepEqual(flow.flow.failures(), {});
  const hop = flow.flow.ledger().find((entry) => entry.hop === "silver.enriched");
  assert.deepEqual([hop?.accepted, hop?.stored, hop?.deadLettered, hop?.pending, hop?.balanced], [5, 3, 2, 0, true]);
});

const DAMAGES: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
  cut: (bytes) => bytes.subarray(0, bytes.length - 40),
  "cut between two lines": (bytes) => bytes.subarray(0, bytes.lastIndexOf(10, bytes.length - 2) + 1),
  "with a flipped bit that leaves it well-formed": (bytes) => {
    const at = bytes.indexOf('"size":') + 7;
    return Buffer.concat([bytes.subarray(0, at), Buffer.from([bytes[at]! ^ 1]), bytes.subarray(at + 1)]);
  },
};

for (const [how, spoil] of Object.entries(DAMAGES)) {
  test(`a newest commit ${how} is mended by the next start in every kind of table, and each event is there once`, async () => {
    await using dir = await temporaryFolder();
    const before = await openFlow(dir.path);
    await before.append("rates", [{ country: "DE", rate: 2 }]);
    await before.flow.flush();
    await before.append("orders", [order(0), order(1)]);
    await before.flow.flush();
    await before.append("orders", [order(1), order(2)]);
    await before.append("rates", [{ country: "DE", rate: 3 }]);
    await before.flow.flush();
    await before.flow.refresher.settle();
    const tables = ["bronze.orders", "silver.enriched", "silver.fx", "gold.daily"];
    const wanted = await pictures(before, tables);
    // How far the recount has come is nobody's promise.
    const counted = ({ flow }: typeof before) => flow.ledger().map(({ verified: _, ...entry }) => entry);
    const ledger = counted(before);
    await before.crash();
    for (const table of tables) spoilNewestCommit(dir.path, table, spoil);

    await using flow = await openFlow(dir.path);
    assert.deepEqual(flow.flow.unavailable(), {});
    assert.deepEqual(await pictures(flow, tables), wanted, "before anything is stored again");
    await flow.flow.flush();
    await flow.flow.refresher.settle();
    assert.deepEqual(await pictures(flow, tables), wanted, "after it is");
    assert.deepEqual(await pictures(flow, tables, "committed"), wanted, "in the files themselves");
    assert.deepEqual(counted(flow), ledger);
    await flow.append("orders", [order(3)]);
    await flow.flow.flush();
    await flow.flow.refresher.settle();
    const orders = await flow.query("select sum(orders)::integer from gold.daily", ["gold.daily"], "committed");
    assert.deepEqual(orders, [[4]]);
  });
}

test("a silver table whose newest commit does not even say what it was is unavailable, and nothing else; a replay brings it back", async () => {
  await using dir = await temporaryFolder();
  const before = await openFlow(dir.path);
  await before.append("rates", [{ country: "DE", rate: 2 }]);
  await before.append("orders", [order(0), order(1)]);
  await before.flow.flush();
  await before.crash();
  const file = spoilNewestCommit(dir.path, "silver.fx", (bytes) => Buffer.alloc(bytes.length));

  await using flow = await openFlow(dir.path);
  const said = flow.flow.unavailable();
  assert.deepEqual(Object.keys(said).sort(), ["silver.enriched", "silver.fx", "silver.large"]);
  assert.match(said["silver.fx"] ?? "", new RegExp(`${file}.*millrace replay silver.fx`));
  assert.match(said["silver.enriched"] ?? "", /needs silver.fx/);
  for (const table of ["silver.fx", "silver.enriched", "gold.totals"]) {
    await assert.rejects(flow.query(`select * from ${table}`, [table]), (error: MillraceError) => {
      assert.equal(error.code, "TABLE_UNAVAILABLE");
      return true;
    });
  }
  await flow.append("rates", [{ country: "FR", rate: 3 }]);
  await flow.append("orders", [order(2), order(1)]);
  assert.deepEqual(await flow.query(COUNT, ["bronze.orders"]), [[4]]);
  await flow.flow.flush();
  await flow.append("orders", [order(3)]);
  assert.deepEqual(await flow.query(COUNT, ["bronze.orders"]), [[5]]);
  assert.deepEqual(flow.flow.failures(), {});

  await flow.flow.replay("silver.fx");
  assert.deepEqual(flow.flow.unavailable(), {});
  const seen = async () => {
    const fx = await flow.query("select country, rate::integer from silver.fx order by 1", ["silver.fx"]);
    assert.deepEqual(fx, [
      ["DE", 2],
      ["FR", 3],
    ]);
    const orders = await flow.query("select order_id from silver.enriched order by 1", ["silver.enriched"]);
    assert.deepEqual(orders, [["o0"], ["o1"], ["o2"], ["o3"]]);
  };
  await seen();
  await flow.flow.flush();
  await seen();
  assert.ok(flow.flow.ledger().every((hop) => hop.balanced && hop.pending === 0));
});

test("bronze that the log of events cannot make again stands still with what hangs on it, and events are taken all the same", async () => {
  await using dir = await temporaryFolder();
  let nowMs = Date.now() - 9 * DAY_MS;
  const clock = () => nowMs;
  const before = await openFlow(dir.path, { clock });
  await before.append("rates", [{ country: "DE", rate: 2 }]);
  for (let i = 0; i < 3; i++) {
    const note = "x".repeat(700);
    await before.append(
      "orders",
      Array.from({ length: 1500 }, (_, n) => ({ ...order(i * 1500 + n), note })),
    );
  }
  await before.flow.flush();
  nowMs += 8 * DAY_MS;
  await before.append("orders", [order(9000)]);
  await before.flow.flush();
  assert.ok(before.log.ends("orders", 0).start > 0, "the log has forgotten its first events");
  await before.crash();
  const [file] = commits(dir.path, "bronze.orders").slice(1);
  writeFileSync(file as string, "{");

  await using flow = await openFlow(dir.path, { clock });
  const said = flow.flow.unavailable();
  assert.match(said["bronze.orders"] ?? "", /lake\/bronze\/orders\/_delta_log\/00000000000000000001.json/);
  assert.ok("silver.enriched" in said && "silver.large" in said && !("silver.fx" in said));
  await flow.append("orders", [order(9001)]);
  await flow.append("rates", [{ country: "FR", rate: 3 }]);
  await flow.flow.flush();
  assert.deepEqual(await flow.query("select count(*)::integer from silver.fx", ["silver.fx"]), [[2]]);
  for (const table of ["orders", "bronze.orders", "silver.enriched", "gold.daily"]) {
    await assert.rejects(flow.query(`select * from ${table}`, [table]), { code: "TABLE_UNAVAILABLE" });
  }
  await assert.rejects(flow.flow.replay("silver.enriched"), { code: "TABLE_UNAVAILABLE" });
  assert.ok(flow.flow.ledger().every((hop) => hop.balanced));
});

test("a table defined after the log has forgotten the first events is built from bronze by itself, and holds up nothing until then", async () => {
  await using dir = await temporaryFolder();
  let nowMs = Date.now() - 9 * DAY_MS;
  const clock = () => nowMs;
  const before = await openFlow(dir.path, { clock });
  const note = "x".repeat(700);
  for (let i = 0; i < 3; i++) {
    await before.append(
      "orders",
      Array.from({ length: 1500 }, (_, n) => ({ ...order(i * 1500 + n), note })),
    );
  }
  await before.flow.flush();
  nowMs += 8 * DAY_MS;
  await before.append("orders", [order(9000)]);
  await before.flow.flush();
  await before.crash();
  rmSync(join(dir.path, "lake/silver/large"), { recursive: true });

  await using flow = await openFlow(dir.path, { clock });
  assert.deepEqual(
    flow.flow.building().map(({ table }) => table),
    ["silver.large"],
  );
  await assert.rejects(flow.flow.replay("silver.large"), { code: "TABLE_BUILDING" });
  await flow.append("orders", [{ ...order(9001), amount: "500.00" }]);
  await flow.flow.flush();
  await flow.flow.built();
  await flow.append("orders", [{ ...order(9002), amount: "600.00" }]);
  const rows = await flow.query("select order_id from silver.large order by 1", ["silver.large"]);
  assert.deepEqual(rows, [["o9001"], ["o9002"]]);
  assert.ok(flow.flow.ledger().every((hop) => hop.balanced));
});

test("a cut Parquet file fails the queries that read it and no others", async () => {
  await using dir = await temporaryFolder();
  await using flow = await openFlow(dir.path);
  await flow.append("orders", [order(0)]);
  await flow.append("rates", [{ country: "DE", rate: 2 }]);
  await flow.flow.flush();
  const folder = join(dir.path, "lake/bronze/orders");
  const name = readdirSync(folder).find((file) => file.endsWith(".parquet")) as string;
  const good = readFileSync(join(folder, name));
  writeFileSync(join(folder, name), good.subarray(0, good.length >> 1));
  await assert.rejects(flow.query("select payload from bronze.orders", ["bronze.orders"]), (error: MillraceError) => {
    assert.ok(error.message.includes(name), error.message);
    return true;
  });
  assert.deepEqual(await flow.query("select count(*)::integer from silver.fx", ["silver.fx"]), [[1]]);
  await flow.append("orders", [order(1)]);
  await flow.flow.flush();
  assert.deepEqual(flow.flow.failures(), {}, "further events are stored");
});

/** Flips one bit in the middle of a table's only data file; its path below the data folder. */
function flipInFile(dir: string, table: string): string {
  const folder = join(dir, "lake", table.replace(".", "/"));
  const names = readdirSync(folder, { recursive: true }) as string[];
  const name = names.find((file) => file.endsWith(".parquet") && !file.includes("_delta_log")) as string;
  const bytes = readFileSync(join(folder, name));
  bytes[bytes.length >> 1]! ^= 4;
  writeFileSync(join(folder, name), bytes);
  return `lake/${table.replace(".", "/")}/${name}`;
}

test("a flipped bit in a data file is found by its checksum and named with the events it concerns; a replay mends it", async () => {
  await using dir = await temporaryFolder();
  await using flow = await openFlow(dir.path);
  await flow.append("rates", [{ country: "DE", rate: 2 }]);
  await flow.append("orders", [order(0), { ...order(1), amount: "500.00" }]);
  await flow.flow.flush();
  await flow.flow.refresher.settle();
  const tables = ["silver.large", "gold.daily"];
  const wanted = await pictures(flow, tables);
  await flow.flow.scrub();
  assert.deepEqual(flow.flow.unavailable(), {});

  const large = flipInFile(dir.path, "silver.large");
  flipInFile(dir.path, "gold.daily");
  await flow.flow.scrub();
  const said = flow.flow.unavailable();
  assert.ok(said["silver.large"]?.includes(`${large} does not match its checksum`), said["silver.large"]);
  assert.match(said["silver.large"] ?? "", /events 1 to 1 of partition 0.*millrace replay silver.large/);
  await assert.rejects(flow.query("select * from silver.large", ["silver.large"]), { code: "DATA_FILE_DAMAGED" });
  assert.deepEqual(await flow.query(COUNT, ["bronze.orders"]), [[2]]);
  await flow.flow.replay("silver.large");
  await flow.flow.refresh("gold.daily", { full: true });
  await flow.flow.scrub();
  assert.deepEqual(flow.flow.unavailable(), {});
  assert.deepEqual(await pictures(flow, tables), wanted);
});

test("a computed table with a damaged file is computed anew, again and again until the store lets it, though no event comes any more", async () => {
  await using dir = await temporaryFolder();
  await using flow = await openFlow(dir.path);
  await flow.append("orders", [order(0), order(1)]);
  await flow.flow.flush();
  await flow.flow.refresher.settle();
  const wanted = await pictures(flow, ["gold.daily"]);
  const { lake } = flow.flow;
  const write = lake.write.bind(lake);
  let refused = 0;
  lake.write = async (...args) => {
    if (args[0].name === "gold.daily" && refused++ === 0)
      throw new MillraceError("LAKE_UNAVAILABLE", { operation: "write", key: "daily", reason: "cut off" });
    return write(...args);
  };
  flipInFile(dir.path, "gold.daily");
  await flow.flow.scrub();
  assert.ok("gold.daily" in flow.flow.unavailable());
  await flow.flow.refresher.settle();
  for (let i = 0; i < 500 && "gold.daily" in flow.flow.unavailable(); i++) await sleep(20);
  assert.deepEqual([refused, flow.flow.unavailable()], [2, {}]);
  assert.deepEqual(await pictures(flow, ["gold.daily"], "committed"), wanted);
});

for (const known of [false, true]) {
  const when = known ? "after its checksum has told" : "before anybody has noticed";
  test(`a cut file of a silver table, ${when}, is mended by a replay that takes along what is computed from the table`, async () => {
    await using dir = await temporaryFolder();
    await using flow = await openFlow(dir.path);
    await flow.append("rates", [{ country: "DE", rate: 2 }]);
    await flow.append(
      "orders",
      Array.from({ length: 2000 }, (_, n) => order(n)),
    );
    await flow.flow.flush();
    await flow.flow.refresher.settle();
    const tables = ["silver.enriched", "gold.daily"];
    const wanted = await pictures(flow, tables);
    const [file] = flow.flow.lake.get("silver.enriched").snapshot.files;
    const path = join(dir.path, "lake/silver/enriched", file!.path);
    writeFileSync(path, readFileSync(path).subarray(0, file!.sizeBytes >> 4));
    if (known) await flow.flow.scrub();
    const outcome = await flow.flow.replay("silver.enriched");
    assert.deepEqual(
      outcome.tables.filter(({ failure }) => failure !== undefined),
      [],
    );
    assert.ok(outcome.tables.some(({ table }) => table === "gold.daily"));
    assert.deepEqual(flow.flow.refreshFailures(), {});
    assert.deepEqual(flow.flow.unavailable(), {});
    assert.deepEqual(await pictures(flow, tables), wanted);
  });
}

test("a table that merges its rows stands still while one of its files is damaged, so that the damage gets no further", async () => {
  await using dir = await temporaryFolder();
  await using flow = await openFlow(dir.path);
  await flow.append("rates", [{ country: "DE", rate: 2 }]);
  await flow.append("orders", [order(0)]);
  await flow.flow.flush();
  const fx = flipInFile(dir.path, "silver.fx");
  await flow.flow.scrub();
  const said = flow.flow.unavailable();
  assert.ok(said["silver.fx"]?.includes(fx), said["silver.fx"]);
  assert.deepEqual(Object.keys(said).sort(), ["silver.enriched", "silver.fx", "silver.large"]);
  await assert.rejects(flow.query("select * from silver.fx", ["silver.fx"]), { code: "TABLE_UNAVAILABLE" });
  await flow.append("rates", [{ country: "FR", rate: 3 }]);
  await flow.append("orders", [order(1)]);
  await flow.flow.flush();
  assert.deepEqual(await flow.query(COUNT, ["bronze.orders"]), [[2]]);
  await flow.flow.replay("silver.fx");
  assert.deepEqual(flow.flow.unavailable(), {});
  await flow.append("orders", [order(2)]);
  for (const when of ["staged", "stored"]) {
    const rates = await flow.query("select country from silver.fx order by 1", ["silver.fx"]);
    assert.deepEqual(rates, [["DE"], ["FR"]], when);
    const orders = await flow.query("select order_id from silver.enriched order by 1", ["silver.enriched"]);
    assert.deepEqual(orders, [["o0"], ["o1"], ["o2"]], when);
    await flow.flow.flush();
  }
  assert.ok(flow.flow.ledger().every((hop) => hop.balanced));
});

test("a table that merges its rows takes events again, with what waited for it, once its damaged file has been put back", async () => {
  await using dir = await temporaryFolder();
  await using flow = await openFlow(dir.path);
  await flow.append("rates", [{ country: "DE", rate: 1 }]);
  await flow.append("orders", [order(0)]);
  await flow.flow.flush();
  for (const [rate, n] of [
    [2, 1],
    [3, 3],
  ] as const) {
    const path = join(dir.path, "lake/silver/fx", flow.flow.lake.get("silver.fx").snapshot.files[0]?.path as string);
    const good = readFileSync(path);
    writeFileSync(path, good.subarray(0, good.length >> 1));
    await flow.flow.scrub();
    assert.deepEqual(Object.keys(flow.flow.unavailable()).sort(), ["silver.enriched", "silver.fx", "silver.large"]);
    await flow.append("rates", [{ country: "DE", rate }]);
    await flow.append("orders", [order(n), { ...order(n), order_id: `e${n}`, amount: "-1.00" }]);
    await flow.flow.flush();
    writeFileSync(path, good);
    await flow.flow.scrub();
    assert.deepEqual(flow.flow.unavailable(), {});
    await flow.append("orders", [order(n + 1)]); // while what the tables lack is built
    await flow.flow.built();
    for (const when of ["staged", "stored"]) {
      const rates = await flow.query("select rate::integer from silver.fx", ["silver.fx"]);
      assert.deepEqual(rates, [[rate]], when);
      const orders = await flow.query("select order_id from silver.enriched order by 1", ["silver.enriched"]);
      assert.deepEqual(
        orders,
        Array.from({ length: n + 2 }, (_, i) => [`o${i}`]),
        when,
      );
      await flow.flow.flush();
    }
    assert.ok(flow.flow.ledger().every((hop) => hop.balanced && hop.pending === 0));
    assert.deepEqual(await flow.flow.verifyLedger(), []);
  }
  const letters = await flow.query("select dead_letter_id from system.dead_letters", ["system.dead_letters"]);
  assert.equal(letters.length, 2);
});
