import assert from "node:assert/strict";
import { mkdir, readdir, readFile, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { MillraceError } from "../../src/errors.ts";
import { type FileSystem, nodeFileSystem } from "../../src/lake/file-system.ts";
import { openFsStore } from "../../src/lake/fs-store.ts";
import { lakeFolder } from "./lake-folder.ts";
import { objectStoreContract } from "./object-store-contract.ts";

objectStoreContract("local file system", async (t) => openFsStore(await lakeFolder(t)));

const bytes = new TextEncoder().encode("a whole object");
const isUnavailable = (error: unknown) =>
  error instanceof MillraceError && error.code === "LAKE_UNAVAILABLE" && error.retryable;

type Step = keyof FileSystem;
const STEPS_OF_A_WRITE: readonly Step[] = ["makeDirectory", "writeNew", "rename", "link", "unlink", "syncDirectory"];

test("a write that fails at any of its steps rejects, leaves the key whole or absent, and can be tried again", async (t) => {
  for (const operation of ["put", "putIfAbsent"] as const) {
    for (const step of STEPS_OF_A_WRITE) {
      const folder = await lakeFolder(t);
      const disk = failing();
      const store = await openFsStore(folder, { fs: disk.fs });
      disk.failNext(step);
      const outcome = await store[operation]("log/1", bytes).then(
        () => "done",
        (error: unknown) => (isUnavailable(error) ? "refused" : Promise.reject(error)),
      );
      assert.equal(outcome, disk.failed() ? "refused" : "done", `${operation} with a failing ${step}`);
      const found = (await store.list("")).map((o) => o.key);
      if (found.length > 0) assert.deepEqual(await store.get("log/1"), Buffer.from(bytes));

      const again = await store[operation]("log/1", bytes);
      if (operation === "putIfAbsent") assert.equal(again, found.length === 0, `after a failing ${step}`);
      assert.deepEqual(await store.get("log/1"), Buffer.from(bytes));
    }
  }
});

test("a process that dies while writing leaves no object, and its temporary file goes when it is old", async (t) => {
  const folder = await lakeFolder(t);
  await openFsStore(folder);
  const torn = join(folder, ".tmp", "torn");
  const fresh = join(folder, ".tmp", "fresh");
  await writeFile(torn, "half an obj");
  await writeFile(fresh, "being written by another process");
  const hoursAgo = Date.now() / 1000 - 2 * 3600;
  await utimes(torn, hoursAgo, hoursAgo);
  const store = await openFsStore(folder);
  assert.deepEqual(await store.list(""), []);
  assert.deepEqual(await readdir(join(folder, ".tmp")), ["fresh"]);
});

test("a full disk gets the space of the failed write back", async (t) => {
  const folder = await lakeFolder(t);
  const full: FileSystem = {
    ...nodeFileSystem,
    async writeNew(path, whole) {
      await nodeFileSystem.writeNew(path, whole.subarray(0, 3));
      throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
    },
  };
  const store = await openFsStore(folder, { fs: full });
  await assert.rejects(
    store.put("a/b", bytes),
    (error) => isUnavailable(error) && /ENOSPC/.test((error as Error).message),
  );
  assert.deepEqual(await readdir(join(folder, ".tmp")), []);
  assert.deepEqual(await store.list(""), []);
});

test("an object is synced before it gets its name, and the name before the call resolves", async (t) => {
  const folder = await lakeFolder(t);
  const steps: string[] = [];
  const fs = observed((step, path) => steps.push(`${step} ${path.replace(folder, "").replace(/\.tmp\/.+/, ".tmp/*")}`));
  const store = await openFsStore(folder, { fs });
  steps.length = 0;
  await store.putIfAbsent("t/_delta_log/0.json", bytes);
  assert.deepEqual(steps, [
    "makeDirectory /t/_delta_log",
    "syncDirectory /t",
    "syncDirectory ",
    "writeNew /.tmp/*",
    "link /.tmp/*",
    "unlink /.tmp/*",
    "syncDirectory /t/_delta_log",
  ]);
  steps.length = 0;
  await store.putIfAbsent("t/_delta_log/1.json", bytes);
  assert.deepEqual(steps.slice(0, 2), ["makeDirectory /t/_delta_log", "writeNew /.tmp/*"]);
});

test("listing the log after a version looks at the newer files only", async (t) => {
  const folder = await lakeFolder(t);
  await mkdir(join(folder, "t/_delta_log"), { recursive: true });
  await mkdir(join(folder, "t/day=1"), { recursive: true });
  await mkdir(join(folder, "other"), { recursive: true });
  for (let i = 0; i < 200; i++) await writeFile(join(folder, `t/_delta_log/${String(i).padStart(5, "0")}.json`), "");
  await writeFile(join(folder, "t/day=1/part"), "");
  const looks: string[] = [];
  const fs = observed((step, path) => {
    if (step === "stat" || step === "readDirectory") looks.push(`${step} ${path.slice(folder.length)}`);
  });
  const store = await openFsStore(folder, { fs });
  looks.length = 0;
  const found = await store.list("t/_delta_log/", { after: "t/_delta_log/00197" });
  assert.equal(found.length, 3);
  assert.deepEqual(looks.sort(), [
    "readDirectory /t/_delta_log/",
    "stat /t/_delta_log/00197.json",
    "stat /t/_delta_log/00198.json",
    "stat /t/_delta_log/00199.json",
  ]);
});

test("publishing a file that the engine never wrote is refused", async (t) => {
  const store = await openFsStore(await lakeFolder(t));
  await store.stage("t/part-1.parquet");
  await assert.rejects(store.publish("t/part-1.parquet"), isUnavailable);
});

test("what is put is a plain file of that name, for every other program to read", async (t) => {
  const folder = await lakeFolder(t);
  const store = await openFsStore(folder);
  await store.put("gold/sales/x=1/a b.parquet", bytes);
  assert.equal(await readFile(join(folder, "gold/sales/x=1/a b.parquet"), "utf8"), "a whole object");
});

/** A disk on which one step can be made to fail, as if the machine had refused it. */
function failing(): { fs: FileSystem; failNext(step: Step): void; failed(): boolean } {
  let armed: Step | undefined;
  let failed = false;
  const fs = observed((step) => {
    if (step !== armed) return;
    armed = undefined;
    failed = true;
    throw Object.assign(new Error(`EIO: i/o error, ${step}`), { code: "EIO" });
  });
  return {
    fs,
    failNext(step) {
      armed = step;
    },
    failed: () => failed,
  };
}

function observed(before: (step: Step, path: string) => void): FileSystem {
  const entries = Object.entries(nodeFileSystem).map(([step, run]) => [
    step,
    async (...args: unknown[]) => {
      before(step as Step, String(args[0]));
      return (run as (...args: unknown[]) => Promise<unknown>)(...args);
    },
  ]);
  return Object.fromEntries(entries) as FileSystem;
}
