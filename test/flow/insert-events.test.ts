import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { openDuckdbEngine } from "../../src/engine/duckdb-engine.ts";
import type { Relation } from "../../src/engine/sql-engine.ts";
import { MillraceError } from "../../src/errors.ts";
import { insertEvents } from "../../src/flow/insert-events.ts";

async function openEngine() {
  const dir = await mkdtemp(join(tmpdir(), "millrace-events-"));
  const memory = { memoryBytes: 512 * 1024 ** 2, threads: 2 };
  const engine = await openDuckdbEngine({ ...memory, tempDir: join(dir, "tmp"), allowedDirs: [dir] });
  await engine.local.run(`create schema stage;
    create table stage.rates (code integer, rate double, label varchar);
    insert into stage.rates values (1, 2.0, '7'), (1, 2.0, 'seven'), (2, 4.0, '8'), (3, null, null)`);
  const close = async () => {
    await engine.close();
    await rm(dir, { recursive: true, force: true });
  };
  return { local: engine.local, [Symbol.asyncDispose]: close };
}

type Engine = Awaited<ReturnType<typeof openEngine>>;

const RATES: ReadonlyMap<string, Relation> = new Map([["rates", { kind: "native", sql: "select * from stage.rates" }]]);

/** Events with several rows each where `number` occurs more than once. */
interface Row {
  readonly event: number;
  readonly text: string | null;
  readonly number: number | null;
}

async function declareEvents(engine: Engine, rows: readonly Row[]): Promise<void> {
  const literal = (text: string | null) => (text === null ? "null" : `'${text.replaceAll("'", "''")}'`);
  const values = rows.map((r) => `(${literal(r.text)}, ${r.number}, ${r.event % 2}, ${r.event})`);
  await engine.local.run(`create or replace table stage.events (text varchar, number integer, _partition integer, _offset bigint);
    ${values.length === 0 ? "" : `insert into stage.events values ${values.join(", ")}`}`);
}

const events = (condition = "true"): Relation => ({
  kind: "native",
  sql: `select * from stage.events where ${condition}`,
});

interface Failure {
  readonly partition: number;
  readonly offset: number;
  /** Several where several rows of the event fail. */
  readonly reasons: ReadonlySet<string>;
}

/** What the statement does to each event when it is given that one alone. */
async function truth(engine: Engine, sql: string, rows: readonly Row[]): Promise<Failure[]> {
  const failed: Failure[] = [];
  await engine.local.run(`create or replace table stage.expected as ${await typed(engine, sql)}`);
  for (const event of [...new Set(rows.map((row) => row.event))].sort((a, b) => (a % 2) - (b % 2) || a - b)) {
    const reason = await insertAlone(engine, sql, `_offset = ${event}`, "stage.expected");
    if (reason === undefined) continue;
    const reasons = new Set([reason]);
    for (const [place, row] of rows.entries()) {
      if (row.event !== event) continue;
      reasons.add((await insertAlone(engine, sql, `rowid = ${place}`, "stage.scratch")) ?? reason);
    }
    failed.push({ partition: event % 2, offset: event, reasons });
  }
  return failed;
}

async function insertAlone(
  engine: Engine,
  sql: string,
  condition: string,
  target: string,
): Promise<string | undefined> {
  await engine.local.run(`create or replace table stage.scratch as ${await typed(engine, sql)}`);
  const inputs = new Map([...RATES, ["orders", events(condition)] as const]);
  try {
    await engine.local.run(`insert into ${target} by name ${await engine.local.compile({ sql, inputs })}`);
    return undefined;
  } catch (error) {
    assert.ok(error instanceof MillraceError && error.code === "SQL_FAILED", String(error));
    return error.message;
  }
}

async function typed(engine: Engine, sql: string): Promise<string> {
  const inputs = new Map([...RATES, ["orders", events("false")] as const]);
  return `from (${await engine.local.compile({ sql, inputs })}) limit 0`;
}

async function assertTruth(engine: Engine, sql: string, rows: readonly Row[]): Promise<number> {
  await declareEvents(engine, rows);
  const expected = await truth(engine, sql, rows);
  await engine.local.run(`create or replace table stage.actual as ${await typed(engine, sql)}`);
  const work = { target: "stage.actual", sql, driver: "orders", events: events(), inputs: RATES };
  const failed = await insertEvents(engine.local, work);
  const place = (failure: { partition: number; offset: number }) => [failure.partition, failure.offset];
  assert.deepEqual(failed.map(place), expected.map(place), sql);
  for (const [i, { reason }] of failed.entries()) {
    assert.ok(expected[i]?.reasons.has(reason), `${sql}: ${reason}, not ${[...(expected[i]?.reasons ?? [])]}`);
  }
  const [{ different } = {}] = await engine.local.rows(`select count(*)::integer as different from (
    (from stage.actual except all from stage.expected) union all (from stage.expected except all from stage.actual))`);
  assert.equal(different, 0, sql);
  const left = await engine.local.rows("select table_name from duckdb_tables() where table_name like 'isolation%'");
  assert.deepEqual(left, [], "nothing of the search stays in memory");
  return expected.length;
}

const TEXTS = [
  "1",
  "2",
  "12",
  "twelve",
  "",
  "2026-01-01",
  "2026-13-01",
  '{"a":1}',
  '{"a":',
  "(",
  "[a",
  "x:1",
  "99999999999",
  "it's",
  // The engine's own errors look like this, and the platform would wait for a disk that is fine.
  '{"exception_type":"IO","exception_message":"x"}',
];
const row = fc.record({
  event: fc.integer({ min: 0, max: 40 }),
  text: fc.option(fc.constantFrom(...TEXTS), { freq: 8 }),
  number: fc.option(fc.integer({ min: -3, max: 3 }), { freq: 8 }),
});

/** Expressions that fail on some rows, all in different ways; those without a name in brackets can also be conditions. */
const EXPRESSIONS = [
  "cast(text as integer)",
  "cast(text as date)",
  "case when number > 0 then cast(text as integer) end",
  "case when number = 2 then error('two: ' || text) else number end",
  "error(case when number = 3 then text end)",
  "(cast(text as json)->>'a')",
  "regexp_matches('a', text)",
  "cast(number * 1000000000 as integer)",
  "strptime(text, '%Y-%m-%d')",
  "list_transform([text], t -> cast(t as integer))",
  "cast(o.text as integer) + coalesce(number, 0)",
  "(select max(rate) from rates r2 where r2.code = cast(o.text as integer))",
  "unnest([cast(text as integer), 1])",
  "number // 0",
  "cast(rate * 1e9 * number as integer)",
  "text || 'plain'",
];
const CONDITIONS = [
  "number is distinct from 1",
  "cast(text as integer) > 0",
  "regexp_matches('b', text) is not true",
  "text <> 'twelve' and cast(text as integer) <> 5",
  "coalesce(number, 0) < 2 and error(case when text = '12' then 'no twelve' end) is null",
];
const JOINS = [
  "left join rates r on r.code = o.number",
  "join rates r on r.code = o.number",
  "left join rates r on r.code = cast(o.text as integer)",
  "join rates r on r.code = cast(o.text as integer)",
  "left join (select code, cast(code as double) as rate from rates) r on r.code = o.number",
];

const statement = fc
  .record({
    items: fc.uniqueArray(fc.constantFrom(...EXPRESSIONS), { minLength: 0, maxLength: 3 }),
    condition: fc.option(fc.constantFrom(...CONDITIONS)),
    join: fc.constantFrom(...JOINS),
    star: fc.boolean(),
    shaped: fc.boolean(),
    cte: fc.boolean(),
  })
  .map(({ items, condition: wanted, join: joined, star, shaped, cte }) => {
    // Whether a condition is asked before an inner join has dropped the row is the engine's choice, made anew for each statement.
    const condition = joined.startsWith("join") && wanted !== null ? CONDITIONS[0] : wanted;
    const list = [star ? "o.*" : "o._partition, o._offset", ...items.map((item, i) => `${item} as v${i}`)].join(", ");
    const lookup = cte ? joined.replace("join rates", "join known") : joined;
    const inner = `${cte ? "with known as (select * from rates) " : ""}select ${list} from orders o ${lookup}${condition === null ? "" : ` where ${condition}`}`;
    if (!shaped) return inner;
    const casts = items.map((_, i) => `cast(v${i} as varchar) as v${i}`);
    return `select *, cast(_offset as integer) as day from (select ${[...casts, "_partition", "_offset"].join(", ")} from (${inner}) as _given)`;
  });

test("exactly the events fail that fail alone, with the reason they then have, and all other rows are there", async () => {
  await using engine = await openEngine();
  let failing = 0;
  const check = fc.asyncProperty(statement, fc.array(row, { maxLength: 60 }), async (sql, rows) => {
    failing += await assertTruth(engine, sql, rows);
  });
  await fc.assert(check, { numRuns: 120 });
  assert.ok(failing > 100, `${failing} events failed`);
});
