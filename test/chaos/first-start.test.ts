import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { endPostgres, freePort, Life } from "../../chaos/child.ts";

test("a first start that is killed while it makes its database is followed by one that works", async () => {
  const dir = mkdtempSync(join(tmpdir(), "millrace-first-"));
  const dataDir = join(dir, "data");
  mkdirSync(dataDir);
  const options = { dataDir, port: await freePort(), logFile: join(dir, "platform.log") };
  const begun = () => {
    const folder = join(dataDir, "postgres");
    return existsSync(folder) && readdirSync(folder).some((name) => name.startsWith("cluster.new"));
  };
  try {
    const leftBehind = new Set<string>();
    for (const waitMs of [0, 60, 200]) {
      const killed = new Life(options, {});
      while (!begun() && !killed.over) await sleep(2);
      await sleep(waitMs);
      await killed.kill();
      for (const name of readdirSync(join(dataDir, "postgres"))) {
        if (name.startsWith("cluster.new")) leftBehind.add(name);
      }
    }
    const life = new Life(options, {});
    // An initdb that outlived its platform and fails empties the folder it was given, at any moment.
    while (!life.ready && !life.over) {
      for (const name of leftBehind) rmSync(join(dataDir, "postgres", name), { recursive: true, force: true });
      await sleep(20);
    }
    assert.ok(await life.untilReady(60_000), `see ${options.logFile}`);
    assert.equal(await life.stop(), 0);
  } finally {
    endPostgres(dataDir);
  }
  rmSync(dir, { recursive: true });
});
