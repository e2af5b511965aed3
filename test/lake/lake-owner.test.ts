import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { nodeFileSystem } from "../../src/lake/file-system.ts";
import { openFsStore } from "../../src/lake/fs-store.ts";
import { CLUSTER_FILE, claimLake } from "../../src/lake/lake-owner.ts";

describe("who writes to a lake", () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), "millrace-owner-"));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));
  const open = (name: string) => openFsStore(join(dir, name), { fs: nodeFileSystem, clock: Date.now });

  test("of many that begin at once all agree, and whoever comes with another log is refused by name", async () => {
    const store = await open("one");
    const own = { format: 1, log: "kafka:abc/shop." };
    await Promise.all(Array.from({ length: 5 }, () => claimLake(store, "s3://shop", own)));
    await assert.rejects(claimLake(store, "s3://shop", { format: 1, log: "kafka:xyz/shop." }), {
      code: "LAKE_OF_ANOTHER_LOG",
      message: /s3:\/\/shop belongs to the log kafka:abc\/shop\., and this process has the log kafka:xyz\/shop\./,
    });
    assert.equal(Buffer.from(await store.get(CLUSTER_FILE)).toString(), '{"format":1,"log":"kafka:abc/shop."}\n');
  });

  test("a lake of another format, or one whose format nobody can tell, is refused and left as it is", async () => {
    const store = await open("two");
    for (const [text, got] of [
      ['{"format":2,"log":"a"}', "2"],
      ['{"format":"', "unknown"],
      ["null", "unknown"],
    ] as const) {
      await store.put(CLUSTER_FILE, Buffer.from(text));
      await assert.rejects(claimLake(store, "s3://shop", { format: 1, log: "a" }), {
        code: "WORKER_FORMAT",
        message: new RegExp(`the lake in s3://shop has format ${got}; this release reads and writes format 1`),
      });
      assert.equal(Buffer.from(await store.get(CLUSTER_FILE)).toString(), text);
    }
  });
});
