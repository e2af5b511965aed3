import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Migration } from "../../src/state/migrations/migration.ts";
import { openState, type State } from "../../src/state/state.ts";
import { dumpState, loadState, readStateHeader, type StateHeader } from "../../src/state/state-copy.ts";

const MIGRATIONS: Migration[] = [
  {
    version: 1,
    name: "of every kind",
    sql: `
      create table millrace.b_parents (id bigint generated always as identity primary key, name text not null);
      create table millrace.a_children (
        parent bigint not null references millrace.b_parents, at timestamptz, amount numeric, big bigint, real float8,
        hash bytea, words text[], doc jsonb, plain json, took interval, day date,
        doubled bigint generated always as (big * 2) stored)`,
  },
];

let dir: string;
let from: State;
let to: State;

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "millrace-state-copy-"));
  [from, to] = (await Promise.all(
    ["from", "to"].map((name) => openState({ folder: join(dir, name), migrations: MIGRATIONS })),
  )) as [State, State];
});
after(async () => {
  await Promise.all([from?.close(), to?.close()]);
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
});

async function dumped(state: State): Promise<{ header: StateHeader; lines: string[] }> {
  let text = "";
  await dumpState(state, async (lines) => {
    text += lines;
  });
  const [first = "", ...lines] = text.split("\n");
  return { header: readStateHeader(first)!, lines };
}

async function* each(lines: readonly string[]): AsyncGenerator<string> {
  yield* lines;
}

test("records of every type come back as they were, parents before children, and counting goes on", async () => {
  await from.query(
    "insert into millrace.b_parents (name) select 'p' || n || E' \\u2028 \\n \"' from generate_series(1, 2500) n",
  );
  await from.query(
    `insert into millrace.a_children values (7, '2026-01-02 03:04:05.678901+02', 123456789012345678901234567890.123, 9007199254740993 / 3 * 3,
       0.1, '\\x00ff10', array['a', null, 'ü'], '{"a": [1, null, 1e400]}', '{"b":  1}', '1 day 02:00', '2026-02-03'),
       (8, 'infinity', 'NaN', null, '-Infinity', '', '{}', '[]', 'null', null, '-infinity')`,
  );
  const { header, lines } = await dumped(from);
  assert.deepEqual([header.version, header.tables.map(({ name }) => name)], [1, ["b_parents", "a_children"]]);
  assert.equal(await loadState(to, header, each(lines)), 2_502);
  for (const table of ["b_parents", "a_children"]) {
    const sql = `select r::text as row from millrace.${table} r order by 1`;
    assert.deepEqual(await to.query(sql), await from.query(sql));
  }
  const [row] = await to.query<{ id: string }>("insert into millrace.b_parents (name) values ('next') returning id");
  assert.equal(row?.id, "2501");

  await assert.rejects(
    loadState(to, header, each(lines)),
    (error: { code?: string }) => error.code === "STATE_NOT_EMPTY",
  );
});

test("a copy that was cut short is refused and leaves nothing", async () => {
  await to.query("truncate millrace.b_parents, millrace.a_children");
  const { header, lines } = await dumped(from);
  for (const cut of [lines.slice(0, 100), [...lines.slice(0, 100), ...lines.slice(101)], ["{garbled", ...lines]]) {
    await assert.rejects(
      loadState(to, header, each(cut)),
      (error: { code?: string }) => error.code === "STATE_COPY_CUT",
    );
    assert.deepEqual(await to.query("select count(*)::int as n from millrace.b_parents"), [{ n: 0 }]);
  }
});
