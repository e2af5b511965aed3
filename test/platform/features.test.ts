import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { temporaryFolder } from "../flow/open-flow.ts";
import { RunningPlatform } from "./running-platform.ts";

let dir: Awaited<ReturnType<typeof temporaryFolder>>;
let platform: RunningPlatform;
before(async () => {
  dir = await temporaryFolder();
  platform = await start();
});
after(async () => {
  await platform?.stop();
  await dir[Symbol.asyncDispose]();
});

function start(): Promise<RunningPlatform> {
  return RunningPlatform.start("test/platform/projects/featured", dir.path);
}

/** Payments of the last minutes, so that a read as of now has them in its windows. */
const nowMs = Date.now();
let made = 0;
function payment(card_id: string, amount: string, minutesAgo: number, more: object = {}): object {
  const paid_at = new Date(nowMs - minutesAgo * 60_000).toISOString();
  return { payment_id: `p${made++}`, card_id, merchant: "m1", amount, status: "captured", paid_at, ...more };
}

interface Value {
  readonly value: unknown;
}

/** Reads are milliseconds behind what is acknowledged. */
async function reads(path: string, expected: unknown): Promise<void> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const { status, body } = await platform.get<Value>(path);
    assert.equal(status, 200, JSON.stringify(body));
    if (body.value === expected) return;
    if (Date.now() > deadline) assert.equal(body.value, expected);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function post(path: string, body: unknown): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${platform.url}${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${platform.key}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

test("a feature is read by key as of now; late and repeated events and those outside the condition count as they should", async () => {
  const first = payment("c1", "10.50", 5);
  await platform.post("payments", [first, payment("c1", "4", 1), payment("c1", "100", 15), payment("c2", "7.25", 2)]);
  await reads("/v1/features/card_spend_10m?key=c1", "14.50");
  await platform.post("payments", [first, payment("c1", "1", 0.5, { status: "declined", merchant: "m2" })]);
  await platform.post("payments", [payment("c1", "0.05", 8)]);
  await reads("/v1/features/card_spend_10m?key=c1", "14.55");
  await reads("/v1/features/card_merchants_1h?key=c1", 2);
  await reads("/v1/features/merchant_declines_1h?key=m2", 1);
  await reads("/v1/features/card_spend_10m?key=nobody", "0.00");
  await reads(`/v1/features/card_spend_10m?key=c1&at=${new Date(nowMs - 4 * 60_000).toISOString()}`, "10.55");
});

test("several features of several entities are read at one moment", async () => {
  const features = ["card_spend_10m", "card_merchants_1h", "merchant_declines_1h"];
  const entities = [
    { card_id: "c1", merchant: "m2" },
    { card_id: "c2", merchant: "m1" },
  ];
  const { status, body } = await post("/v1/features", { features, entities });
  assert.equal(status, 200);
  assert.deepEqual(
    [body["features"], body["rows"]],
    [
      features,
      [
        ["14.55", 2, 1],
        ["7.25", 1, 0],
      ],
    ],
  );
});

test("SQL has the value at every event, also joined with the events and with labels as of their times", async () => {
  const rows = await platform.sql(`select p.amount, f.card_spend_10m from payments p
    join features.card_spend_10m f using (_partition, _offset) where p.card_id = 'c1' order by _offset`);
  assert.deepEqual(rows, [
    ["10.50", "10.50"],
    ["4.00", "14.50"],
    ["100.00", null],
    ["1.00", "14.50"],
    ["0.05", "0.05"],
  ]);
  const asked = (minutesAgo: number) => new Date(nowMs - minutesAgo * 60_000).toISOString();
  await platform.post("disputes", [
    { card: "c1", asked_at: asked(4), disputed: true },
    { card: "c2", asked_at: asked(3), disputed: false },
  ]);
  const path = "/v1/features/card_spend_10m/sql?labels=disputes&key=card&time=asked_at";
  const { body } = await platform.get<{ sql: string }>(path);
  const joined = await platform.sql(`select card, disputed, card_spend_10m from (${body.sql}) order by card`);
  assert.deepEqual(joined, [
    ["c1", true, "10.55"],
    ["c2", false, "0.00"],
  ]);
  const { body: then } = await platform.get<{ sql: string }>(`${path}&known=arrival`);
  const known = await platform.sql(`select card, card_spend_10m from (${then.sql}) order by card`);
  assert.deepEqual(known, [
    ["c1", "0.00"],
    ["c2", "0.00"],
  ]);
});

test("the command lists them, reads them and prints their SQL", async () => {
  const list = await platform.command("features", "list");
  assert.equal(list.code, 0, list.stderr);
  assert.match(list.stdout, /card_spend_10m +payments +card_id +sum\(amount\)/);
  const read = await platform.command("features", "read", "card_spend_10m", "c1");
  assert.deepEqual([read.code, read.stdout], [0, "14.55\n"]);
  const flags = ["--labels", "disputes", "--by", "card", "--time", "asked_at", "--known", "arrival"];
  const printed = await platform.command("features", "sql", "card_spend_10m", ...flags);
  assert.equal(printed.code, 0, printed.stderr);
  assert.equal((await platform.sql(`select count(*) from (${printed.stdout})`))[0]?.[0], 2);
  assert.deepEqual(
    await platform.sql(
      "select name, window_ms, \"default\" from system.features where stream = 'payments' and aggregate = 'sum'",
    ),
    [["card_spend_10m", 600_000, "0.00"]],
  );
});

test("a restart keeps what features know, and one that dies does", async () => {
  await platform.stop("SIGKILL");
  platform = await start();
  await reads("/v1/features/card_spend_10m?key=c1", "14.55");
  await platform.post("payments", [payment("c1", "1", 0)]);
  await reads("/v1/features/card_spend_10m?key=c1", "15.55");
  await platform.stop();
  platform = await start();
  await reads("/v1/features/card_spend_10m?key=c1", "15.55");
});

test("what is asked wrongly is refused with what is allowed", async () => {
  const code = async (path: string) => {
    const { status, body } = await platform.get<{ error: { code: string; message: string } }>(path);
    return [status, body.error.code];
  };
  assert.deepEqual(await code("/v1/features/card_spent_10m?key=c1"), [404, "FEATURE_UNKNOWN"]);
  assert.deepEqual(await code("/v1/features/card_spend_10m?key=c1&at=yesterday"), [400, "PARAMETER_INVALID"]);
  assert.deepEqual(await code("/v1/features/card_spend_10m?card=c1"), [400, "PARAMETER_INVALID"]);
  assert.deepEqual(await code("/v1/features/card_spend_10m/sql?labels=disputes"), [400, "REQUEST_INVALID"]);
  const wrong = await post("/v1/features", { features: ["card_spend_10m"], entities: [{ merchant: "m1" }] });
  assert.equal(wrong.status, 400);
  assert.match(JSON.stringify(wrong.body), /needs \\"card_id\\" of each entity/);
  const { body: list } = await platform.get<{ features: { name: string; table: string }[] }>("/v1/features");
  assert.deepEqual(list.features.map(({ name }) => name).sort(), [
    ...["card_merchants_1h", "card_spend_10m", "merchant_declines_1h", "merchant_mean_1d"],
  ]);
});
