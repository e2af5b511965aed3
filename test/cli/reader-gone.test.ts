import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { millrace } from "../platform/running-platform.ts";

const BIN = resolve(import.meta.dirname, "../../bin/millrace.js");

test("a platform whose output nobody reads any more stores what it has and stops, and its simulator with it", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "reader-gone-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const shop = join(dir, "shop");
  assert.equal((await millrace(["init", shop])).code, 0);
  const told = join(dir, "simulator.pid");
  await writeFile(
    join(shop, "simulator.ts"),
    `import { writeFileSync } from "node:fs";
     writeFileSync(${JSON.stringify(told)}, String(process.pid));
     setInterval(() => {}, 1000);`,
  );
  await writeFile(
    join(shop, "millrace.config.ts"),
    `import { defineConfig } from "millrace";
     export default defineConfig({ name: "shop", simulator: "./simulator.ts", modules: ["orders.ts"] });`,
  );
  const child = spawn(process.execPath, [BIN, "start", shop, "--port", "0", "--simulate"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let errors = "";
  child.stderr.on("data", (text) => {
    errors += text;
  });
  await once(child.stdout, "data");
  for (let waits = 0; !existsSync(told) && waits < 300; waits++) await sleep(100);
  child.stdout.destroy();
  const [code, signal] = await once(child, "exit");
  assert.deepEqual({ code, signal, errors }, { code: 0, signal: null, errors: "" });
  const pid = Number(await readFile(told, "utf8"));
  assert.throws(() => process.kill(pid, 0), { code: "ESRCH" });
});
