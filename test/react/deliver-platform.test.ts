import assert from "node:assert/strict";
import { readdir, readFile, truncate } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { temporaryFolder } from "../flow/open-flow.ts";
import { millrace, RunningPlatform } from "../platform/running-platform.ts";
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

test("killed after a message was taken and before that is on record, the platform sends it again under the same id", async () => {
  await using receiver = await Receiver.start();
  await using dir = await temporaryFolder();
  const env = { OPS_URL: receiver.url(), OPS_SECRET: SECRET };
  await damaged(dir.path, env);
  {
    await using platform = await RunningPlatform.start(PROJECT, dir.path, [], env);
    receiver.otherwise = (_, response) => {
      platform.process.kill("SIGKILL");
      response.writeHead(200).end();
    };
    await receiver.sent(1);
    await platform.stop("SIGKILL");
  }
  receiver.otherwise = status(200);
  const before = receiver.received.length;
  await using platform = await RunningPlatform.start(PROJECT, dir.path, [], env);
  await until(
    () => platform.sql("select status from system.deliveries"),
    (rows) => rows.length >= 2 && rows.every(([one]) => one === "delivered"),
  );
  const [first] = receiver.received;
  const again = receiver.received
    .slice(before)
    .filter(({ headers }) => headers["webhook-id"] === first?.headers["webhook-id"]);
  assert.deepEqual(
    again.map(({ text }) => text),
    [first?.text],
  );
  assert.deepEqual(
    await platform.sql("select count(*), count(distinct notice_id) from bronze.notices b join notices n using (_id)"),
    await platform.sql("select count(*), count(*) from system.alerts"),
  );
});

test("without PostgreSQL alerts are delivered and remembered", async () => {
  await using receiver = await Receiver.start();
  receiver.otherwise = status(503, "not yet");
  await using dir = await temporaryFolder();
  const env = { OPS_URL: receiver.url(), OPS_SECRET: SECRET };
  await damaged(dir.path, env);
  await using platform = await RunningPlatform.start(PROJECT, dir.path, [], env);
  await receiver.sent(1);
  process.kill(
    Number((await readFile(join(dir.path, "postgres/cluster/postmaster.pid"), "utf8")).split("\n")[0]),
    "SIGKILL",
  );
  receiver.otherwise = status(200);
  const rows = await until(
    () => platform.sql("select status, attempts from system.deliveries where destination = 'ops'"),
    (found) => found.length >= 1 && found.every(([one]) => one === "delivered"),
  );
  assert.ok(rows.some(([, attempts]) => Number(attempts) > 1));
});

test("a destination is listed and tested by the command and over HTTP; one whose variable is not set keeps the platform from starting", async () => {
  await using receiver = await Receiver.start();
  await using dir = await temporaryFolder();
  const env = { OPS_URL: receiver.url("/secret-path"), OPS_SECRET: SECRET };
  {
    await using platform = await RunningPlatform.start(PROJECT, dir.path, [], env);
    const tested = await platform.command("destinations", "test", "ops");
    assert.deepEqual(
      [tested.code, /^ops took a test alert after \d+ ms\n$/.test(tested.stdout)],
      [0, true],
      tested.stderr,
    );
    verify(SECRET, receiver.received[0]!, Date.now());
    assert.deepEqual([receiver.received[0]?.body.data.kind, receiver.received[0]?.path], ["test", "/secret-path"]);
    await platform.post("orders", [
      { order_id: "b", amount: 5000 },
      { order_id: "c", amount: 5 },
    ]);
    const [, told] = await receiver.sent(2);
    verify(SECRET, told!, Date.now());
    assert.deepEqual([told?.body.data.kind, told?.body.data.name, told?.body.data.key], ["alert", "big", "b"]);
    assert.match(told?.body.data.summary, /5000/);
    // The message may be here before it is on record.
    const deliveries = await until(
      () => platform.sql("select destination from system.deliveries"),
      (rows) => rows.length > 0,
    );
    assert.deepEqual(deliveries, [["ops"]]);
    receiver.otherwise = status(401, "who are you?");
    const refused = await platform.command("destinations", "test", "ops");
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /webhook "ops" refused the message: it answered 401: who are you\?/);
    const unknown = await platform.command("destinations", "test", "opps");
    assert.match(unknown.stderr, /there is no destination "opps"; did you mean "ops"\?/);
    const listed = await platform.command("destinations", "list");
    assert.match(listed.stdout, /ops +webhook +up +0/);
    assert.match(listed.stdout, /log +stream +up +0/);
    const list = await platform.get<{ destinations: { name: string; address: string }[] }>("/v1/destinations");
    assert.deepEqual(
      list.body.destinations.map(({ name, address }) => [name, address]),
      [
        ["ops", receiver.url("")],
        ["log", "stream notices"],
      ],
    );
    assert.equal((await platform.command("destinations", "deliveries", "ops")).code, 0);
    const { body } = await platform.get<{ deliveries: { id: string; status: string }[] }>(
      "/v1/deliveries?destination=ops",
    );
    assert.deepEqual(
      body.deliveries.map(({ id, status: one }) => [id, one]),
      [["ops/0", "delivered"]],
    );
    const metrics = await (await fetch(`${platform.url}/metrics`)).text();
    assert.match(metrics, /^millrace_delivery_delivered_total\{destination="ops"\} 1$/m);
    assert.match(metrics, /^millrace_delivery_waiting\{destination="log"\} 0$/m);
    assert.equal((await platform.get("/v1/deliveries?status=lost")).status, 400);
    assert.doesNotMatch(JSON.stringify(list.body), /secret-path/);
    assert.equal((await platform.command("destinations", "tset", "ops")).code, 2);
    const made = await platform.command("keys", "create", "--name", "reader", "--scopes", "query");
    const reader = platform.as(made.stdout.trim());
    assert.equal((await reader.get("/v1/destinations")).status, 200);
    const headers = { authorization: `Bearer ${reader.key}` };
    assert.equal((await fetch(`${platform.url}/v1/destinations/ops/test`, { method: "POST", headers })).status, 403);
  }
  const start = await millrace(["start", PROJECT, "--data", dir.path, "--port", "0"], { OPS_SECRET: SECRET });
  assert.equal(start.code, 1);
  assert.match(start.stderr, /webhook "ops" needs the environment variable OPS_URL, which is not set/);
});
