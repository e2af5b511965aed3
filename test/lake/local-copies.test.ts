import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, unlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { MillraceError } from "../../src/errors.ts";
import { LocalCopies } from "../../src/lake/s3/local-copies.ts";
import { lakeFolder } from "./lake-folder.ts";

/** Copies of objects of ten bytes each, and what was fetched. */
async function open(t: TestContext, maxBytes: number, given?: string) {
  const dir = given ?? (await lakeFolder(t));
  const fetched: string[] = [];
  const source = { before: async (_key: string) => undefined as unknown };
  const copies = await LocalCopies.open({
    dir,
    maxBytes,
    async fetch(key, path) {
      fetched.push(key);
      await source.before(key);
      await writeFile(path, key.padEnd(10));
      return 10;
    },
  });
  return { dir, copies, fetched, source };
}

const onDisk = async (dir: string) => {
  const found = await readdir(join(dir, "objects"), { recursive: true, withFileTypes: true });
  return found
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name)
    .sort();
};
const settled = () => new Promise((resolve) => setTimeout(resolve, 50));

test("what many ask for at once is fetched once, and not again while it is there", async (t) => {
  const { copies, fetched } = await open(t, 100);
  const releases = await Promise.all([copies.hold(["t/a", "t/b"]), copies.hold(["t/b"]), copies.hold(["t/b", "t/b"])]);
  assert.deepEqual(fetched.toSorted(), ["t/a", "t/b"]);
  assert.equal(await readFile(copies.path("t/b"), "utf8"), "t/b       ");
  for (const release of releases) release();
  (await copies.hold(["t/a"]))();
  assert.equal(fetched.length, 2);
});

test("what was used longest ago goes first, and nothing that is held", async (t) => {
  const { dir, copies, fetched } = await open(t, 30);
  const held = await copies.hold(["a"]);
  for (const key of ["b", "c", "d", "e"]) (await copies.hold([key]))();
  await settled();
  assert.deepEqual(await onDisk(dir), ["a", "d", "e"]);
  held();
  (await copies.hold(["f"]))();
  await settled();
  assert.deepEqual(await onDisk(dir), ["d", "e", "f"]);
  assert.deepEqual(fetched, ["a", "b", "c", "d", "e", "f"]);
});

test("what is used again stays when everything else is read once, and goes when others are used more", async (t) => {
  const { dir, copies, fetched } = await open(t, 50);
  for (let i = 0; i < 3; i++) (await copies.hold(["hot 1", "hot 2"]))();
  for (let i = 0; i < 30; i++) (await copies.hold([`cold ${i}`]))();
  await settled();
  assert.deepEqual(await onDisk(dir), ["cold 27", "cold 28", "cold 29", "hot 1", "hot 2"]);
  for (let i = 40; i < 46; i++) for (let use = 0; use < 2; use++) (await copies.hold([`new ${i}`]))();
  await settled();
  assert.deepEqual(await onDisk(dir), ["new 41", "new 42", "new 43", "new 44", "new 45"]);
  assert.equal(fetched.filter((key) => key.startsWith("hot")).length, 2);
  assert.equal(copies.bytes, 50);
});

test("a reader that needs more than there is room for gets it, and it goes again behind it", async (t) => {
  const { dir, copies } = await open(t, 25);
  const keys = ["a", "b", "c", "d"];
  const release = await copies.hold(keys);
  assert.equal(copies.bytes, 40);
  for (const key of keys) assert.equal((await readFile(copies.path(key))).length, 10);
  release();
  release();
  await settled();
  assert.equal((await onDisk(dir)).length, 2);
  assert.equal(copies.bytes, 20);
});

test("without any room a copy is there while it is held, and fetched for each reader that comes later", async (t) => {
  const { dir, copies, fetched } = await open(t, 0);
  for (let i = 0; i < 3; i++) {
    const release = await copies.hold(["a"]);
    assert.equal((await readFile(copies.path("a"))).length, 10);
    release();
  }
  assert.equal(fetched.length, 3);
  await settled();
  assert.deepEqual(await onDisk(dir), []);
});

test("a fetch that fails is told to all who wait for it, is not remembered, and leaves nothing", async (t) => {
  const { dir, copies, fetched, source } = await open(t, 100);
  source.before = async () => {
    throw new MillraceError("OBJECT_NOT_FOUND", { key: "a" });
  };
  const waiting = [copies.hold(["a"]), copies.hold(["b", "a"])];
  for (const hold of waiting) await assert.rejects(hold, { code: "OBJECT_NOT_FOUND" });
  source.before = async () => undefined;
  (await copies.hold(["a"]))();
  assert.equal(fetched.filter((key) => key === "a").length, 2);
  assert.deepEqual(await readdir(join(dir, "tmp")), []);
});

test("a full disk gets its room from copies that nobody reads; when there are none, that is said", async (t) => {
  const { copies, source } = await open(t, 100);
  (await copies.hold(["old"]))();
  const full = () => Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
  source.before = async () => {
    if (existsSync(copies.path("old"))) throw full();
  };
  (await copies.hold(["new"]))();
  assert.ok(!copies.has("old"));
  source.before = async () => {
    throw full();
  };
  await assert.rejects(copies.hold(["newer"]), { code: "LAKE_UNAVAILABLE", message: /local copy.*ENOSPC/ });
});

test("who gives up waiting is told at once, and the copy is there for the next", async (t) => {
  const { copies, fetched, source } = await open(t, 100);
  const arrival = Promise.withResolvers<void>();
  source.before = () => arrival.promise;
  const ends = new AbortController();
  const given = copies.hold(["a"], ends.signal);
  const patient = copies.hold(["a"]);
  const reason = new Error("enough");
  ends.abort(reason);
  await assert.rejects(given, reason);
  arrival.resolve();
  (await patient)();
  assert.deepEqual(fetched, ["a"]);
});

test("the copy of a removed object goes at once, or behind its last reader", async (t) => {
  const { dir, copies, fetched } = await open(t, 100);
  const release = await copies.hold(["a", "b"]);
  await copies.drop("a");
  assert.deepEqual(await onDisk(dir), ["a", "b"]);
  release();
  await settled();
  assert.deepEqual(await onDisk(dir), ["b"]);
  await copies.drop("b");
  assert.deepEqual(await onDisk(dir), []);
  (await copies.hold(["b"]))();
  assert.deepEqual(fetched, ["a", "b", "b"]);
});

test("a staged file becomes the object's copy, counted like any other", async (t) => {
  const { dir, copies, fetched } = await open(t, 25);
  for (const key of ["t/x", "t/y"]) {
    await mkdir(join(dir, "staged", "t"), { recursive: true });
    await writeFile(copies.stagedPath(key), "0123456789");
    await copies.adopt(key, 10);
  }
  (await copies.hold(["t/x", "t/y"]))();
  assert.deepEqual(fetched, []);
  (await copies.hold(["t/z"]))();
  await settled();
  assert.deepEqual(await onDisk(dir), ["y", "z"]);
});

test("a new life takes the copies over in the order of their age, within its bound, and removes what was on its way", async (t) => {
  const first = await open(t, 100);
  (await first.copies.hold(["a", "t/b", "c"]))();
  for (const [i, key] of ["c", "a", "t/b"].entries()) await utimes(first.copies.path(key), 1_000 + i, 1_000 + i);
  await writeFile(join(first.dir, "tmp", "half"), "half");
  const second = await open(t, 20, first.dir);
  await settled();
  assert.deepEqual(await onDisk(first.dir), ["a", "b"]);
  assert.deepEqual(await readdir(join(first.dir, "tmp")), []);
  (await second.copies.hold(["a", "t/b"]))();
  assert.deepEqual(second.fetched, []);
});

test("a copy that is replaced is the new one, and one that somebody removed differs from every object", async (t) => {
  const { copies, fetched } = await open(t, 100);
  (await copies.hold(["a"]))();
  await writeFile(copies.path("a"), "damaged");
  const damaged = await copies.checksum("a");
  await copies.replace("a");
  assert.equal(await readFile(copies.path("a"), "utf8"), "a         ");
  assert.notEqual(await copies.checksum("a"), damaged);
  await unlink(copies.path("a"));
  assert.equal(await copies.checksum("a"), -1);
  await copies.replace("a");
  assert.equal(await readFile(copies.path("a"), "utf8"), "a         ");
  assert.equal(await copies.checksum("never"), undefined);
  assert.equal(fetched.length, 3);
});
