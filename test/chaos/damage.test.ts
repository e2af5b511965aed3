import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { MillraceError } from "../../src/errors.ts";
import { openEmbeddedLog } from "../../src/log/embedded-log.ts";
import { openFlow, temporaryFolder } from "../flow/open-flow.ts";

const order = (n: number) => ({
  order_id: `o${n}`,
  customer: "c",
  country: "DE",
  amount: "1.50",
  placed_at: "2026-01-01T00:00:00Z",
});
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

test("a damaged newest commit is reported with its table and file, and is mended by putting the file back", async () => {
  await using dir = await temporaryFolder();
  const before = await openFlow(dir.path);
  await before.append("orders", [order(0)]);
  await before.flow.flush();
  await before.crash();
  const folder = join(dir.path, "lake/bronze/orders/_delta_log");
  const newest = readdirSync(folder)
    .filter((name) => /^\d{20}\.json$/.test(name))
    .sort()
    .at(-1) as string;
  const good = readFileSync(join(folder, newest));
  writeFileSync(join(folder, newest), good.subarray(0, good.length - 40));
  await assert.rejects(openFlow(dir.path), (error: MillraceError) => {
    assert.equal(error.code, "DELTA_CORRUPT");
    assert.ok(error.message.includes("bronze/orders") && error.message.includes(newest), error.message);
    return true;
  });
  writeFileSync(join(folder, newest), good);
  await using flow = await openFlow(dir.path);
  assert.deepEqual(await flow.query(COUNT, ["bronze.orders"]), [[1]]);
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
