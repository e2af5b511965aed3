import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ACTION_STREAM } from "../../src/flow/dead-letter-actions.ts";
import type { Admit } from "../../src/flow/dead-letter-desk.ts";
import { openFlow, temporaryFolder } from "./open-flow.ts";

type Flow = Awaited<ReturnType<typeof openFlow>>;

const admit: Admit = (_, payload) => ({
  kind: "accepted",
  partition: 0,
  line: Buffer.concat([payload, Buffer.from("\n")]),
});
const request = { actor: "tester", admit };
/** Tables of one row per event; a keyed table's rows do not tell what it has taken. */
const ROWS = ["silver.orders", "silver.rated", "silver.large"];

const event = fc.record({
  id: fc.integer({ min: 0, max: 15 }),
  country: fc.constantFrom("DE", "FR", "UK"),
  customer: fc.constantFrom("c", "c", "c", "test"),
  amount: fc.integer({ min: 50, max: 200 }),
});

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("orders" as const),
      events: fc.array(event, { minLength: 1, maxLength: 6 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("rate" as const),
      country: fc.constantFrom("DE", "FR", "UK"),
      // Beyond a thousand, what passes at last fails in the table above.
      rate: fc.constantFrom(2, 3, 5000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("refused" as const), id: fc.integer({ min: 0, max: 15 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("flush" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("replay" as const),
      table: fc.constantFrom("silver.rated", "silver.large", "silver.newest"),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("retry" as const) }) },
  // The process dies at the n-th thing that a retry makes durable.
  { weight: 3, arbitrary: fc.record({ do: fc.constant("fatal retry" as const), at: fc.integer({ min: 1, max: 9 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("discard" as const),
      table: fc.constantFrom("silver.rated", "silver.large"),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("redefine" as const), project: fc.constantFrom("mended", "loosened") }),
  },
);

/** Lets the next retry die right behind its n-th durable step, and the process with it. */
function dieAt(f: Flow, nth: number): void {
  let left = nth;
  const guard = async <T>(work: () => Promise<T>): Promise<T> => {
    const result = await work();
    left--;
    if (left <= 0) throw new Error("died");
    return result;
  };
  const append = f.log.append.bind(f.log);
  f.log.append = (stream, partition, batch) =>
    stream === ACTION_STREAM || batch.source.startsWith("dead-letter/")
      ? guard(() => append(stream, partition, batch))
      : append(stream, partition, batch);
  const commit = f.flow.lake.commit.bind(f.flow.lake);
  f.flow.lake.commit = (table, wanted) =>
    wanted.operation === "RETRY" ? guard(() => commit(table, wanted)) : commit(table, wanted);
}

/** The ledger, the rows, the letters and the receipts must tell one story. */
async function assertOneStory(f: Flow, { replayed }: { replayed: boolean }): Promise<void> {
  await f.flow.flush();
  assert.deepEqual(await f.flow.verifyLedger(), [], "the recount finds what the counters say");
  const { end } = f.log.ends("orders", 0);
  const fates = new Map<string, Record<string, number>>();
  const ids = await f.query("select distinct _id from bronze.orders", ["bronze.orders"]);
  let arrivals = 0;
  for (const [id] of ids) {
    const receipt = await f.flow.receipt("orders", String(id));
    for (const arrival of receipt.arrivals) {
      arrivals++;
      for (const { table, fate } of arrival.tables) {
        const counts = fates.get(table) ?? { stored: 0, duplicate: 0, filtered: 0, "dead-lettered": 0 };
        counts[fate === "superseded" ? "stored" : fate] = (counts[fate === "superseded" ? "stored" : fate] ?? 0) + 1;
        fates.set(table, counts);
      }
    }
  }
  assert.equal(arrivals, end, "every accepted event has a receipt");
  for (const entry of f.flow.ledger()) {
    assert.ok(entry.balanced && entry.pending === 0, JSON.stringify(entry));
    if (entry.stream !== "orders" || !ROWS.includes(entry.hop)) continue;
    const { stored, duplicate, filtered, deadLettered } = entry;
    const counted = { stored, duplicate, filtered, "dead-lettered": deadLettered };
    assert.deepEqual(
      counted,
      fates.get(entry.hop) ?? { stored: 0, duplicate: 0, filtered: 0, "dead-lettered": 0 },
      entry.hop,
    );
    const [[rows, events] = []] = await f.query(`select count(*), count(distinct _offset) from ${entry.hop}`, [
      entry.hop,
    ]);
    assert.deepEqual([rows, events], [stored, stored], `${entry.hop} holds each event once`);
  }
  // A replay concerns one table alone, by the definitions as they are: those over it do not follow.
  if (replayed) return;
  const keyed = "select country, order_id from silver.newest order by all";
  const recomputed = "select country, max_by(order_id, _offset) from silver.rated group by all order by all";
  assert.deepEqual(await f.query(keyed, ["silver.newest"]), await f.query(recomputed, ["silver.rated"]));
}

test("whatever is retried, discarded, redefined or dies half-way, each event is taken once and every count is true", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 12 }), async (history) => {
      await using dir = await temporaryFolder();
      let project = "mended";
      let f = await openFlow(dir.path, { project });
      let refused = 0;
      const replayed = history.some((action) => action.do === "replay");
      const reopen = async () => {
        await f.crash();
        f = await openFlow(dir.path, { project });
      };
      try {
        for (const action of history) {
          if (action.do === "orders") {
            const orders = action.events.map(({ id, ...rest }) => ({
              order_id: `o${id}`,
              ...rest,
              placed_at: `2026-01-0${1 + (id % 3)}T00:00:00Z`,
            }));
            await f.append("orders", orders);
          } else if (action.do === "rate") await f.append("rates", [{ country: action.country, rate: action.rate }]);
          else if (action.do === "refused") {
            refused++;
            const payload = JSON.stringify({ country: `R${action.id}`, rate: 1 });
            await f.flow.deadLetters([
              { stream: "rates", stage: "door", code: "EVENT_INVALID", message: "no", payload, source: "http" },
            ]);
          } else if (action.do === "replay") await f.flow.replay(action.table);
          else if (action.do === "flush") await f.flow.flush();
          else if (action.do === "retry") await f.flow.deadLetterDesk.retry({ filter: {} }, request);
          else if (action.do === "fatal retry") {
            dieAt(f, action.at);
            await f.flow.deadLetterDesk
              .retry({ filter: {} }, request)
              .catch((error: unknown) => assert.match(String(error), /died/));
            await reopen();
          } else if (action.do === "discard") {
            await f.flow.deadLetterDesk.discard(
              { filter: { table: action.table } },
              { reason: "enough", actor: "tester" },
            );
          } else {
            // What waits is stored by the definition it was staged with.
            await f.flow.flush();
            project = action.project;
            await reopen();
          }
        }
        await assertOneStory(f, { replayed });
        await f.flow.deadLetterDesk.retry({ filter: {} }, request);
        await assertOneStory(f, { replayed });
        // The stream has no id: nothing but the retry itself keeps an event from being appended twice.
        const letters = await f.query("select count(*) from rates where country like 'R%'", ["rates"]);
        assert.deepEqual(letters, [[refused]]);
      } finally {
        await f.close();
      }
    }),
    { numRuns: 4 },
  );
});

test("a retry that dies behind any of its durable steps is finished by the next one, with nothing lost or doubled", async () => {
  for (let step = 1, died = true; died; step++) {
    await using dir = await temporaryFolder();
    {
      await using f = await openFlow(dir.path, { project: "mended" });
      const order = { customer: "c", country: "DE", placed_at: "2026-01-01T00:00:00Z" };
      await f.append("orders", [
        { order_id: "o0", amount: 50, ...order },
        { order_id: "o1", amount: 150, ...order },
      ]);
      const payload = JSON.stringify({ country: "R1", rate: 1 });
      const letter = { stream: "rates", stage: "door", code: "EVENT_INVALID", message: "no", source: "http" } as const;
      await f.flow.deadLetters([{ ...letter, payload }]);
      await f.flow.flush();
      await f.append("rates", [{ country: "DE", rate: 2 }]);
      dieAt(f, step);
      died = await f.flow.deadLetterDesk.retry({ filter: {} }, request).then(
        () => false,
        (error: unknown) => /died/.test(String(error)) || assert.fail(String(error)),
      );
      await f.crash();
    }
    await using f = await openFlow(dir.path, { project: "mended" });
    await f.flow.deadLetterDesk.retry({ filter: {} }, request);
    await assertOneStory(f, { replayed: false });
    const open = await f.query("select count(*) from system.dead_letters where status = 'open'", [
      "system.dead_letters",
    ]);
    assert.deepEqual(open, [[0]], `step ${step}`);
    const taken = await f.query("select count(*) from silver.rated", ["silver.rated"]);
    const appended = await f.query("select count(*) from rates where country = 'R1'", ["rates"]);
    assert.deepEqual([taken, appended], [[[2]], [[1]]], `step ${step}`);
    const newest = f.flow.ledger().find((entry) => entry.hop === "silver.newest");
    assert.equal(newest?.stored, 2, `step ${step}: a keyed table counts each event once`);
    if (!died) assert.ok(step > 12, "every step was died behind");
    await f.close();
  }
});
