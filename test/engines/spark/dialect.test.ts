import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Column, ColumnType } from "../../../src/define/project.ts";
import { functionsUsed } from "../../../src/define/sql-ast.ts";
import { type DuckdbEngine, openDuckdbEngine } from "../../../src/engine/duckdb-engine.ts";
import { AGGREGATES, FUNCTIONS, WINDOWS } from "../../../src/engine/spark/dialect/functions.ts";
import { parseSparkUrl } from "../../../src/engine/spark/spark-address.ts";
import { openSparkEngine, type SparkEngine } from "../../../src/engine/spark/spark-engine.ts";
import type { Relation, SqlEngine } from "../../../src/engine/sql-engine.ts";
import { sameValue } from "./same-rows.ts";
import { sparkUrl } from "./server.ts";

/*
 * Every function and operator that is translated gives the same in both engines, over random values of its types. The seed is printed; another
 * comes from MILLRACE_SEED.
 */
const SEED = Number(process.env["MILLRACE_SEED"] ?? 20_260_115);
const ROWS = 400;

/** Over one row each. Columns: i, j whole (j small), l long, d, e double, n decimal(18,3), s, u text, b boolean, t, v instants, x, y dates, m map, a list. */
const SCALARS = [
  "i + j, i - j, -i, i * j, l + j, d + e, d - e, d * e, n + n, n - i, n * n, n * d, i + d",
  "i / j, d / e, n / 7, n / j, l / 3, i / 0, d / 0.0, -i / 0",
  "i // j, i // 3, l // -7, i // 0, i % j, i % 5, l % -3, mod(i, 7)",
  "s || u, s || i, s || n, s || x, s || b, s || null",
  "i = j, i <> j, i < j, i >= j, d = e, d < e, d > 'nan'::double, n <= i, s < u, s = u, x < y, t >= v, x <= t, b = true, i is not distinct from j, s is distinct from u",
  "i between j and 10, x between date '1969-01-01' and '2026-01-01', t between '1970-01-01 00:00:00+00' and '2026-06-01', i in (1, 2, null), s in ('', 'a'), i not in (1, 2), x in ('2026-01-01'::date, null)",
  "b and i > 0, b or i > 0, not b, i is null, s is not null, coalesce(i, j, 0), nullif(i, j), nullif(s, ''), ifnull(s, u), if(b, i, j), case when i > j then 'more' when i = j then 'same' end, case i when 1 then 1.5 else 2 end",
  "greatest(i, j), least(d, e), greatest(i, d, 1.5), least(s, u), greatest(x, y), least(t, null, v)",
  "abs(i), abs(d), abs(n), round(d), round(d, 1), round(d, 2), round(e, 3), round(n), round(n, 1), round(i), floor(d), ceil(d), ceiling(e), floor(n), ceil(i)",
  "sqrt(abs(d)), ln(abs(d) + 1), log10(abs(e) + 1), exp(least(d, 20)), sin(e), cos(e), atan(d), radians(d), degrees(e), pi()",
  "length(s), strlen(s), trim(s), ltrim(s), rtrim(s), trim(s, ' a'), ltrim(s, 'ab'), rtrim(s, 'z ')",
  "starts_with(s, 'a'), prefix(s, u), ends_with(s, 'z'), suffix(s, u), contains(s, u), contains(s, ''), starts_with(s, '')",
  "substring(s, 1, 2), substring(s, 2), substr(s, 3, 100), left(s, 2), right(s, 3), replace(s, 'a', u), replace(s, ' ', ''), split_part(s, ' ', 1), split_part(s, 'a', 2)",
  "concat(s, u), concat(s, null, i, x), concat_ws('-', s, u), concat_ws(', ', s, null, i), md5(s), sha256(u)",
  "s like 'a%', s like '%_b%', s not like '%z', s like '%\\%', s like '', s like 'A%'",
  "regexp_matches(s, '^a.*z$'), regexp_matches(s, '[a-f]+\\d'), regexp_full_match(s, '[a-z ]*'), regexp_replace(s, 'a+', 'X'), regexp_replace(s, '[ab]', '-', 'g'), regexp_replace(s, '\\.0$', ''), regexp_replace(s, ' ', '', 'g')",
  "printf('%.2f/%.2f', d, e), printf('%s-%d', s, i), printf('%.0f', e), printf('100%% %.3f', e)",
  "cast(least(e, 1000) as integer), cast(n as integer), cast(n as bigint), cast(least(e, 1e6) as decimal(12, 2)), cast(least(e, 1e6) * 3 as decimal(18, 6)), cast(n as decimal(10, 1)), cast(i as double), cast(n as double), cast(d as float), cast(i as varchar), cast(n as varchar), cast(b as varchar), cast(x as varchar), cast(b as integer), cast(i as boolean), cast(i as decimal(12, 2))",
  "cast(t as date), cast(x as timestamptz), cast(x as timestamp), date(t), date(x), '2026-01-31'::date, timestamp '2026-01-31 12:30', '2026-01-31T01:02:03.5Z'::timestamptz",
  "date_trunc('year', t), date_trunc('quarter', t), date_trunc('month', x), date_trunc('week', t), date_trunc('day', t), date_trunc('hour', t), date_trunc('minute', t), date_trunc('second', t), date_trunc('millisecond', t), cast(date_trunc('week', x) as date)",
  "date_diff('year', t, v), date_diff('quarter', x, y), date_diff('month', t, v), date_diff('day', x, y), date_diff('day', t, v), datediff('hour', t, v), date_diff('minute', t, v), date_diff('second', t, v), date_diff('millisecond', t, v)",
  "extract(year from t), extract(month from x), extract(week from t), extract(dow from x), extract(isodow from t), extract(doy from t), extract(hour from t), extract(minute from t), extract(second from t), extract(quarter from x), datepart('day', t)",
  "year(t), quarter(t), month(x), week(x), weekofyear(t), day(t), dayofmonth(x), hour(t), minute(t), second(t), dayofweek(x), isodow(t), dayofyear(x), last_day(x)",
  "epoch_us(t), epoch_ms(t), epoch(t), strftime(t, '%Y-%m-%d %H:%M:%S'), strftime(x, '%d.%m.%Y'), strftime(t, '%H:%M:%S.%f')",
  "x - y, x + i % 1000, x - j, x + interval 1 day, x - interval 2 month, t + interval 90 minute, t - interval '3' hour, t + interval 1 year, t - v > interval 1 hour",
  "m['k'], m['none'], a[1], a[3], st.f, st.g.h",
];

/** Over groups of rows. */
const GROUPS =
  "count(*), count(i), count(distinct j), count(distinct s), sum(i), sum(distinct j), sum(l % 1000), sum(n), sum(e), min(i), max(d), min(s), max(x), max(t), avg(i), avg(n), mean(e), median(i), median(e), median(n::double), stddev(n), stddev_samp(n), stddev_pop(n), variance(n), var_samp(n), var_pop(n), quantile_cont(e, 0.25), any_value(k), arg_min(id, id), arg_max(s, id), min_by(n, id), max_by(id, id), bool_and(b), bool_or(b), count(*) filter (b), sum(n) filter (i > 0), avg(i) filter (b), cast(sum(i) as bigint), cast(sum(n) / 7 as decimal(18, 2))";

const OVER =
  "row_number() over w, rank() over (partition by k order by j), dense_rank() over (partition by k order by j desc), percent_rank() over (partition by k order by j), cume_dist() over (partition by k order by j), ntile(4) over (order by id), lag(i) over w, lead(n, 2) over w, lag(s, 1, 'none') over w, first_value(i) over w, last_value(i) over (partition by k order by id rows between 1 preceding and 2 following), sum(n) over w, count(*) over (partition by k), max(t) over (partition by k order by id rows unbounded preceding), avg(i) over (partition by k order by j), min(s) over (partition by k order by id rows between 3 preceding and 1 preceding), count(*) filter (b) over (partition by k)";

const TYPES: Readonly<Record<string, ColumnType>> = {
  id: { kind: "long" },
  k: { kind: "integer" },
  i: { kind: "integer" },
  j: { kind: "integer" },
  l: { kind: "long" },
  d: { kind: "double" },
  e: { kind: "double" },
  n: { kind: "decimal", precision: 18, scale: 3 },
  s: { kind: "string" },
  u: { kind: "string" },
  b: { kind: "boolean" },
  t: { kind: "timestamp" },
  v: { kind: "timestamp" },
  x: { kind: "date" },
  y: { kind: "date" },
  m: { kind: "map", value: { kind: "integer" }, valueNullable: true },
  a: { kind: "array", element: { kind: "integer" }, elementNullable: true },
  st: {
    kind: "struct",
    fields: [
      { name: "f", type: { kind: "integer" }, nullable: true },
      {
        name: "g",
        type: { kind: "struct", fields: [{ name: "h", type: { kind: "string" }, nullable: true }] },
        nullable: true,
      },
    ],
  },
};
const COLUMNS: Column[] = Object.entries(TYPES).map(([name, type]) => ({ name, type, nullable: true }));

let dir: string;
let duckdb: DuckdbEngine;
let spark: SparkEngine;
let table: Relation;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "spark-dialect-"));
  duckdb = await openDuckdbEngine({
    memoryBytes: 256 * 2 ** 20,
    threads: 2,
    tempDir: join(dir, "tmp"),
    allowedDirs: [dir],
  });
  const address = parseSparkUrl(await sparkUrl());
  assert.ok(typeof address === "object");
  spark = openSparkEngine({ address, parse: (sql) => duckdb.inspector.parse(sql) });
  const sql = `select * from (values ${randomRows(SEED).join(",\n")}) r(${Object.keys(TYPES).join(", ")})`;
  const files = await duckdb.write({ sql, inputs: new Map() }, { path: async () => join(dir, "rows.parquet") });
  table = { kind: "files", columns: COLUMNS, files };
  console.log(`seed ${SEED}`);
});
after(async () => {
  await spark?.close();
  await duckdb?.close();
  await rm(dir, { recursive: true, force: true });
});

describe("what is translated means the same in both engines", () => {
  for (const list of SCALARS) {
    test(list.slice(0, 70), async () => await compare(`select id, ${named(list)} from r`));
  }

  test("aggregates", async () => await compare(`select k as id, ${named(GROUPS)} from r group by k`));
  test("aggregates of everything and of nothing", async () => {
    await compare(`select 1 as id, ${named(GROUPS.replace("any_value(k)", "any_value(7)"))} from r`);
    await compare(`select 1 as id, ${named(GROUPS.replace("any_value(k)", "any_value(7)"))} from r where false`);
  });
  test("windows", async () =>
    await compare(`select id, ${named(OVER.replaceAll("over w,", "over (partition by k order by id),"))} from r`));

  test("statements", async () => {
    for (const sql of STATEMENTS) await compare(sql);
  });

  test("and nothing is translated that is not compared here", async () => {
    const used = new Set<string>();
    const texts = [
      ...SCALARS.map((list) => `select ${list} from r`),
      `select ${GROUPS} from r`,
      `select ${OVER} from r window w as (order by id)`,
      ...STATEMENTS,
    ];
    for (const sql of texts)
      for (const { name } of functionsUsed(await duckdb.inspector.parse(sql)))
        used.add(name.replace("count_star", "count"));
    const all = [FUNCTIONS, AGGREGATES, WINDOWS].flatMap((one) => Object.keys(one));
    assert.deepEqual(
      all.filter((name) => !used.has(name)),
      ["error"], // which ends a statement
    );
  });
});

const STATEMENTS = [
  "select k as id, count(*) as c from r group by all order by c desc, id limit 5",
  "select id, k from r qualify row_number() over (partition by k order by j desc nulls first, id) <= 2",
  "select distinct k as id, b from r",
  "with one as (select id, k, i from r where i > 0), two (a, c) as (select k, count(*) from one group by 1) select one.*, two.c from one join two on one.k = two.a",
  "select * exclude (m, a, st, d, e) replace (i + 1 as i) from r",
  "select id, i from r union all by name select i, s, id from r where j > 0",
  "select k as id from r where i > 0 except select k from r where j > 3",
  "select k as id from r intersect select j from r",
  "select l.id, l.k, z.n from r l left join (select k, sum(n) as n from r group by k) z using (k)",
  "select * from (select id, k from r) p full join (select k, max(i) as top from r where k > 2 group by k) q using (k)",
  "select id, (select max(i) from r) - i as below from r where k in (select k from r where i > 50) and exists (select 1 from r q where q.k = r.k and q.id <> r.id)",
  "select id from r p where not exists (select 1 from r q where q.id = p.i)",
  "select id, i from r order by i desc, id limit 7 offset 3",
  "select k as id, sum(i) as total from r group by k having sum(i) > 0",
  "select id, x as i, i as x from r order by x, id limit 11",
  "select id, hour(t) as h, h + 1 as later from r",
];

function named(list: string): string {
  let depth = 0;
  let from = 0;
  const parts: string[] = [];
  let quoted = false;
  for (let at = 0; at <= list.length; at++) {
    const mark = list[at];
    if (mark === "'") quoted = !quoted;
    else if (quoted) continue;
    else if (mark === "(" || mark === "[") depth++;
    else if (mark === ")" || mark === "]") depth--;
    else if ((mark === "," && depth === 0) || mark === undefined) {
      parts.push(list.slice(from, at).trim());
      from = at + 1;
    }
  }
  return parts.map((part, i) => `${part} as c${i}`).join(", ");
}

async function compare(sql: string): Promise<void> {
  const statement = { sql, inputs: new Map([["r", table]]) };
  const [left, right] = [await rowsOf(duckdb, statement), await rowsOf(spark, statement)];
  assert.equal(right.rows.length, left.rows.length, sql);
  const differences = new Map<string, string>();
  for (const [r, row] of left.rows.entries())
    for (const [c, value] of row.entries()) {
      const other = right.rows[r]?.[c];
      if (!sameValue(value, other) && !differences.has(left.names[c]!)) {
        differences.set(
          left.names[c]!,
          `row ${row[0]}: DuckDB ${JSON.stringify(value)}, Spark ${JSON.stringify(other)}`,
        );
      }
    }
  assert.deepEqual(Object.fromEntries(differences), {}, sql);
}

async function rowsOf(engine: SqlEngine, statement: { sql: string; inputs: Map<string, Relation> }) {
  const { columns, batches } = await engine.query(statement);
  const rows: unknown[][] = [];
  for await (const batch of batches) rows.push(...batch);
  const key = (row: unknown[]) =>
    JSON.stringify([
      Number(row[0] ?? -1) + 1e9,
      row.map((value) => (typeof value === "number" && !Number.isInteger(value) ? 0 : value)),
    ]);
  const sorted = rows
    .map((row) => [key(row), row] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, row]) => row);
  return { names: columns.map(({ name }) => name), rows: sorted };
}

/** Rows as SQL, with the values at which engines tend to differ among them. */
function randomRows(seed: number): string[] {
  let state = seed >>> 0;
  const random = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T;
  const whole = (from: number, to: number) => from + Math.floor(random() * (to - from + 1));
  const some = (value: () => string, share = 0.9) => (random() < share ? value() : "null");
  const text = () => {
    const letters = [..."abcz AZ.09%_\\-\u00a0äß\u{1f600}é\t"];
    const length = whole(0, 9);
    return quote(Array.from({ length }, () => pick(letters)).join(""));
  };
  const quote = (value: string) => `'${value.replaceAll("'", "''")}'`;
  const fraction = () =>
    pick([
      () => `${(random() - 0.5) * 1000}`,
      () => `${whole(-100_000, 100_000) / 1000}`,
      () => `${whole(-200, 200) + 0.5}`,
      () => `${whole(-2000, 2000) / 8}`,
      () => pick(["0.0", "-0.0", "1.005", "2.675", "0.125", "-0.125", "50.135", "1e15", "-123456789.987654321"]),
    ])();
  const special = () => (random() < 0.06 ? pick(["'nan'", "'inf'", "'-inf'"]) : fraction());
  const instant = () =>
    new Date(whole(-3e8, 20e8) * 1000).toISOString().replace("T", " ").replace("Z", "").slice(0, 20) +
    String(whole(0, 999_999)).padStart(6, "0");
  const day = () => new Date(whole(-4000, 24_000) * 86_400_000).toISOString().slice(0, 10);
  return Array.from({ length: ROWS }, (_, id) => {
    const values = [
      `${id}::bigint`,
      `${whole(0, 9)}::integer`,
      `${some(() => String(whole(-10_000, 10_000)))}::integer`,
      `${some(() => String(whole(-9, 9)))}::integer`,
      `${some(() => String(whole(-1e15, 1e15)))}::bigint`,
      `${some(special)}::double`,
      `${some(() => fraction())}::double`,
      `${some(() => String(whole(-1e9, 1e9) / 1000))}::decimal(18,3)`,
      `${some(text)}::varchar`,
      `${some(() => quote(pick(["", "a", "b", " ", "z", "ab"])))}::varchar`,
      `${some(() => String(random() < 0.5))}::boolean`,
      `${some(() => `'${instant()}+00'`)}::timestamptz`,
      `${some(() => `'${instant()}+00'`)}::timestamptz`,
      `${some(() => `'${day()}'`)}::date`,
      `${some(() => `'${day()}'`)}::date`,
      `${some(() => `map {'k': ${whole(0, 9)}, 'z': null}`)}::map(varchar, integer)`,
      `${some(() => `[${whole(0, 9)}, null]`)}::integer[]`,
      `${some(() => `{'f': ${whole(0, 9)}, 'g': {'h': ${text()}}}`)}::struct(f integer, g struct(h varchar))`,
    ];

    return `(${values.join(", ")})`;
  });
}
