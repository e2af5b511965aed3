import assert from "node:assert/strict";
import { readdir, truncate } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { temporaryFolder } from "../flow/open-flow.ts";
import { RunningPlatform } from "../platform/running-platform.ts";
import { Receiver, status, verify } from "./receiver.ts";

const PROJECT = "test/react/projects/ops";
const SECRET = `whsec_${Buffer.from("a secret of at least 24 bytes").toString("base64")}`;

/** Asks until the answer is as it should be. */
async function until<T>(ask: () => Promise<T>, right: (answer: T) => boolean): Promise<T> {
  for (let tries = 0; tries < 300; tries++) {
    const answer = await ask();
    if (right(answer)) return answer;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.fail(`it never came: ${JSON.stringify(await ask())}`);
}

/** A data folder in which a table's file is damaged: what makes the platform raise an alert of its own. */
async function damaged(dir: string, env: Record<string, string>): Promise<void> {
  await using platform = await RunningPlatform.start(PROJECT, dir, [], env);
  await platform.post("orders", [{ order_id: "a", amount: 1 }]);
  await platform.stop();
  const folder = join(dir, "lake/silver/orders");
  const file = (await readdir(folder)).find((name) => name.endsWith(".parquet")) ?? assert.fail("no data file");
  await truncate(join(folder, file), 100);
}

test("an alert of the platform's own reaches the webhook and the stream, and so does its end; what failed was tried again and is on record", async () => {
  await using receiver = await Receiver.start();
  await using dir = await temporaryFolder();
  const env = { OPS_URL: receiver.url("/hook?token=hidden-in-the-url"), OPS_SECRET: SECRET };
  await damaged(dir.path, env);
  assert.equal(receiver.received.length, 0);
  receiver.answers.push(status(500, `no: token=hidden-in-the-url ${SECRET}`));
  await using platform = await RunningPlatform.start(PROJECT, dir.path, [], env);
  await receiver.sent(2);
  const replay = await platform.command("replay", "silver.orders", "--only");
  assert.equal(replay.code, 0, replay.stderr);
  const ends = () => receiver.received.filter(({ body }) => body.type === "alert.resolved");
  const deliveries = () =>
    platform.sql("select destination, state, status, attempts, last_message from system.deliveries order by all");
  const rows = await until(
    deliveries,
    (found) => found.some(([, state]) => state === "resolved") && found.every(([, , one]) => one === "delivered"),
  );
  const firing = receiver.received.filter(({ body }) => body.type === "alert.firing");
  assert.ok(ends().length >= 1 && firing.length >= 2);
  for (const request of receiver.received) verify(SECRET, request, Date.now());
  const [failed, ...others] = receiver.received;
  const again = others.find(({ headers }) => headers["webhook-id"] === failed?.headers["webhook-id"]);
  assert.equal(failed?.text, again?.text);
  const { data } = again?.body ?? assert.fail("it was not tried again");
  assert.deepEqual([data.kind, data.name, data.severity, data.state], ["ledger", "imbalance", "critical", "firing"]);
  assert.match(data.summary, /silver\.orders/);
  const [, , , attempts, message] = rows.find(([, , , tries]) => Number(tries) > 1) ?? [];
  assert.deepEqual(
    [attempts, message],
    [2, 'webhook "ops" did not take the message: it answered 500: no: token=******** ********'],
  );
  assert.doesNotMatch(
    JSON.stringify([
      await platform.sql("select * from system.delivery_events"),
      await platform.get("/v1/destinations"),
    ]),
    /hidden-in-the-url|whsec_/,
  );
  // Each change once in the stream, in its order.
  const alerts = await platform.sql("select event_id, summary, state from system.alert_events order by _offset");
  assert.deepEqual(
    await platform.sql(
      "select notice_id, text, state from bronze.notices b join notices n on b._id = n._id order by b._offset",
    ),
    alerts,
  );
});
