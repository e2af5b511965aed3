import assert from "node:assert/strict";
import { renameSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type TestContext, test } from "node:test";
import type { Column } from "../../src/define/project.ts";
import { openDuckdbEngine } from "../../src/engine/duckdb-engine.ts";
import type { InputFiles, Relation } from "../../src/engine/sql-engine.ts";
import { MillraceError } from "../../src/errors.ts";

const column: Column = { name: "id", type: { kind: "long" }, nullable: true };
const isCode = (code: string) => (error: unknown) => error instanceof MillraceError && error.code === code;

/** Files that lie elsewhere and are in their places only while they are held. */
class Elsewhere implements InputFiles {
  readonly root: string;
  readonly held = new Map<string, number>();
  /** Names of the files, each time some are asked for. */
  readonly asked: string[][] = [];
  /** Waited for before anything is in its place. */
  arrival: Promise<void> = Promise.resolve();
  readonly #away: string;

  constructor(dir: string) {
    this.root = join(dir, "here's [1] lake");
    this.#away = join(dir, "away");
  }

  away(name: string): string {
    return join(this.#away, name);
  }

  async hold(paths: readonly string[], signal?: AbortSignal): Promise<() => void> {
    const names = paths.map((path) => basename(path)).sort();
    this.asked.push(names);
    await Promise.race([this.arrival, new Promise((_, reject) => signal?.addEventListener("abort", reject))]);
    for (const name of names) {
      if (name.startsWith("gone")) throw new MillraceError("ENGINE_IO", { reason: `"${name}" is gone` });
      const count = this.held.get(name) ?? 0;
      if (count === 0) await rename(this.away(name), join(this.root, name));
      this.held.set(name, count + 1);
    }
    return () => {
      for (const name of names) {
        const count = (this.held.get(name) ?? 0) - 1;
        if (count === 0) renameSync(join(this.root, name), this.away(name));
        this.held.set(name, count);
      }
    };
  }
}

async function open(t: TestContext) {
  const dir = await mkdtemp(join(tmpdir(), "inputs-"));
  const inputs = new Elsewhere(dir);
  await mkdir(inputs.root);
  await mkdir(inputs.away(""));
  const engine = await openDuckdbEngine({
    ...{ memoryBytes: 256 * 2 ** 20, threads: 2, tempDir: join(dir, "tmp"), allowedDirs: [dir], inputs },
  });
  t.after(async () => {
    await engine.close();
    await rm(dir, { recursive: true, force: true });
  });
  for (const [i, name] of ["a.parquet", "b's.parquet", "c*.parquet"].entries()) {
    await engine.local.run(`COPY (SELECT unnest(range(${i * 10_000}, ${(i + 1) * 10_000}))::BIGINT AS id) TO
      '${inputs.away(name).replaceAll("'", "''")}'`);
  }
  const files = (...names: string[]): Relation => ({
    kind: "files",
    columns: [column],
    files: names.map((name) => ({ path: join(inputs.root, name), partition: {} })),
  });
  return { engine, inputs, files };
}

test("a query holds the files it reads until its last row was given, and no others", async (t) => {
  const { engine, inputs, files } = await open(t);
  const all = files("a.parquet", "b's.parquet");
  const view: Relation = {
    kind: "view",
    statement: { sql: "select id + 0 as id from all_ids", inputs: new Map([["all_ids", all]]) },
  };
  const { batches } = await engine.query({
    sql: "select id from v order by id",
    inputs: new Map([
      ["v", view],
      ["unused", files("c*.parquet")],
    ]),
  });
  let rows = 0;
  for await (const batch of batches) {
    rows += batch.length;
    assert.deepEqual(
      [...inputs.held],
      [
        ["a.parquet", 1],
        ["b's.parquet", 1],
      ],
    );
  }
  assert.equal(rows, 20_000);
  assert.deepEqual([...inputs.held.values()], [0, 0]);
});

test("a query that is ended early or fails lets go of its files", async (t) => {
  const { engine, inputs, files } = await open(t);
  const input = new Map([["ids", files("c*.parquet")]]);
  const { batches } = await engine.query({ sql: "select id from ids", inputs: input });
  for await (const _ of batches) break;
  assert.equal(inputs.held.get("c*.parquet"), 0);
  await assert.rejects(
    engine.query({ sql: "select error('no') from ids", inputs: input }).then(async ({ batches }) => {
      for await (const _ of batches);
    }),
    isCode("SQL_FAILED"),
  );
  assert.equal(inputs.held.get("c*.parquet"), 0);
});

test("a compiled text holds its files whenever it runs, wherever it was put", async (t) => {
  const { engine, inputs, files } = await open(t);
  const { local } = engine;
  const text = await local.compile({ sql: "select * from ids", inputs: new Map([["ids", files("b's.parquet")]]) });
  assert.deepEqual(inputs.asked, []);
  await local.run(`create table kept as select id from (${text})`);
  assert.deepEqual(await local.rows(`select count(*)::double as n from (${text}) where id > 15000`), [{ n: 4999 }]);
  assert.deepEqual(await local.attempts(`select * from (${text}) where id = $1`, [1, 2, 3]), [
    undefined,
    undefined,
    undefined,
  ]);
  assert.equal(inputs.asked.length, 3);
  assert.equal(inputs.held.get("b's.parquet"), 0);
  await local.run("drop table kept");
  assert.equal(inputs.asked.length, 3);
});

test("a file that is named by another way to it is the same file", async (t) => {
  const { engine, inputs } = await open(t);
  const path = `${inputs.root}/././a.parquet`;
  const ids: Relation = { kind: "files", columns: [column], files: [{ path, partition: {} }] };
  const sql = await engine.local.compile({
    sql: "select count(*)::double as n from ids",
    inputs: new Map([["ids", ids]]),
  });
  assert.deepEqual(await engine.local.rows(sql), [{ n: 10_000 }]);
  assert.deepEqual(inputs.asked, [["a.parquet"]]);
});

test("waiting for files is part of a query's time, and can be given up", async (t) => {
  const { engine, inputs, files } = await open(t);
  inputs.arrival = new Promise(() => undefined);
  const statement = { sql: "select * from ids", inputs: new Map([["ids", files("a.parquet")]]) };
  await assert.rejects(engine.query(statement, { timeoutMs: 20 }), isCode("QUERY_TIMEOUT"));
  const ends = new AbortController();
  const asked = engine.query(statement, { signal: ends.signal });
  setImmediate(() => ends.abort());
  await assert.rejects(asked, isCode("QUERY_CANCELLED"));
  inputs.arrival = Promise.resolve();
  await assert.rejects(
    engine.query({ ...statement, inputs: new Map([["ids", files("gone.parquet")]]) }),
    isCode("ENGINE_IO"),
  );
  assert.equal(
    (await engine.write(statement, { path: async () => join(inputs.away(""), "written.parquet") })).length,
    1,
  );
  assert.equal(inputs.held.get("a.parquet"), 0);
});
