import assert from "node:assert/strict";
import { readdir, truncate } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { LedgerAnswer } from "../../src/cli/ledger.ts";
import { temporaryFolder } from "../flow/open-flow.ts";
import { RunningPlatform } from "./running-platform.ts";

const PROJECT = "examples/securecart";

const line = (id: number) => ({
  invoice_no: `i${id}`,
  line_id: `l${id}`,
  stock_code: "85123A",
  quantity: 2,
  invoice_date: "2026-01-05T10:00:00Z",
  unit_price: "1.500",
  country: "Germany",
});

/** Asks until the answer is as it should be: the recount comes round by itself. */
async function until<T>(ask: () => Promise<T>, right: (answer: T) => boolean): Promise<T> {
  for (let tries = 0; tries < 300; tries++) {
    const answer = await ask();
    if (right(answer)) return answer;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.fail(`it never came: ${JSON.stringify(await ask())}`);
}

test("events killed with the platform are verified after it; a damaged file is told by readiness, command and one alert until a replay", async () => {
  await using dir = await temporaryFolder();
  {
    await using platform = await RunningPlatform.start(PROJECT, dir.path);
    await platform.post("order_lines", [line(1), line(2), line(2), line(3)]);
    await platform.stop("SIGKILL");
  }
  {
    await using platform = await RunningPlatform.start(PROJECT, dir.path);
    const { body } = await until(
      () => platform.get<LedgerAnswer>("/v1/ledger"),
      (answer) => answer.body.hops.every((hop) => hop.verifiedAt !== null && hop.verified === hop.accepted),
    );
    assert.deepEqual([body.balanced, body.imbalances], [true, []]);
    assert.deepEqual(await platform.sql("select * from system.alerts"), []);
    assert.equal(await platform.stop(), 0);
  }
  const folder = join(dir.path, "lake/silver/order_lines");
  const file = (await readdir(folder)).find((name) => name.endsWith(".parquet")) ?? assert.fail("no data file");
  await truncate(join(folder, file), 200);
  await using platform = await RunningPlatform.start(PROJECT, dir.path);
  const red = await until(
    () => platform.get<{ checks: { ledger: { ok: boolean; message?: string } } }>("/readyz"),
    (answer) => answer.status === 503 && !answer.body.checks.ledger.ok,
  );
  assert.match(
    String(red.body.checks.ledger.message),
    /silver\.order_lines: the data file part-.*\.parquet, offsets 0 to 3, cannot be read/,
  );
  const ledger = await platform.command("ledger");
  assert.equal(ledger.code, 1);
  assert.match(ledger.stdout, /offsets 0 to 3, cannot be read .*\(since .*\)\n.*\n?The ledger does not balance\.\n$/s);
  const key = `silver.order_lines/0/file/${file}`;
  const known = () => platform.sql('select "key", state from system.alerts where "key" like \'%/file/%\'');
  await until(known, (rows) => rows.length > 0);
  assert.deepEqual(await known(), [[key, "firing"]]);
  const replay = await platform.command("replay", "silver.order_lines", "--only");
  assert.equal(replay.code, 0, replay.stderr);
  await until(
    () => platform.get("/readyz"),
    (answer) => answer.status === 200,
  );
  await until(known, ([row]) => row?.[1] === "resolved");
  assert.deepEqual(
    await platform.sql(
      "select state, count(*) from system.alert_events where \"key\" like '%/file/%' group by 1 order by 1",
    ),
    [
      ["firing", 1],
      ["resolved", 1],
    ],
  );
});
