import assert from "node:assert/strict";
import { test } from "node:test";
import { MillraceError } from "../../src/errors.ts";
import { ActionLog } from "../../src/flow/dead-letter-actions.ts";
import type { Admit } from "../../src/flow/dead-letter-desk.ts";
import { RefreshLetters, refreshLetterId } from "../../src/flow/refresh-letters.ts";
import { openFlow, temporaryFolder } from "./open-flow.ts";

type Flow = Awaited<ReturnType<typeof openFlow>>;

const reading = (day: number, value: string | number, sensor = "s") => ({
  sensor,
  value: String(value),
  seen: `2026-01-0${day}T10:00:00Z`,
});

const DAILY = "select day, readings, total from gold.daily order by day";
const daily = (f: Flow, sql = DAILY, reach: "acknowledged" | "committed" = "acknowledged") =>
  f.query(sql, ["gold.daily"], reach);

const LETTERS = `select dead_letter_id, table_name, code, status, attempts, payload, last_message from system.dead_letters
  where stage = 'refresh' order by table_name, payload`;

async function letters(f: Flow, table: string) {
  const rows = await f.query(LETTERS, ["system.dead_letters"]);
  return rows
    .filter((row) => row[1] === table)
    .map(([id, , code, status, attempts, payload, message]) => ({
      id: String(id),
      code,
      status,
      attempts,
      by: JSON.parse(String(payload)).by,
      message: String(message),
    }));
}

const isCode = (code: string, pattern: RegExp) => (error: unknown) => {
  assert.ok(error instanceof MillraceError, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, pattern);
  return true;
};

const admit: Admit = () => ({ kind: "refused", code: "EVENT_INVALID", message: "no" });
const FAILS = /gold\.daily cannot be refreshed for day = 2026-01-02: .*'bad'/;
const REFUSED = /gold\.daily cannot be computed for day = 2026-01-02: .*'bad'/;

/** Days 1 and 3 are fine, day 2 is not. */
async function withOneBadDay(dir: string): Promise<Flow> {
  const f = await openFlow(dir, { project: "failing" });
  await f.append("readings", [reading(1, 1), reading(2, 2), reading(3, 3)]);
  await f.flow.flush();
  await f.flow.refresh("gold.daily");
  await f.append("readings", [reading(1, 10), reading(2, "bad"), reading(3, 30)]);
  await f.flow.flush();
  return f;
}

test("a value that cannot be refreshed keeps its rows, and every other value is refreshed", async () => {
  await using dir = await temporaryFolder();
  await using f = await withOneBadDay(dir.path);
  await assert.rejects(f.flow.refresh("gold.daily"), isCode("REFRESH_FAILED", FAILS));
  assert.deepEqual(await daily(f, DAILY, "committed"), [
    ["2026-01-01", 2, 11],
    ["2026-01-02", 1, 2],
    ["2026-01-03", 2, 33],
  ]);
  assert.match(f.flow.refreshFailures()["gold.daily"] ?? "", FAILS);
  const [letter, ...others] = await letters(f, "gold.daily");
  assert.equal(others.length, 0);
  assert.match(letter?.message ?? "", FAILS);
  assert.deepEqual(
    { code: letter?.code, status: letter?.status, attempts: letter?.attempts, by: letter?.by },
    { code: "REFRESH_FAILED", status: "open", attempts: 1, by: { day: "2026-01-02" } },
  );

  // New rows of the good days go on, and those of the bad one do not hold them up.
  await f.append("readings", [reading(1, 100), reading(2, 200)]);
  await f.flow.flush();
  await assert.rejects(f.flow.refresh("gold.daily"), isCode("REFRESH_FAILED", FAILS));
  assert.deepEqual((await daily(f, DAILY, "committed"))[0], ["2026-01-01", 3, 111]);
  await f.append("readings", [reading(3, 300)]);
  await f.flow.flush();
  f.flow.refresher.changed(["bronze.readings", "silver.readings"]);
  await f.flow.refresher.settle();
  assert.deepEqual((await daily(f, DAILY, "committed"))[2], ["2026-01-03", 3, 333]);
  assert.equal((await letters(f, "gold.daily")).length, 1, "one letter however often it fails");
});

test("a query that needs what cannot be computed says so, and one that does not has its answer", async () => {
  await using dir = await temporaryFolder();
  await using f = await withOneBadDay(dir.path);
  const refused = (sql: string, pattern: RegExp) => assert.rejects(daily(f, sql), isCode("SQL_FAILED", pattern));
  await refused(DAILY, /'bad'/);
  await assert.rejects(f.flow.refresh("gold.daily"), isCode("REFRESH_FAILED", FAILS));
  await f.append("readings", [reading(1, 100)]);
  for (const sql of [
    DAILY,
    "select count(*) from gold.daily",
    "select max(day) from gold.daily",
    "select 1 from gold.daily",
  ])
    await refused(sql, REFUSED);
  await refused("select * from gold.daily where day >= '2026-01-02'", REFUSED);
  assert.deepEqual(await daily(f, `${DAILY.replace("order", "where day <> '2026-01-02' order")}`), [
    ["2026-01-01", 3, 111],
    ["2026-01-03", 2, 33],
  ]);
  await assert.rejects(f.query("select days from gold.days", ["gold.days"]), isCode("SQL_FAILED", REFUSED));
  await f.crash();

  await using again = await openFlow(dir.path, { project: "failing" });
  await assert.rejects(daily(again), isCode("SQL_FAILED", REFUSED), "a restart does not make old rows pass for new");
  assert.match(again.flow.refreshFailures()["gold.daily"] ?? "", FAILS);
});

test("a table without by keeps its last good rows, and the letter is closed by the refresh that succeeds", async () => {
  await using dir = await temporaryFolder();
  await using f = await withOneBadDay(dir.path);
  const fails = /gold\.total cannot be refreshed: .*'bad'/;
  await assert.rejects(f.flow.refresh("gold.total"), isCode("REFRESH_FAILED", fails));
  assert.match(f.flow.refreshFailures()["gold.total"] ?? "", fails);
  await assert.rejects(f.query("select total from gold.total", ["gold.total"]), isCode("SQL_FAILED", /'bad'/));
  await assert.rejects(f.flow.refresh("gold.daily"), isCode("REFRESH_FAILED", FAILS));
  const [whole] = await letters(f, "gold.total");
  assert.equal(whole?.by, undefined);
  await f.crash();

  await using mended = await openFlow(dir.path, { project: "failing-mended" });
  for (const table of ["gold.daily", "gold.total", "gold.days"]) await mended.flow.refresh(table);
  assert.deepEqual(await mended.query("select total from gold.total", ["gold.total"], "committed"), [[46]]);
  assert.deepEqual((await daily(mended, DAILY, "committed"))[1], ["2026-01-02", 2, 2]);
  assert.deepEqual(await daily(mended), await daily(mended, DAILY, "committed"));
  for (const table of ["gold.daily", "gold.total"]) {
    assert.deepEqual(
      (await letters(mended, table)).map(({ status }) => status),
      ["retried"],
      table,
    );
  }
  assert.deepEqual(mended.flow.refreshFailures(), {});
});

test("a letter of a refresh is listed, shown, retried and discarded like any other", async () => {
  await using dir = await temporaryFolder();
  await using f = await withOneBadDay(dir.path);
  await assert.rejects(f.flow.refresh("gold.daily"));
  const desk = f.flow.deadLetterDesk;
  const request = { actor: "tester", admit };
  const page = await desk.list({ stage: "refresh", table: "gold.daily" }, { limit: 10 });
  const id = page.deadLetters[0]?.id ?? "";
  assert.match(id, /^refresh\/gold\.daily\/[0-9a-f]{16}$/);
  const shown = await desk.show(id);
  assert.deepEqual(JSON.parse(shown.payload.toString()).by, { day: "2026-01-02" });
  assert.equal(shown.letter.partition, null);
  const [result] = await desk.retry({ ids: [id] }, request);
  assert.deepEqual([result?.outcome, result?.code], ["failed", "REFRESH_FAILED"]);
  const after = (await desk.show(id)).letter;
  assert.deepEqual([after.attempts, after.actor, after.status], [2, "tester", "open"]);
  const payload = Buffer.from("{}");
  await assert.rejects(
    desk.retry({ ids: [id] }, { ...request, payload }),
    isCode("DEAD_LETTER_PAYLOAD", /which no event can take the place of/),
  );
  assert.equal(await desk.discard({ filter: { stage: "refresh" } }, { reason: "known", actor: "tester" }), 1);
  assert.equal((await desk.show(id)).letter.status, "discarded");
  await f.append("readings", [reading(2, 5)]);
  await f.flow.flush();
  await assert.rejects(f.flow.refresh("gold.daily"));
  assert.equal((await desk.show(id)).letter.status, "discarded", "who gave it up is not told of it every minute");
  assert.ok(f.flow.ledger().every((entry) => entry.balanced));
});

test("a value whose rows of an older day only were bad is computed once the definition is mended, with all that came meanwhile", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path, { project: "failing" });
  await f.append("readings", [reading(1, "bad"), reading(2, 2)]);
  await f.flow.flush();
  // Never refreshed before: there are no rows to keep.
  await assert.rejects(f.flow.refresh("gold.daily"), isCode("REFRESH_FAILED", /day = 2026-01-01/));
  assert.deepEqual(await daily(f, DAILY, "committed"), [["2026-01-02", 1, 2]]);
  await assert.rejects(daily(f), isCode("SQL_FAILED", /day = 2026-01-01/), "missing rows are not silently missing");
  await assert.rejects(f.flow.refresh("gold.daily", { full: true }), isCode("REFRESH_FAILED", /day = 2026-01-01/));
  assert.deepEqual(await daily(f, DAILY, "committed"), [["2026-01-02", 1, 2]]);
});

test("a poisonous event holds up neither its stream nor other tables, and is kept byte for byte", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path, { project: "failing" });
  const poison = '{ "sensor":"s", "value":"b\\u0061d",\t"seen":"2026-01-05T00:00:00Z" }';
  await f.append("readings", [reading(1, 1, "a"), poison, reading(2, 2, "b"), reading(3, 3, "a")]);
  await f.flow.flush();
  const rows = await f.query("select sensor, value from silver.latest order by sensor", ["silver.latest"], "committed");
  assert.deepEqual(rows, [
    ["a", 3],
    ["b", 2],
  ]);
  const { deadLetters } = await f.flow.deadLetterDesk.list({ table: "silver.latest" }, { limit: 10 });
  assert.deepEqual(
    deadLetters.map(({ stage, code, offset, attempts }) => ({ stage, code, offset, attempts })),
    [{ stage: "transform", code: "TRANSFORM_FAILED", offset: 1, attempts: 1 }],
  );
  const shown = await f.flow.deadLetterDesk.show(deadLetters[0]?.id ?? "");
  assert.equal(shown.payload.toString(), poison);
  assert.deepEqual(await f.query("select count(*) from readings", ["readings"], "committed"), [[4]]);
  assert.ok(f.flow.ledger().every((entry) => entry.balanced && entry.pending === 0));
});

test("a letter counts its tries by the minute, is closed by a success even when it was given up, and opens again", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path, { project: "failing" });
  let now = Date.now();
  const clock = () => now;
  const parts = { engine: f.engine, relations: f.flow.relations, actions: new ActionLog(f.log, clock), clock };
  const deadLetters = f.flow.deadLetters.bind(f.flow);
  const desk = f.flow.deadLetterDesk;
  const by = { day: "2026-01-02" };
  const id = refreshLetterId("gold.daily", by);
  const state = async () => {
    const { letter } = await desk.show(id);
    return [letter.status, letter.attempts, letter.lastMessage];
  };
  let refreshes = new RefreshLetters({ ...parts, deadLetters });
  const settle = (...messages: string[]) =>
    refreshes.settle(
      "gold.daily",
      {},
      messages.map((message) => ({ by, message })),
    );
  await settle("one");
  await settle("one");
  assert.deepEqual(await state(), ["open", 1, "one"]);
  now += 60_000;
  await settle("one");
  await settle("other");
  assert.deepEqual(await state(), ["open", 3, "other"]);
  await desk.discard({ ids: [id] }, { reason: "known", actor: "tester" });
  now += 60_000;
  await settle("other");
  assert.equal((await state())[0], "discarded");
  await settle("a third");
  assert.deepEqual(await state(), ["open", 4, "a third"]);
  await desk.discard({ ids: [id] }, { reason: "known", actor: "tester" });
  refreshes = new RefreshLetters({ ...parts, deadLetters }); // as after a restart
  await settle();
  assert.equal((await state())[0], "retried");
  await settle("a third");
  assert.equal((await state())[0], "open");
  assert.deepEqual([...(await refreshes.open("gold.daily"))], [[id, "a third"]]);
  assert.deepEqual([...(await refreshes.open("gold.total"))], []);
});
