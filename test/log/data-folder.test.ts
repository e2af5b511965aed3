import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { openDataFolder } from "../../src/log/data-folder.ts";
import { scratchFolder } from "./scratch-folder.ts";

describe("data folder", () => {
  it("is created for this user only, says its format, and can be opened again", async (test) => {
    const dir = join(await scratchFolder(test), "deep", "data");
    const folder = await openDataFolder(dir);
    assert.equal(folder.dir, dir);
    assert.equal((await stat(dir)).mode & 0o777, 0o700);
    assert.deepEqual(JSON.parse(await readFile(join(dir, "format.json"), "utf8")), { version: 1 });
    await folder.close();
    for (let round = 0; round < 3; round++) await (await openDataFolder(dir)).close();
    assert.equal((await readdir(join(dir, "lock"))).length, 1, "locks do not pile up");
  });

  it("keeps a second opener out, in this process and in another, and names the owner", async (test) => {
    const dir = await scratchFolder(test);
    const folder = await openDataFolder(dir);
    const inUse = { code: "DATA_FOLDER_IN_USE", details: { pid: process.pid } };
    await assert.rejects(openDataFolder(dir), inUse);
    const { answer } = await openElsewhere(test, dir);
    assert.equal(JSON.parse(answer).code, "DATA_FOLDER_IN_USE");
    assert.match(JSON.parse(answer).message, new RegExp(`process ${process.pid} `));
    await folder.close();
    await (await openDataFolder(dir)).close();
  });

  it("is free at once after its owner was killed with -9", async (test) => {
    const dir = await scratchFolder(test);
    const { child, answer } = await openElsewhere(test, dir);
    assert.equal(answer, "open");
    await assert.rejects(openDataFolder(dir), { code: "DATA_FOLDER_IN_USE", details: { pid: child.pid } });
    const ended = once(child, "close");
    child.kill("SIGKILL");
    await ended;
    await (await openDataFolder(dir)).close();
  });

  it("is free when the owner's process number belongs to a later process", async (test) => {
    const dir = await scratchFolder(test);
    await (await openDataFolder(dir)).close();
    const [generation] = await readdir(join(dir, "lock"));
    const path = join(dir, "lock", generation!);
    const record = JSON.parse(await readFile(path, "utf8"));
    await writeFile(path, JSON.stringify({ ...record, released: false }));
    await assert.rejects(openDataFolder(dir), { code: "DATA_FOLDER_IN_USE" }, "this process itself would be the owner");
    await writeFile(path, JSON.stringify({ ...record, released: false, started: `${record.started}0` }));
    await (await openDataFolder(dir)).close();
  });

  it("gives the folder to exactly one of many that start at the same time, fresh or after a crash", async (test) => {
    const root = await scratchFolder(test);
    for (const stale of [false, true]) {
      for (let round = 0; round < 20; round++) {
        const dir = join(root, `${stale}-${round}`);
        if (stale) {
          await mkdir(join(dir, "lock"), { recursive: true });
          const record = JSON.parse(await anyLockRecord(root));
          await writeFile(join(dir, "lock", "7"), JSON.stringify({ ...record, started: "1", released: false }));
        }
        const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => openDataFolder(dir)));
        const opened = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
        assert.equal(opened.length, 1);
        for (const outcome of outcomes) {
          if (outcome.status === "rejected")
            assert.equal(outcome.reason.code, "DATA_FOLDER_IN_USE", String(outcome.reason));
        }
        await opened[0]!.close();
      }
    }
  });

  it("gives the folder to one of several processes that find their predecessor dead", async (test) => {
    const dir = await scratchFolder(test);
    const { child } = await openElsewhere(test, dir);
    const ended = once(child, "close");
    child.kill("SIGKILL");
    await ended;
    const answers = (await Promise.all([1, 2, 3].map(() => openElsewhere(test, dir)))).map(({ answer }) => answer);
    assert.equal(answers.filter((answer) => answer === "open").length, 1, answers.join("\n"));
  });

  it("believes an owner it cannot look up as long as that one touches its lock", async (test) => {
    const dir = await scratchFolder(test);
    await (await openDataFolder(dir)).close();
    const [generation] = await readdir(join(dir, "lock"));
    const path = join(dir, "lock", generation!);
    const record = JSON.parse(await readFile(path, "utf8"));
    await writeFile(path, JSON.stringify({ ...record, released: false, realm: "another machine", host: "far" }));
    const beat = setInterval(() => void utimes(path, new Date(), new Date()), 10);
    await assert.rejects(openDataFolder(dir, { heartbeatMs: 20 }), { code: "DATA_FOLDER_IN_USE" });
    clearInterval(beat);
    await (await openDataFolder(dir, { heartbeatMs: 20 })).close();
  });

  it("touches its lock while it is open", async (test) => {
    const dir = await scratchFolder(test);
    const folder = await openDataFolder(dir, { heartbeatMs: 5 });
    const path = join(dir, "lock", "1");
    const { mtimeMs } = await stat(path);
    while ((await stat(path)).mtimeMs === mtimeMs) await new Promise((resolve) => setTimeout(resolve, 5));
    await folder.close();
  });

  it("refuses a folder of a newer version, and one whose format cannot be told, and leaves both as they are", async (test) => {
    const dir = await scratchFolder(test);
    const file = join(dir, "format.json");
    for (const [text, code] of [
      ['{"version":2}', "DATA_FOLDER_NEWER"],
      ["{", "DATA_FOLDER_UNKNOWN"],
      ["null", "DATA_FOLDER_UNKNOWN"],
      ['{"version":"1"}', "DATA_FOLDER_UNKNOWN"],
    ] as const) {
      await writeFile(file, text);
      await assert.rejects(openDataFolder(dir), { code });
      assert.equal(await readFile(file, "utf8"), text);
    }
    await writeFile(file, '{"version":1}');
    await (await openDataFolder(dir)).close();

    await rm(file);
    await mkdir(join(dir, "log"));
    await assert.rejects(openDataFolder(dir), { code: "DATA_FOLDER_UNKNOWN" });
  });

  it("refuses a folder that cannot be written, and a file in its place", async (test) => {
    const root = await scratchFolder(test);
    await writeFile(join(root, "file"), "");
    await assert.rejects(openDataFolder(join(root, "file")), { code: "DATA_FOLDER_READ_ONLY" });
    await assert.rejects(openDataFolder(join(root, "file", "below")), { code: "DATA_FOLDER_READ_ONLY" });
    const dir = join(root, "locked");
    await mkdir(dir);
    await chmod(root, 0o755);
    await chmod(dir, 0o555);
    // Root may write anywhere, so root asks as nobody.
    const { answer } = await openElsewhere(test, dir, process.getuid?.() === 0 ? "65534" : undefined);
    assert.equal(JSON.parse(answer).code, "DATA_FOLDER_READ_ONLY");
    assert.deepEqual(await readdir(dir), []);
  });

  it("refuses a place where the file system makes no folders, at once", {
    skip: process.platform !== "linux",
  }, async () => {
    await assert.rejects(openDataFolder("/proc/millrace/data"), { code: "DATA_FOLDER_READ_ONLY" });
  });
});

async function openElsewhere(
  test: TestContext,
  dir: string,
  user?: string,
): Promise<{ child: ChildProcess; answer: string }> {
  const script = new URL("opening-process.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [script, dir, ...(user === undefined ? [] : [user])], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  test.after(() => child.kill("SIGKILL"));
  const [answer] = await once(child.stdout!, "data");
  return { child, answer: String(answer).trim() };
}

async function anyLockRecord(root: string): Promise<string> {
  const lock = join(root, "false-0", "lock");
  const [generation] = await readdir(lock);
  return readFile(join(lock, generation!), "utf8");
}
