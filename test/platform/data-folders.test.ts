import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import { FORMAT_VERSION } from "../../src/log/data-folder.ts";
import { temporaryFolder } from "../flow/open-flow.ts";
import { unpackTar } from "../lake/unpack-tar.ts";
import { RunningPlatform } from "./running-platform.ts";

/*
 * Data folders as each format's first release left them, killed with events in the log alone. Every later version opens them; what is
 * asked here is what data-folders/write.ts put in.
 */
const FOLDERS = join(import.meta.dirname, "data-folders");
const kept = readdirSync(FOLDERS).filter((name) => name.endsWith(".tar.gz"));

test("a data folder of every format up to this one is kept", () => {
  assert.deepEqual(
    kept.sort(),
    Array.from({ length: FORMAT_VERSION }, (_, i) => `format-${i + 1}.tar.gz`),
  );
});

for (const name of kept) {
  test(`the data folder ${name} opens with everything in it, and goes on`, async () => {
    await using dir = await temporaryFolder();
    await unpackTar(gunzipSync(await readFile(join(FOLDERS, name))), dir.path);
    await using platform = await RunningPlatform.start("test/platform/data-folders/project", dir.path, [
      ...["--flush-interval", "50ms", "--refresh-debounce", "10ms"],
    ]);
    const count = async () =>
      (await platform.sql(
        `select (select count(*) from bronze.orders)::int, (select count(*) from bronze.orders where _duplicate_of is not null)::int,
           (select count(*) from silver.orders)::int, (select sum(orders) from gold.daily)::int,
           (select count(*) from system.dead_letters)::int`,
      )) as unknown;
    assert.deepEqual(await count(), [[46, 2, 42, 42, 2]]);
    const [[note, placed, amount] = []] = await platform.sql(
      "select note, placed_at::text, amount from silver.orders where order_id = 'o42'",
    );
    assert.deepEqual([note, placed, amount], ["Grüße ☃", "2026-01-01 10:00:00.123456+00", "10.50"]);
    // An id of then is still known; a new one is new.
    const order = { customer: "c1", amount: "10.50", placed_at: "2026-01-01T10:00:00Z" };
    await platform.post("orders", [
      { ...order, order_id: "o0" },
      { ...order, order_id: "new" },
    ]);
    assert.deepEqual(await count(), [[48, 3, 43, 43, 2]]);
    for (;;) {
      const { body } = await platform.get<{ balanced: boolean; hops: { pending: number }[] }>("/v1/ledger");
      assert.equal(body.balanced, true);
      if (body.hops.every(({ pending }) => pending === 0)) break;
      await sleep(50);
    }
    assert.deepEqual(await count(), [[48, 3, 43, 43, 2]]);
  });
}
