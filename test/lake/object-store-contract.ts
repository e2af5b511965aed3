import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { crc32 } from "node:zlib";
import { MillraceError } from "../../src/errors.ts";
import type { ObjectStore } from "../../src/lake/object-store.ts";

/** What every object store must do. `open` gives an empty one and is called once per test. */
export function objectStoreContract(name: string, open: (t: test.TestContext) => Promise<ObjectStore>): void {
  const text = (value: string) => new TextEncoder().encode(value);
  const read = async (store: ObjectStore, key: string) => new TextDecoder().decode(await store.get(key));
  const isCode = (code: string) => (error: unknown) => error instanceof MillraceError && error.code === code;

  test(`${name}: what was put is what get returns, byte for byte`, async (t) => {
    const store = await open(t);
    const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => i * 31);
    await store.put("a/b/c.bin", bytes);
    await store.put("empty", new Uint8Array());
    assert.deepEqual(Buffer.from(await store.get("a/b/c.bin")), Buffer.from(bytes));
    assert.equal((await store.get("empty")).length, 0);
  });

  test(`${name}: put replaces what was there`, async (t) => {
    const store = await open(t);
    await store.put("k", text("one"));
    await store.put("k", text("2"));
    assert.equal(await read(store, "k"), "2");
  });

  test(`${name}: getting what is not there fails with OBJECT_NOT_FOUND, also below an object`, async (t) => {
    const store = await open(t);
    await store.put("file", text("x"));
    for (const key of ["missing", "a/missing", "file/below"]) {
      await assert.rejects(store.get(key), isCode("OBJECT_NOT_FOUND"), key);
      await assert.rejects(store.hold([key]), isCode("OBJECT_NOT_FOUND"), key);
      await assert.rejects(store.checksum(key), isCode("OBJECT_NOT_FOUND"), key);
    }
  });

  test(`${name}: putIfAbsent leaves an existing object unchanged and says so`, async (t) => {
    const store = await open(t);
    assert.equal(await store.putIfAbsent("log/0", text("first")), true);
    assert.equal(await store.putIfAbsent("log/0", text("second")), false);
    assert.equal(await read(store, "log/0"), "first");
    await store.put("log/1", text("put"));
    assert.equal(await store.putIfAbsent("log/1", text("late")), false);
    assert.equal(await read(store, "log/1"), "put");
  });

  test(`${name}: of many concurrent callers of putIfAbsent exactly one wins, and its bytes are there`, async (t) => {
    const store = await open(t);
    for (let round = 0; round < 10; round++) {
      const key = `race/${round}`;
      const won = await Promise.all(Array.from({ length: 12 }, (_, i) => store.putIfAbsent(key, text(`writer ${i}`))));
      assert.equal(won.filter(Boolean).length, 1);
      assert.equal(await read(store, key), `writer ${won.indexOf(true)}`);
    }
  });

  test(`${name}: list gives what begins with the prefix, recursively, in the order of the keys, with sizes`, async (t) => {
    const store = await open(t);
    const keys = ["t/a.txt", "t/a/x", "t/a/y/z", "t/b%20c", "t/b c", "t/ü", "ta/1", "u/1"];
    for (const key of keys.toReversed()) await store.put(key, text(key));
    const list = await store.list("t/");
    assert.deepEqual(
      list.map((o) => o.key),
      keys.filter((key) => key.startsWith("t/")).sort(),
    );
    for (const o of list) {
      assert.equal(o.sizeBytes, text(o.key).length);
      assert.ok(Math.abs(o.modifiedAtMs - Date.now()) < 60_000);
    }
    assert.deepEqual(
      (await store.list("t")).map((o) => o.key),
      keys.filter((key) => key.startsWith("t")).sort(),
    );
    assert.deepEqual(
      (await store.list("t/a/")).map((o) => o.key),
      ["t/a/x", "t/a/y/z"],
    );
    assert.deepEqual(
      (await store.list("t/b")).map((o) => o.key),
      ["t/b c", "t/b%20c"],
    );
    assert.deepEqual(await store.list("nothing/here"), []);
    assert.equal((await store.list("")).length, keys.length);
  });

  test(`${name}: list after a key gives the greater ones only`, async (t) => {
    const store = await open(t);
    for (const key of ["l/01.json", "l/02.json", "l/02/x", "l/03.json", "l/10.json"]) await store.put(key, text(key));
    const after = async (key: string) => (await store.list("l/", { after: key })).map((o) => o.key);
    assert.deepEqual(await after("l/02.json"), ["l/02/x", "l/03.json", "l/10.json"]);
    assert.deepEqual(await after("l/02"), ["l/02.json", "l/02/x", "l/03.json", "l/10.json"]);
    assert.deepEqual(await after("l/02/x"), ["l/03.json", "l/10.json"]);
    assert.deepEqual(await after("l/10.json"), []);
    assert.equal((await after("a")).length, 5);
  });

  test(`${name}: delete removes, and removing what is not there is no error`, async (t) => {
    const store = await open(t);
    await store.put("x/1", text("1"));
    await store.delete("x/1");
    await store.delete("x/1");
    await store.delete("never/was");
    assert.deepEqual(await store.list(""), []);
  });

  test(`${name}: an engine writes at the staged path, publish shows it under the key`, async (t) => {
    const store = await open(t);
    const key = "table/day=2026-01-31/part-1.parquet";
    await writeFile(await store.stage(key), "columns");
    const info = await store.publish(key);
    assert.equal(info.key, key);
    assert.equal(info.sizeBytes, 7);
    assert.ok(Math.abs(info.modifiedAtMs - Date.now()) < 60_000);
    assert.equal(info.checksum, crc32("columns").toString(16).padStart(8, "0"));
    assert.equal(await store.checksum(key), info.checksum);
    assert.equal(await read(store, key), "columns");
    const release = await store.hold([key]);
    assert.equal(await readFile(store.localPath(key), "utf8"), "columns");
    release();
    assert.deepEqual(
      (await store.list("table/")).map((o) => o.key),
      [key],
    );
  });

  test(`${name}: what was put is held at its local path, by many at once, and replaced there when it has changed`, async (t) => {
    const store = await open(t);
    const keys = Array.from({ length: 20 }, (_, i) => `table/part-${i}.parquet`);
    for (const key of keys) await store.put(key, text(`rows of ${key}`));
    const releases = await Promise.all([keys, keys.toReversed(), keys.slice(3, 9), []].map((some) => store.hold(some)));
    for (const key of keys) assert.equal(await readFile(store.localPath(key), "utf8"), `rows of ${key}`);
    for (const release of releases) release();
    await store.put("table/part-0.parquet", text("mended"));
    assert.equal(await store.checksum("table/part-0.parquet"), crc32("mended").toString(16).padStart(8, "0"));
    const release = await store.hold(["table/part-0.parquet"]);
    assert.equal(await readFile(store.localPath("table/part-0.parquet"), "utf8"), "mended");
    release();
  });

  test(`${name}: a hold that is given up rejects with the reason`, async (t) => {
    const store = await open(t);
    await store.put("k", text("x"));
    const reason = new Error("no longer wanted");
    await assert.rejects(store.hold(["k"], AbortSignal.abort(reason)), reason);
  });

  test(`${name}: an object's URI ends with its key as it is`, async (t) => {
    const store = await open(t);
    assert.match(
      store.uri("silver/orders/day=2026-01-31/x=%2F/part-1.parquet"),
      /^(file:\/\/\/|s3:\/\/).*\/silver\/orders\/day=2026-01-31\/x=%2F\/part-1\.parquet$/,
    );
  });

  test(`${name}: keys with odd characters are kept apart`, async (t) => {
    const store = await open(t);
    const keys = ["a b", "a%20b", "a#b", "a?b", "ä", "*", "[x]", "x=1/y=%2F", "emoji 😀"];
    for (const key of keys) await store.put(key, text(key));
    for (const key of keys) assert.equal(await read(store, key), key);
    assert.equal((await store.list("")).length, keys.length);
  });

  test(`${name}: keys that could leave the store are refused by name`, async (t) => {
    const store = await open(t);
    for (const key of ["", "/etc/passwd", "a//b", "a/", "../x", "a/../../x", "./a", "a\0b", "a\nb", "x".repeat(800)]) {
      await assert.rejects(store.put(key, text("x")), isCode("OBJECT_KEY_INVALID"), JSON.stringify(key));
      await assert.rejects(store.get(key), isCode("OBJECT_KEY_INVALID"), JSON.stringify(key));
    }
  });
}
