import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

test("where there is no Chromium, a test in a browser fails and says how to get one", async () => {
  const module = fileURLToPath(new URL("./chromium.ts", import.meta.url));
  const program = `import { openChromium } from ${JSON.stringify(module)}; await openChromium("unused");`;
  const env = { ...process.env, CHROMIUM_PATH: "/nowhere/chromium" };
  const { code, stderr } = await new Promise<{ code: number; stderr: string }>((resolve) => {
    execFile(process.execPath, ["--input-type=module", "--eval", program], { env }, (error, _stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), stderr }),
    );
  });
  assert.equal(code, 1);
  assert.match(stderr, /npm run browser:install/);
});
