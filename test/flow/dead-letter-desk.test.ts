import assert from "node:assert/strict";
import { test } from "node:test";
import type { Admit, Selection } from "../../src/flow/dead-letter-desk.ts";
import { openFlow, temporaryFolder } from "./open-flow.ts";

const order = (id: number, more: Record<string, unknown> = {}) => ({
  order_id: `o${id}`,
  customer: "c",
  country: "DE",
  amount: 10 + id,
  placed_at: "2026-01-01T10:00:00Z",
  ...more,
});

/** A door that takes every JSON object. */
const admit: Admit = (_, payload) => {
  const text = Buffer.from(payload).toString("utf8");
  return text.startsWith("{") && text.endsWith("}")
    ? { kind: "accepted", partition: 0, line: Buffer.from(`${text}\n`) }
    : { kind: "refused", code: "EVENT_MALFORMED_JSON", message: "no object" };
};

const actor = "tester";

type Flow = Awaited<ReturnType<typeof openFlow>>;

const retry = (f: Flow, selection: Selection, payload?: string) =>
  f.flow.deadLetterDesk.retry(selection, {
    actor,
    admit,
    payload: payload === undefined ? undefined : Buffer.from(payload),
  });

const hop = (f: Flow, name: string) => {
  const entry = f.flow.ledger().find((other) => other.hop === name) ?? assert.fail(name);
  assert.ok(entry.balanced, JSON.stringify(entry));
  const { stored, duplicate, filtered, deadLettered } = entry;
  return { stored, duplicate, filtered, deadLettered };
};

const offsets = async (f: Flow, table: string) =>
  (await f.query(`select _offset from ${table} order by 1`, [table], "committed")).map(([offset]) => offset);

const refused = (payload: string | Uint8Array, stream = "orders") => ({
  stream,
  stage: "door" as const,
  code: "EVENT_INVALID",
  message: "what is wrong with it",
  payload,
  source: "http",
});

test("a letter is shown with its payload byte for byte, text or not", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  const payloads = [Buffer.from('{ "a": "é" }'), Buffer.from([0x7b, 0xff, 0x00, 0xc3]), Buffer.alloc(0)];
  await f.flow.deadLetters(payloads.map((payload) => refused(payload)));
  const desk = f.flow.deadLetterDesk;
  const { deadLetters, next } = await desk.list({ stream: "orders" }, { limit: 2 });
  assert.equal(deadLetters.length, 2);
  const rest = await desk.list({ stream: "orders" }, { limit: 2, before: next });
  assert.equal(rest.next, undefined);
  const shown = await Promise.all([...deadLetters, ...rest.deadLetters].map(({ id }) => desk.show(id)));
  assert.deepEqual(
    shown.map(({ payload }) => payload.toString("hex")).reverse(),
    payloads.map((payload) => payload.toString("hex")),
  );
  assert.deepEqual(
    shown.map(({ letter }) => [letter.status, letter.attempts, letter.stage, letter.partition]),
    payloads.map(() => ["open", 1, "door", null]),
  );
  await assert.rejects(desk.show("orders/none"), { code: "DEAD_LETTER_UNKNOWN" });
  await f.close();
});

test("a refused event, corrected, becomes an event of its stream exactly once and says where", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  await f.append("orders", [order(1)]);
  await f.flow.deadLetters([refused("[1]"), refused("nonsense")]);
  const desk = f.flow.deadLetterDesk;
  const { deadLetters } = await desk.list({}, { limit: 10 });
  const [second, first] = deadLetters.map(({ id }) => id) as [string, string];
  const [failed] = await retry(f, { ids: [first] });
  assert.deepEqual([failed?.outcome, failed?.code], ["failed", "EVENT_MALFORMED_JSON"]);
  const again = (await desk.show(first)).letter;
  assert.deepEqual(
    [again.status, again.attempts, again.code, again.lastCode],
    ["open", 2, "EVENT_INVALID", "EVENT_MALFORMED_JSON"],
  );

  await assert.rejects(retry(f, { ids: [first, second] }, "{}"), { code: "DEAD_LETTER_PAYLOAD" });
  const [done] = await retry(f, { ids: [first] }, JSON.stringify(order(2)));
  assert.deepEqual(done, { id: first, outcome: "appended", partition: 0, offset: 1 });
  const settled = (await desk.show(first)).letter;
  assert.deepEqual(
    [settled.status, settled.attempts, settled.retriedPartition, settled.retriedOffset],
    ["retried", 3, 0, 1],
  );
  assert.equal(settled.actor, actor);
  await assert.rejects(retry(f, { ids: [second, first] }), { code: "DEAD_LETTER_SETTLED", message: /retried already/ });
  assert.equal((await f.flow.receipt("orders", "o2")).arrivals[0]?.offset, 1);
  await f.flow.flush();
  assert.deepEqual(await offsets(f, "silver.orders"), [0, 1]);

  assert.equal(await desk.discard({ filter: { stage: "door" } }, { reason: "not ours", actor }), 1);
  const given = (await desk.show(second)).letter;
  assert.deepEqual([given.status, given.reason, given.attempts], ["discarded", "not ours", 1]);
  await assert.rejects(desk.discard({ ids: [second] }, { reason: "again", actor }), { code: "DEAD_LETTER_SETTLED" });
  assert.deepEqual(await retry(f, { filter: { stream: "orders" } }), [], "only open letters are taken");
  await f.close();
});

test("events that a look-up was missing for are taken once it is there, here and in the table above, and the ledger follows", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path, { project: "mended" });
  await f.append("orders", [order(0), order(1, { amount: 250 }), order(1), order(2, { customer: "test" })]);
  await f.flow.flush();
  // Without a rate the check fails.
  assert.deepEqual(hop(f, "silver.rated"), { stored: 0, duplicate: 1, filtered: 1, deadLettered: 2 });
  assert.deepEqual(hop(f, "silver.large"), { stored: 0, duplicate: 1, filtered: 3, deadLettered: 0 });
  const failed = await retry(f, { filter: { table: "silver.rated" } });
  assert.deepEqual(
    failed.map(({ outcome, code }) => [outcome, code]),
    [
      ["failed", "CHECK_FAILED"],
      ["failed", "CHECK_FAILED"],
    ],
  );
  assert.deepEqual(hop(f, "silver.rated"), { stored: 0, duplicate: 1, filtered: 1, deadLettered: 2 });
  await f.append("rates", [{ country: "DE", rate: 2 }]);
  const results = await retry(f, { filter: { stream: "orders", stage: "check" } });
  assert.deepEqual(
    results.map(({ outcome }) => outcome),
    ["stored", "stored"],
  );
  assert.deepEqual(hop(f, "silver.rated"), { stored: 2, duplicate: 1, filtered: 1, deadLettered: 0 });
  assert.deepEqual(hop(f, "silver.large"), { stored: 1, duplicate: 1, filtered: 2, deadLettered: 0 });
  assert.deepEqual(hop(f, "silver.newest"), { stored: 2, duplicate: 1, filtered: 1, deadLettered: 0 });
  assert.deepEqual(await offsets(f, "silver.rated"), [0, 1]);
  assert.deepEqual(await offsets(f, "silver.large"), [1]);
  assert.deepEqual(await retry(f, { filter: { table: "silver.rated" } }), []);
  const [letter] = (await f.flow.deadLetterDesk.list({ table: "silver.rated" }, { limit: 1 })).deadLetters;
  assert.deepEqual([letter?.status, letter?.attempts], ["retried", 3]);
  await assert.rejects(retry(f, { ids: [letter?.id ?? ""] }), { code: "DEAD_LETTER_SETTLED" });
  const { arrivals } = await f.flow.receipt("orders", "o0");
  assert.deepEqual(
    arrivals[0]?.tables.map(({ table, fate }) => [table, fate]),
    [
      ["silver.rated", "stored"],
      ["silver.large", "filtered"],
      ["silver.newest", "superseded"],
      ["silver.orders", "stored"],
    ],
  );
  await f.close();
});

test("a replay closes the letters of what it takes, and writes letters for what fails for the first time", async () => {
  await using dir = await temporaryFolder();
  {
    await using f = await openFlow(dir.path, { project: "loosened" });
    await f.append("orders", [order(0), order(1), order(2, { customer: "test" })]);
    await f.close();
  }
  await using f = await openFlow(dir.path, { project: "mended" });
  const letters = async () =>
    (await f.flow.deadLetterDesk.list({ table: "silver.rated" }, { limit: 9 })).deadLetters.map((letter) => [
      letter.id,
      letter.status,
      letter.attempts,
    ]);
  assert.deepEqual(hop(f, "silver.rated"), { stored: 2, duplicate: 0, filtered: 1, deadLettered: 0 });
  await f.flow.replay("silver.rated");
  assert.deepEqual(hop(f, "silver.rated"), { stored: 0, duplicate: 0, filtered: 1, deadLettered: 2 });
  assert.deepEqual(await letters(), [
    ["orders/0/1/silver.rated", "open", 1],
    ["orders/0/0/silver.rated", "open", 1],
  ]);
  await f.append("rates", [{ country: "DE", rate: 2 }]);
  await f.flow.flush();
  await f.flow.replay("silver.rated");
  assert.deepEqual(hop(f, "silver.rated"), { stored: 2, duplicate: 0, filtered: 1, deadLettered: 0 });
  assert.deepEqual(await letters(), [
    ["orders/0/1/silver.rated", "retried", 2],
    ["orders/0/0/silver.rated", "retried", 2],
  ]);
  await f.close();
});

test("an accepted event cannot be retried with another payload, and unknown names are refused", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  await f.append("orders", [order(0, { amount: -1 })]);
  await f.flow.flush();
  const id = "orders/0/0/silver.enriched";
  await assert.rejects(retry(f, { ids: [id] }, "{}"), { code: "DEAD_LETTER_PAYLOAD", message: /bronze keeps/ });
  await assert.rejects(retry(f, { ids: [id, "nothing"] }), { code: "DEAD_LETTER_UNKNOWN" });
  await assert.rejects(retry(f, { filter: { stream: "_dead_letters" } }), { code: "STREAM_UNKNOWN" });
  await assert.rejects(retry(f, { filter: { table: "silver.none" } }), { code: "TABLE_UNKNOWN" });
  assert.equal((await f.flow.deadLetterDesk.show(id)).letter.attempts, 1, "nothing was tried");
  await f.close();
});

test("one poisonous event among ten thousand is dead-lettered alone and holds nothing up", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  const events = Array.from({ length: 10_000 }, (_, i) => order(i, i === 6_543 ? { note: "n=poison" } : {}));
  await f.append("orders", events);
  await f.flow.flush();
  assert.deepEqual(hop(f, "silver.enriched"), { stored: 9_999, duplicate: 0, filtered: 0, deadLettered: 1 });
  const { deadLetters } = await f.flow.deadLetterDesk.list({ stage: "transform" }, { limit: 5 });
  assert.deepEqual(
    deadLetters.map(({ offset, code, table }) => [offset, code, table]),
    [[6_543, "TRANSFORM_FAILED", "silver.enriched"]],
  );
  await f.append("orders", [order(10_000)]);
  await f.flow.flush();
  assert.equal(hop(f, "silver.enriched").stored, 10_000);
  await f.close();
});

test("an event that could not be parsed is dead-lettered in the ledger before a replay and after it", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path, { project: "failing" });
  const seen = "2026-01-01T00:00:00Z";
  await f.append("readings", [
    { sensor: "a", value: "1", seen },
    { sensor: "a", value: "1", seen: "no time" },
    { sensor: "b", value: "bad", seen },
  ]);
  await f.flow.flush();
  const fates = () => {
    const hop = f.flow.ledger().find((entry) => entry.hop === "silver.latest");
    return [hop?.stored, hop?.filtered, hop?.deadLettered, hop?.balanced];
  };
  assert.deepEqual(fates(), [1, 0, 2, true]);
  await f.flow.replay("silver.latest");
  assert.deepEqual(fates(), [1, 0, 2, true]);
  const { deadLetters } = await f.flow.deadLetterDesk.list({}, { limit: 10 });
  assert.deepEqual(deadLetters.map(({ stage, offset, status }) => [stage, offset, status]).sort(), [
    ["parse", 1, "open"],
    ["transform", 2, "open"],
  ]);
});
