import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { tableFromIPC } from "apache-arrow";
import type { Column } from "../../src/define/project.ts";
import { type DuckdbEngine, openDuckdbEngine } from "../../src/engine/duckdb-engine.ts";
import type { Relation } from "../../src/engine/sql-engine.ts";
import { MillraceError } from "../../src/errors.ts";
import type { Catalogue, TableMention } from "../../src/serve/catalogue.ts";
import { type QueryView, RunningQueries } from "../../src/serve/running-queries.ts";
import { sqlRoute } from "../../src/serve/sql-route.ts";
import { openServer } from "./open-server.ts";

const nullable = (name: string, type: Column["type"]): Column => ({ name, type, nullable: true });
const COLUMNS: Record<string, Column[]> = {
  orders: [nullable("id", { kind: "integer" }), nullable("amount", { kind: "decimal", precision: 18, scale: 2 })],
  "silver.fx": [nullable("country", { kind: "string" }), nullable("version", { kind: "long" })],
};

/** Tables whose rows say at which version they were read; it keeps what it was asked and what is still held. */
class FakeCatalogue implements Catalogue {
  mentions: readonly TableMention[] = [];
  held = 0;
  names = () => Object.keys(COLUMNS);
  columns = (name: string) => COLUMNS[name];
  list = async () => [];
  describe = async () => {
    throw new Error("not asked here");
  };
  async resolve(mentions: readonly TableMention[]) {
    this.mentions = mentions;
    if (mentions.some((m) => m.at && "version" in m.at && m.at.version > 90)) {
      throw new MillraceError("INTERNAL", { what: "reading a version that is gone" });
    }
    this.held++;
    let released = false;
    const relations = mentions.map(({ name, at }): Relation => {
      const version = at === undefined ? 99 : "version" in at ? at.version : at.timestampMs;
      const sql =
        name === "orders"
          ? "SELECT id, amount FROM main.five"
          : `SELECT 'DE' AS country, ${version}::BIGINT AS version`;
      return { kind: "native", sql };
    });
    return {
      relations,
      release: () => {
        if (!released) this.held--;
        released = true;
      },
    };
  }
}

let dir: string;
let engine: DuckdbEngine;
let catalogue: FakeCatalogue;
let url: string;
let close: () => Promise<void>;
let scopes: string[];

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "sql-route-"));
  engine = await openDuckdbEngine({ memoryBytes: 256 * 2 ** 20, threads: 2, tempDir: dir, allowedDirs: [] });
  await engine.local.run(
    "create table five as select i::INTEGER AS id, (i * 1.5)::DECIMAL(18,2) AS amount FROM range(5) r(i)",
  );
  catalogue = new FakeCatalogue();
  scopes = [];
  ({ url, close } = await openServer((app) => {
    app.register(sqlRoute, {
      engine,
      inspector: engine.inspector,
      catalogue,
      requireScope: (scope) => async (request) => {
        scopes.push(scope);
        if (request.headers.authorization === "none")
          throw new MillraceError("QUERY_REQUEST_INVALID", { reason: "no key" });
        const name = request.headers.authorization ?? "ada";
        request.principal = { id: name, name, scopes: new Set([name === "root" ? "admin" : "query"]) };
      },
      running: new RunningQueries(Date.now),
      settings: { queryTimeoutMs: 30_000, queryMaxRows: 1000 },
      mostAtOnce: 2,
    });
  }));
});
after(async () => {
  await close();
  await engine.close();
  await rm(dir, { recursive: true, force: true });
});
beforeEach(() => {
  catalogue.mentions = [];
});

async function post(body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return await fetch(`${url}/v1/sql`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
}
interface Answer {
  columns: { name: string; type: string }[];
  rows: unknown[][];
  rowCount: number;
  elapsedMs: number;
  truncated?: boolean;
  error: { code: string; message: string; details?: Record<string, unknown> };
}
const ask = async (sql: string, params: unknown[] = []) => (await (await post({ sql, params })).json()) as Answer;
const until = async (condition: () => boolean | Promise<boolean>) => {
  const deadline = performance.now() + 20_000;
  while (!(await condition())) {
    assert.ok(performance.now() < deadline, "it took too long");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

describe("a query over HTTP", () => {
  test("answers with columns, rows, their count and the time it took", async () => {
    const response = await post({
      sql: "select id, amount, id > $1 as late from orders order by id limit 2",
      params: [0],
    });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "application/json; charset=utf-8");
    const { elapsedMs, ...answer } = (await response.json()) as Answer;
    assert.deepEqual(answer, {
      columns: [
        { name: "id", type: "integer" },
        { name: "amount", type: "decimal(18,2)" },
        { name: "late", type: "boolean" },
      ],
      rows: [
        [0, "0.00", false],
        [1, "1.50", true],
      ],
      rowCount: 2,
    });
    assert.ok(elapsedMs > 0 && elapsedMs < 2000);
    assert.deepEqual(scopes.at(-1), "query");
    assert.equal(catalogue.held, 0);
  });

  test("names types as SQL spells them", async () => {
    const { columns } =
      await ask(`select 1::bigint, 1::tinyint, 'x', now(), current_date, 1.5::float, {'a': 1, 'B c': [true]},
      map {'k': 1::smallint}, '{}'::json, 'x'::blob, sum(1::bigint), interval 1 day, timestamp '2024-01-01'`);
    assert.deepEqual(
      columns.map((column) => column.type),
      [
        "bigint",
        "tinyint",
        "varchar",
        "timestamp",
        "date",
        "float",
        'struct(a integer, "B c" boolean[])',
        "map(varchar, smallint)",
        "json",
        "blob",
        "decimal(38,0)",
        "varchar",
        "timestamp",
      ],
    );
  });

  test("is asked for its scope before anything else", async () => {
    const response = await post({ sql: "select 1" }, { authorization: "none" });
    assert.equal(response.status, 400);
  });

  test("of no rows is an answer too", async () => {
    const { rows, rowCount } = await ask("select * from orders where id < 0");
    assert.deepEqual([rows, rowCount], [[], 0]);
  });

  test("tells the catalogue which tables it reads, and with which conditions", async () => {
    await ask("select * from ORDERS o join silver.fx f on true where o.id = 3 and f.country in ('DE', 'FR')");
    assert.deepEqual(catalogue.mentions, [
      { name: "orders", predicates: [{ column: "id", op: "=", value: 3 }] },
      { name: "silver.fx", predicates: [{ column: "country", op: "in", values: ["DE", "FR"] }] },
    ]);
  });

  test("reads tables as they were, each mention at its own version or moment", async () => {
    const { rows } = await ask(
      `select a.version, b.version, c.version, d.version, e.version
       from silver.fx as a at (version => 3) join silver.fx b at (version => $2) using (country)
       join silver.fx c at (timestamp => timestamp '2024-01-01 00:00:00') using (country)
       join silver.fx d using (country) join silver.fx as e at (version => 1 + 2) using (country) where a.version = $1`,
      [3, 7],
    );
    assert.deepEqual(rows, [[3, 7, 1704067200000, 99, 3]]);
    assert.equal(catalogue.mentions.length, 4, "the same version is asked for once");
    assert.deepEqual((await ask("from silver.fx at (version => ?) where version = ?", [5, 5])).rows, [["DE", 5]]);
    assert.deepEqual((await ask("select version from silver.fx at (timestamp => $1)", ["2024-01-01T00:00:00Z"])).rows, [
      [1704067200000],
    ]);
    assert.deepEqual(
      (await ask("select version, $3, '$1' from silver.fx at (version => $2 + $2) where version = $1 + 2", [2, 2, "z"]))
        .rows,
      [[4, "z", "$1"]],
    );
    const bad = await ask("from silver.fx at (version => 'x')");
    assert.equal(bad.error.code, "SQL_FAILED");
    assert.match(bad.error.message, /AT takes a version number, got null/);
  });

  const FAILURES: [sql: string, status: number, code: string, message: RegExp][] = [
    ["selec 1", 400, "SQL_SYNTAX", /line 1, column 1/],
    ["drop table orders", 400, "SQL_NOT_A_QUERY", /begins with "drop"/],
    ["select 1; select 2", 400, "SQL_NOT_A_QUERY", /2 statements/],
    ["select * from ordrs", 404, "TABLE_UNKNOWN", /did you mean "orders"/],
    ["select * from 'x.parquet'", 404, "TABLE_UNKNOWN", /x\.parquet/],
    ["select * from information_schema.tables", 404, "TABLE_UNKNOWN", /information_schema\.tables/],
    ["select * from pg_catalog.pg_class", 404, "TABLE_UNKNOWN", /pg_class/],
    ["select * from sqlite_master", 404, "TABLE_UNKNOWN", /sqlite_master/],
    ["select * from duckdb_tables", 404, "TABLE_UNKNOWN", /duckdb_tables/],
    ["select * from stage.orders", 404, "TABLE_UNKNOWN", /stage\.orders/],
    ["select * from memory.main.orders", 404, "TABLE_UNKNOWN", /memory\.main\.orders/],
    ['select * from "input 0", orders', 404, "TABLE_UNKNOWN", /input 0/],
    ["select * from read_text('/etc/passwd')", 403, "SQL_FORBIDDEN", /read_text/],
    ["select ordr from orders", 400, "SQL_FAILED", /"ordr" not found/],
    ["select 'x'::int", 400, "SQL_FAILED", /Could not convert/],
    [`select ${"1+".repeat(300)}1`, 400, "SQL_SYNTAX", /depth limit of 250 exceeded$/],
    [`select ${"(".repeat(20_000)}1${")".repeat(20_000)}`, 400, "SQL_SYNTAX", /memory exhausted/],
    [`${"select * from (".repeat(5000)}select 1${")".repeat(5000)}`, 400, "SQL_SYNTAX", /memory exhausted/],
    ["select $2", 400, "SQL_FAILED", /no number left out/],
    ["select $name", 400, "SQL_FAILED", /must be \?, or \$1/],
    ["select $1", 400, "SQL_FAILED", /takes 1 parameter, got 0/],
  ];
  for (const [sql, status, code, message] of FAILURES) {
    test(`that fails says why: ${sql.slice(0, 60)}`, async () => {
      const response = await post({ sql });
      const { error } = (await response.json()) as Answer;
      assert.deepEqual([response.status, error.code], [status, code], error.message);
      assert.match(error.message, message);
      assert.equal(catalogue.held, 0);
    });
  }

  test("with a body that is none is refused with what is wrong", async () => {
    for (const [body, message] of [
      [{}, /sql must be text/],
      [{ sql: "select 1", params: {} }, /params must be an array/],
      [{ sql: "select 1", maxRows: 1001 }, /maxRows must be a whole number from 0 to 1000, got 1001/],
      [{ sql: "select 1", timeoutMs: 30_001 }, /timeoutMs/],
      [{ sql: "select 1", limit: 5 }, /"limit" is none of/],
      [{ sql: `select '${"x".repeat(262_144)}'` }, /longer than 262144 characters/],
      [[], /JSON object/],
    ] as const) {
      const response = await post(body);
      assert.equal(response.status, 400);
      assert.match(((await response.json()) as Answer).error.message, message);
    }
  });
});

describe("the limits", () => {
  test("of rows: a JSON answer that is cut says so, one that just fits does not", async () => {
    const cut = await ask("select * from range(1001)");
    assert.deepEqual([cut.rows.length, cut.rowCount, cut.truncated], [1000, 1000, true]);
    const whole = await ask("select * from range(1000)");
    assert.deepEqual([whole.rowCount, whole.truncated], [1000, undefined]);
    const asked = (await (await post({ sql: "from range(10)", maxRows: 3 })).json()) as Answer;
    assert.deepEqual([asked.rows, asked.truncated], [[[0], [1], [2]], true]);
  });

  test("of rows do not cut what could not say so", async () => {
    const text = await (await post({ sql: "from range(100000)" }, { accept: "application/x-ndjson" })).text();
    assert.equal(text.split("\n").length, 100_001);
    const asked = await (await post({ sql: "from range(100000)", maxRows: 2 }, { accept: "text/csv" })).text();
    assert.equal(asked, "range\r\n0\r\n1\r\n");
  });

  test("of time: before the first row a proper answer, behind it a cut connection", async () => {
    const response = await post({
      sql: "select count(*) from range(100000000000) t(i) where i % 7 = 3",
      timeoutMs: 50,
    });
    assert.equal(response.status, 408);
    assert.equal(((await response.json()) as Answer).error.code, "QUERY_TIMEOUT");
    const streaming = await post({ sql: "from range(100000000000)", timeoutMs: 300 }, { accept: "text/csv" });
    assert.equal(streaming.status, 200);
    await assert.rejects(streaming.text());
    await until(() => catalogue.held === 0);
  });

  test("an error in the middle of the rows cuts the connection too", async () => {
    const sql = "select case when i = 900000 then error('late') else i end from range(1000000) t(i)";
    const response = await post({ sql }, { accept: "application/x-ndjson" });
    await assert.rejects(response.text());
    await until(() => catalogue.held === 0);
  });

  test("of queries at once: others wait their turn, and one whose client goes leaves the line", async () => {
    const slow = "select count(*) from range(100000000000) t(i) where i % 7 = 3";
    const running = [1, 2].map(() => post({ sql: slow, timeoutMs: 400 }));
    await until(() => catalogue.held === 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const gone = new AbortController();
    const leaver = fetch(`${url}/v1/sql`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ sql: "select 1" }),
      signal: gone.signal,
    });
    const waiting = post({ sql: "select 2" });
    setTimeout(() => gone.abort(), 50);
    await assert.rejects(leaver);
    assert.deepEqual(((await (await waiting).json()) as Answer).rows, [[2]]);
    for (const response of await Promise.all(running)) assert.equal(response.status, 408);
  });
});

describe("a client that goes", () => {
  for (const [when, sql] of [
    ["before the first row", "select count(*) from range(100000000000) t(i), orders where i % 7 = 3"],
    ["while the rows come", "select i from range(100000000000) t(i), orders"],
  ]) {
    test(`${when} cancels its query and holds nothing`, async () => {
      const gone = new Promise<void>((resolve) => {
        const request = httpRequest(`${url}/v1/sql`, {
          method: "POST",
          headers: { "content-type": "application/json", accept: "text/csv" },
        });
        request.on("error", () => resolve());
        request.on("response", (response) => {
          response.on("error", () => resolve());
          response.on("close", () => resolve());
          response.once("data", () => request.destroy());
        });
        request.end(JSON.stringify({ sql }));
        if (when === "before the first row") until(() => catalogue.held === 1).then(() => request.destroy());
      });
      await gone;
      await until(() => catalogue.held === 0);
      assert.deepEqual((await ask("select 1")).rows, [[1]]);
    });
  }
});

describe("what runs", () => {
  const long = "select count(*) from range(100000000000) t(i), orders where i % 7 = 3";
  const list = async (authorization = "ada") => {
    const response = await fetch(`${url}/v1/queries`, { headers: { authorization } });
    return ((await response.json()) as { queries: QueryView[] }).queries;
  };
  const cancel = (id: string, authorization = "ada") =>
    fetch(`${url}/v1/queries/${id}`, { method: "DELETE", headers: { authorization } });

  test("is listed with how far it is, cancelled by its id, and its own answer says so", async () => {
    // The engine has an estimate where all that is scanned is a table: `range` and the like do not tell how far they are.
    const joined = Array.from({ length: 18 }, (_, i) => `orders o${i}`).join(", ");
    const sql = `select count(*) from ${joined} where o0.id + o17.id > 3`;
    const asked = post({ sql, id: "the-long-one" });
    await until(async () => (await list()).some(({ progress }) => progress !== null));
    const [view] = await list();
    assert.deepEqual([view?.id, view?.by, view?.sql, view?.state], ["the-long-one", "ada", sql, "running"]);
    assert.ok((view?.progress ?? -1) >= 0 && (view?.progress ?? 2) < 1, `progress ${view?.progress}`);
    assert.equal((await cancel("the-long-one")).status, 204);
    const response = await asked;
    assert.equal(response.status, 499);
    assert.equal(((await response.json()) as Answer).error.code, "QUERY_CANCELLED");
    assert.deepEqual(await list(), []);
    assert.equal(catalogue.held, 0);
  });

  test("is seen and cancelled by its own key and by admins, and by nobody else", async () => {
    const asked = post({ sql: long, id: "mine" });
    await until(() => catalogue.held === 1);
    assert.deepEqual(await list("bob"), []);
    assert.equal((await cancel("mine", "bob")).status, 404);
    assert.deepEqual(
      (await list("root")).map(({ id, by }) => [id, by]),
      [["mine", "ada"]],
    );
    assert.equal((await cancel("mine", "root")).status, 204);
    assert.equal((await asked).status, 499);
    assert.equal((await cancel("mine")).status, 404);
  });

  test("waits in sight, and goes from there when it is cancelled", async () => {
    const running = [post({ sql: long, id: "a" }), post({ sql: long, id: "b" })];
    await until(() => catalogue.held === 2);
    const waiting = post({ sql: "select 1", id: "c" });
    const waited = performance.now() + 3000;
    while ((await list()).length < 3 && performance.now() < waited);
    assert.deepEqual(
      (await list()).map(({ id, state }) => [id, state]),
      [
        ["a", "running"],
        ["b", "running"],
        ["c", "waiting"],
      ],
    );
    for (const id of ["c", "a", "b"]) assert.equal((await cancel(id)).status, 204);
    for (const asked of [waiting, ...running]) assert.equal((await asked).status, 499);
    assert.deepEqual((await ask("select 1")).rows, [[1]]);
  });

  test("has an id of its own: a second of the same is refused, and may come again after the first", async () => {
    const asked = post({ sql: long, id: "once" });
    await until(() => catalogue.held === 1);
    assert.equal((await post({ sql: "select 1", id: "once" })).status, 409);
    await cancel("once");
    await asked;
    assert.equal((await post({ sql: "select 1", id: "once" })).status, 200);
    assert.equal((await post({ sql: "select 1", id: "not/one" })).status, 400);
  });

  test("without an id is listed under one that the platform gives it, and tells no progress", async () => {
    const asked = post({ sql: long });
    await until(() => catalogue.held === 1);
    const [view] = await list();
    assert.equal(view?.progress, null);
    assert.equal((await cancel(String(view?.id))).status, 204);
    assert.equal((await asked).status, 499);
  });
});

describe("the format", () => {
  const sql = `select * from (values (1, 'a"b', null), (2, '', 'x,y'), (3, e'l1\\nl2', 'é')) v(n, t, u) order by n`;

  test("is CSV on demand: nulls are empty, empty texts are quoted", async () => {
    const response = await post({ sql }, { accept: "text/csv" });
    assert.match(String(response.headers.get("content-type")), /^text\/csv; charset=utf-8/);
    assert.equal(await response.text(), 'n,t,u\r\n1,"a""b",\r\n2,"","x,y"\r\n3,"l1\nl2",é\r\n');
  });

  test("is NDJSON on demand, with a name of its own for every column", async () => {
    const response = await post({ sql: "select 1 as a, 2 as a, [1] as l" }, { accept: "application/x-ndjson" });
    assert.equal(await response.text(), '{"a":1,"a_2":2,"l":[1]}\n');
  });

  test("follows the preferences of Accept", async () => {
    const typeOf = async (accept: string) => (await post({ sql: "select 1" }, { accept })).headers.get("content-type");
    assert.match(String(await typeOf("*/*")), /^application\/json/);
    assert.match(String(await typeOf("text/html, text/csv;q=0.9, application/json;q=0.5")), /^text\/csv/);
    assert.match(String(await typeOf("application/*;q=0.5, application/x-ndjson")), /ndjson/);
    assert.match(String(await typeOf("text/*")), /^text\/csv/);
    const response = await post({ sql: "select 1" }, { accept: "text/html" });
    assert.equal(response.status, 406);
    assert.match(
      ((await response.json()) as Answer).error.message,
      /text\/html.*application\/json, application\/x-ndjson, text\/csv/,
    );
  });

  test("as an Arrow stream holds what the JSON answer holds, for every type", async () => {
    const every = `select i, i::tinyint as t, i::smallint as s, i::integer as n, (i * 9007199254740993) as big, i / 3e0 as d,
      (i / 3e0)::float as f, i > 1 as b, 'text é ' || i as v, repeat('\u{1f600}', i::int * 30) as long,
      (i - 1.25)::decimal(18,2) as dec, -12345678901234567890123456.789::decimal(38,3) as wide, sum(i) over () as total,
      date '2024-02-29' - i::int as day, date '0001-01-01' as first_day, timestamptz '2024-01-01 00:00:00.123456+00' + interval (i) hours as at,
      timestamptz '0001-01-01 00:00:00+00' as old, timestamptz '1969-12-31 23:59:59.999999+00' as before,
      ('x' || i)::blob as bin, '{"a": 1}'::json as j, {'a': i, 'b': {'c': [i]}} as st, [i, null] as l, [[i::varchar], []] as ll,
      map {'k': i, 'm': null} as m, []::integer[] as e, case when i % 2 = 0 then 'x' end as half, case when i % 2 = 0 then [i] end as hl,
      case when i % 2 = 0 then {'a': i} end as hs, null as nothing, interval (i) days as gap, uuid '0ee8f5ca-3b5c-4f0a-8a0e-1f2d3c4b5a69' as u,
      'nan'::double as nan, 'inf'::double as inf
      from range(5) t(i) order by i`;
    const { columns, rows } = await ask(every);
    const response = await post({ sql: every }, { accept: "application/vnd.apache.arrow.stream" });
    assert.equal(response.headers.get("content-type"), "application/vnd.apache.arrow.stream");
    const table = tableFromIPC(new Uint8Array(await response.arrayBuffer()));
    assert.deepEqual(
      table.schema.fields.map((field) => field.name),
      columns.map((column) => column.name),
    );
    const types = Object.fromEntries(table.schema.fields.map((field) => [field.name, String(field.type)]));
    assert.deepEqual(
      [types.i, types.n, types.f, types.dec, types.total, types.day, types.at, types.j, types.bin],
      [
        "Int64",
        "Int32",
        "Float32",
        "Decimal[18e+2]",
        "Decimal[38e0]",
        "Date32<DAY>",
        "Timestamp<MICROSECOND, UTC>",
        "Utf8",
        "Binary",
      ],
    );
    for (const [c, column] of columns.entries()) {
      for (const [r, row] of rows.entries()) {
        const vector = table.getChildAt(c);
        assert.deepEqual(plain(vector?.get(r), column.type, vector, r), row[c], `${column.name}, row ${r}`);
      }
    }
  });

  test("as an Arrow stream comes in batches and keeps every row", async () => {
    const response = await post(
      { sql: "select i, 'x' || i as x from range(100000) t(i)" },
      { accept: "application/vnd.apache.arrow.stream" },
    );
    const table = tableFromIPC(new Uint8Array(await response.arrayBuffer()));
    assert.equal(table.numRows, 100_000);
    assert.ok(table.batches.length > 10);
    assert.deepEqual([table.getChild("i")?.get(99_999), table.getChild("x")?.get(99_999)], [99_999n, "x99999"]);
    const empty = await post(
      { sql: "select * from orders where false" },
      { accept: "application/vnd.apache.arrow.stream" },
    );
    const none = tableFromIPC(new Uint8Array(await empty.arrayBuffer()));
    assert.deepEqual([none.numRows, none.schema.fields.length], [0, 2]);
  });
});

/** An Arrow value as the JSON answer writes it. */
function plain(
  value: unknown,
  type: string,
  vector?: { data: readonly { values: unknown }[] } | null,
  row = 0,
): unknown {
  if (value === null || value === undefined) return null;
  const element = /^(.*)\[\]$/.exec(type)?.[1];
  if (element !== undefined) return [...(value as Iterable<unknown>)].map((item) => plain(item, element));
  if (type.startsWith("struct") || type.startsWith("map")) {
    const entries = Object.entries((value as { toJSON(): Record<string, unknown> }).toJSON());
    return Object.fromEntries(entries.map(([key, item]) => [key, plain(item, nestedType(item))]));
  }
  const decimal = /^decimal\(\d+,(\d+)\)$/.exec(type);
  if (decimal) return decimalText(value as Uint32Array, Number(decimal[1]));
  switch (type) {
    case "timestamp":
      return microsText((vector as { data: readonly { values: BigInt64Array }[] }).data[0]?.values[row] as bigint);
    case "date":
      return new Date(Number(value)).toISOString().slice(0, 10);
    case "blob":
      return Buffer.from(value as Uint8Array).toString("base64");
    case "float":
      return Number((value as number).toPrecision(9)) === value ? value : shortest(value as number);
    case "double":
      return Number.isFinite(value) ? value : String(value);
    default:
      if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
      return value;
  }
}

function nestedType(item: unknown): string {
  if (item !== null && typeof item === "object")
    return Symbol.iterator in item && !("toJSON" in item && !("length" in item)) && "length" in item
      ? "bigint[]"
      : "struct";
  return "bigint";
}

function shortest(float: number): number {
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(float.toPrecision(digits));
    if (Math.fround(short) === float) return short;
  }
  return float;
}

function decimalText(words: Uint32Array, scale: number): string | number {
  let value = 0n;
  for (const word of [...words].reverse()) value = (value << 32n) | BigInt(word);
  value = BigInt.asIntN(128, value);
  // Whole numbers of a sum come as numbers where they fit.
  if (scale === 0) return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  const digits = String(value < 0n ? -value : value).padStart(scale + 1, "0");
  return `${value < 0n ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

function microsText(micros: bigint): string {
  const rest = ((micros % 1000n) + 1000n) % 1000n;
  const iso = new Date(Number((micros - rest) / 1000n)).toISOString();
  return rest === 0n ? iso : `${iso.slice(0, -1)}${String(rest).padStart(3, "0")}Z`;
}
