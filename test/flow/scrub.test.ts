import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { MillraceError } from "../../src/errors.ts";
import type { LakeTable, LakeTables } from "../../src/flow/lake-tables.ts";
import { Scrub } from "../../src/flow/scrub.ts";
import type { DataFile } from "../../src/lake/delta-table.ts";

/** One table of one file whose checksum is what the test says, or fails. */
function scrubOf(look: () => string) {
  const file = { path: "part-1.parquet", sizeBytes: 1, checksum: "00000001" };
  const table = { name: "silver.t", snapshot: { files: [file] } } as unknown as LakeTable;
  const marks: (string | undefined)[] = [];
  const damaged: string[] = [];
  const lake = {
    names: () => ["silver.t"],
    get: () => table,
    checksum: async () => look(),
    mark(_table: LakeTable, _file: unknown, reason: string | undefined) {
      const news = marks.at(-1) !== reason;
      marks.push(reason);
      return news;
    },
  } as unknown as LakeTables;
  return { scrub: scrubOver(lake, ({ name }) => void damaged.push(name)), marks, damaged };
}

const scrubOver = (lake: LakeTables, damaged: (table: LakeTable) => void) =>
  new Scrub({ lake, damaged, mended: () => undefined, logger: pino({ level: "silent" }), leads: () => true });

test("one file that cannot be looked at, or told of, keeps the scrub from none of the others", async () => {
  const files = ["a", "b", "c"].map((path) => ({ path, sizeBytes: 1, checksum: "00000001" }));
  const tables = ["silver.s", "silver.t"].map((name) => ({ name, snapshot: { files } }) as unknown as LakeTable);
  const marks: string[] = [];
  const lake = {
    names: () => tables.map(({ name }) => name),
    get: (name: string) => tables.find((table) => table.name === name),
    checksum: async (_table: LakeTable, { path }: DataFile) => {
      if (path === "a") throw new RangeError("something nobody foresaw");
      return path === "b" ? "00000002" : "00000001";
    },
    mark(table: LakeTable, { path }: DataFile, reason: string | undefined) {
      marks.push(`${table.name} ${path} ${reason === undefined ? "is well" : "is not"}`);
      return reason !== undefined;
    },
  } as unknown as LakeTables;
  const told: string[] = [];
  const scrub = scrubOver(lake, ({ name }) => {
    told.push(name);
    thrown("LAKE_UNAVAILABLE");
  });
  await scrub.round();
  const each = (name: string) => [`${name} b is not`, `${name} c is well`];
  assert.deepEqual([marks, told], [["silver.s", "silver.t"].flatMap(each), ["silver.s", "silver.t"]]);
});

test("a store that is away says nothing about its files", async () => {
  let away = true;
  const { scrub, marks, damaged } = scrubOf(() => {
    if (away)
      throw new MillraceError("STORE_UNAVAILABLE", { place: "s3://b", operation: "read", key: "k", reason: "503" });
    return "00000001";
  });
  await scrub.round();
  assert.deepEqual([marks, damaged], [[], []]);
  away = false;
  await scrub.round();
  assert.deepEqual([marks, damaged], [[undefined], []]);
});

test("a process that lacks descriptors, memory or time for a moment says nothing about its files; a disk that cannot read one does", async () => {
  const failing = (code: string) => () => {
    const cause = Object.assign(new Error(`${code}: read`), { code });
    throw new MillraceError("LAKE_UNAVAILABLE", { operation: "read", key: "k", reason: cause.message }, { cause });
  };
  for (const code of ["EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "EBUSY", "EINTR", "ETIMEDOUT", "ESTALE", "ENOSPC"]) {
    const { scrub, marks, damaged } = scrubOf(failing(code));
    await scrub.round();
    assert.deepEqual([marks, damaged], [[], []], code);
  }
  const { scrub, marks, damaged } = scrubOf(failing("EIO"));
  await scrub.round();
  assert.match(marks[0] ?? "", /cannot be read: .*EIO/);
  assert.deepEqual(damaged, ["silver.t"]);
});

test("a table is told of in each round in which it has damaged files, once, since what was to be done about them may have failed", async () => {
  const files = ["a", "b"].map((path) => ({ path, sizeBytes: 1, checksum: "00000001" }));
  const table = { name: "silver.t", snapshot: { files } } as unknown as LakeTable;
  const marked = new Set<string>();
  let now = "00000002";
  const lake = {
    ...{ names: () => [table.name], get: () => table, checksum: async () => now },
    mark(_table: LakeTable, { path }: DataFile, reason: string | undefined) {
      const known = marked.has(path);
      if (reason === undefined) marked.delete(path);
      else marked.add(path);
      return known !== marked.has(path);
    },
  } as unknown as LakeTables;
  let told = 0;
  const scrub = scrubOver(lake, () => void told++);
  await scrub.round();
  assert.equal(told, 1);
  await scrub.round();
  assert.equal(told, 2);
  now = "00000001";
  await scrub.round();
  assert.equal(told, 2);
});

test("a file that is gone, cannot be read or is another one is damaged, until it is right again", async () => {
  const cases: [() => string, RegExp][] = [
    [() => "00000002", /does not match its checksum \(00000002 instead of 00000001\)/],
    [() => thrown("OBJECT_NOT_FOUND"), /is gone/],
    [() => thrown("LAKE_UNAVAILABLE"), /cannot be read/],
  ];
  for (const [look, reason] of cases) {
    let now = look;
    const { scrub, marks, damaged } = scrubOf(() => now());
    await scrub.round();
    assert.match(marks[0] ?? "", reason);
    assert.deepEqual(damaged, ["silver.t"]);
    now = () => "00000001";
    await scrub.round();
    assert.equal(marks[1], undefined);
    assert.equal(damaged.length, 1);
  }
});

function thrown(code: "OBJECT_NOT_FOUND" | "LAKE_UNAVAILABLE"): never {
  throw new MillraceError(code, { key: "k", operation: "read", reason: "EIO" });
}
