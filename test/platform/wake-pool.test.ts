import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { test } from "node:test";

test("the pool is woken every second while a process has something to do, and no process is kept for it", async () => {
  const module = new URL("../../src/platform/wake-pool.ts", import.meta.url).href;
  const program = `
    import fs from "node:fs";
    import { syncBuiltinESMExports } from "node:module";
    const stat = fs.stat;
    let looks = 0;
    fs.stat = (path, done) => { looks++; return stat(path, done); };
    syncBuiltinESMExports();
    const { keepPoolAwake } = await import(${JSON.stringify(module)});
    keepPoolAwake();
    keepPoolAwake();
    setTimeout(() => undefined, 2500);
    process.on("exit", () => console.log(looks));`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [looks, [code]] = await Promise.all([text(child.stdout), once(child, "exit")]);
  assert.equal(code, 0);
  assert.ok(Number(looks) >= 1 && Number(looks) <= 3, looks);
});
