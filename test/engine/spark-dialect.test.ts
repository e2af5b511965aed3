import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Column } from "../../src/define/project.ts";
import type { SqlInspector } from "../../src/define/sql-inspector.ts";
import { openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";
import { known, translate } from "../../src/engine/spark/dialect/translate.ts";
import { renameInputs, variantInputs } from "../../src/engine/spark/dialect/variant.ts";

/* That what is translated means the same is compared on a real Spark, in test/engines/spark; here is what is refused, and the text of variants. */
let inspector: SqlInspector & { close(): void };
before(async () => {
  inspector = await openDuckdbInspector();
});
after(() => inspector.close());

const COLUMNS: Column[] = [
  { name: "id", type: { kind: "long" }, nullable: false },
  { name: "n", type: { kind: "integer" }, nullable: true },
  { name: "x", type: { kind: "double" }, nullable: true },
  { name: "s", type: { kind: "string" }, nullable: true },
  { name: "seen", type: { kind: "timestamp" }, nullable: true },
  { name: "l", type: { kind: "array", element: { kind: "integer" }, elementNullable: true }, nullable: true },
  { name: "j", type: { kind: "json" }, nullable: true },
];

async function translated(sql: string) {
  const input = (name: string) =>
    name === "silver.t" || name === "u" ? { identifier: `in_${name}`, columns: known(COLUMNS) } : undefined;
  return translate(await inspector.parse(sql), input);
}

test("what Spark writes otherwise is rewritten", async () => {
  const cases: [string, string][] = [
    [
      "select n // 2 as a, n / 2 as b from silver.t",
      "SELECT (`n` div 2) AS `a`, (CAST(`n` AS DOUBLE) / CAST(2 AS DOUBLE)) AS `b`\nFROM `in_silver.t` AS `t`",
    ],
    ["select cast(x as integer) as a from silver.t", "SELECT CAST(rint(`x`) AS INT) AS `a`\nFROM `in_silver.t` AS `t`"],
    ["select 'it''s \\ so' as a", "SELECT 'it\\'s \\\\ so' AS `a`"],
    [
      "select silver.t.id from silver.t order by id",
      "SELECT `t`.`id` AS `id`\nFROM `in_silver.t` AS `t`\nORDER BY `id` ASC NULLS LAST",
    ],
    [
      "select * exclude (l, j, s, x, seen) from silver.t",
      "SELECT `t`.`id` AS `id`, `t`.`n` AS `n`\nFROM `in_silver.t` AS `t`",
    ],
    [
      "select count(*) filter (n > 0) as c from silver.t group by all",
      "SELECT count(1) FILTER (WHERE (`n` > 0)) AS `c`\nFROM `in_silver.t` AS `t`\nGROUP BY ALL",
    ],
    [
      "select id from silver.t where seen < '2026-01-02'",
      "SELECT `id` AS `id`\nFROM `in_silver.t` AS `t`\nWHERE (`seen` < TIMESTAMP'2026-01-02 00:00:00Z')",
    ],
  ];
  for (const [sql, text] of cases) {
    const { sql: got, refusals } = await translated(sql);
    assert.deepEqual(refusals, [], sql);
    assert.equal(got, text);
  }
});

test("what has no exact counterpart is refused by name, with what to write instead", async () => {
  const cases: [string, RegExp, RegExp][] = [
    ["select unnest(l) as e from silver.t", /function unnest/, /explode/],
    ["select j->>'a' as e from silver.t", /->>/, /spark:/],
    ["select list_transform(l, y -> y + 1) as e from silver.t", /list_transform|lambda/, /transform|spark:/],
    ["select try_cast(s as integer) as e from silver.t", /try_cast/, /cast/],
    ["select cast(s as integer) as e from silver.t", /cast from string to integer/, /spark:/],
    ["select cast(x as varchar) as e from silver.t", /cast from double to string/, /decimal/],
    ["select distinct on (n) id from silver.t", /DISTINCT ON/, /row_number/],
    ["select * from silver.t asof join u on silver.t.seen >= u.seen", /asof join/, /ON or USING/],
    ["select id from silver.t group by rollup (id)", /grouping sets/, /union/],
    ["select id from silver.t using sample 10", /sample/, /spark:/],
    ["select columns('n.*') from silver.t", /columns/, /name the columns/],
    ["select i from range(5) r(i)", /table function range/, /spark:/],
    ["select current_date as d from silver.t", /current_date/, /column/],
    ["select random() as r from silver.t", /random/, /md5/],
    ["select x // 2 as e from silver.t", /double/, /whole number/],
    ["select upper(s) as e from silver.t", /function upper/, /spark:/],
    ["select count_if(n > 0) as e from silver.t", /count_if/, /filter/],
    ["select regexp_replace(s, '(a)\\1', 'b') as e from silver.t", /pattern/, /letters/],
    ["select is_bot(s) as e from silver.t", /is_bot, which only the embedded engine has/, /read that table here/],
    ["select n as a from silver.t where a > 0", /"a"/, /column/],
    [
      "with recursive r as (select 1 as k union all select k + 1 from r where k < 5) select * from r",
      /recursive/,
      /spark:/,
    ],
  ];
  for (const [sql, what, instead] of cases) {
    const { refusals } = await translated(sql);
    assert.ok(
      refusals.some((one) => what.test(one.what) && instead.test(one.instead)),
      `${sql}: ${JSON.stringify(refusals)}`,
    );
  }
});

test("a refusal says where it is, and what follows from it is not told beside it", async () => {
  const sql = "select\n  id,\n  round(soundex(s), 2) as e\nfrom silver.t";
  const { refusals } = await translated(sql);
  assert.equal(refusals.length, 1);
  assert.equal(sql.slice(refusals[0]?.position).startsWith("soundex"), true);
});

test("the inputs of a statement for Spark are found behind FROM and JOIN, and nothing else is touched", () => {
  const sql = `with orders as (select extract(year from at) as y, trim(both ' ' from s) as s, 'from silver.no' as t -- from silver.no
    from silver.orders /* join silver.no */) select o.y, c.name, \`from\`.x from orders o join \`gold\`.\`countries\` as c using (y)
    left join fx on fx.y = o.y where o.y in (select y from silver.orders)`;
  assert.deepEqual(variantInputs(sql), ["silver.orders", "gold.countries", "fx"]);
  const renamed = renameInputs(sql, (name) => `in ${name}`);
  assert.equal(
    renamed,
    sql
      .replace("from silver.orders /*", "from `in silver.orders` AS `orders` /*")
      .replace("join `gold`.`countries` as c", "join `in gold.countries` as c")
      .replace("left join fx on", "left join `in fx` AS `fx` on")
      .replace("from silver.orders)", "from `in silver.orders` AS `orders`)"),
  );
});
