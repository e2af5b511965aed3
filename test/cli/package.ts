// The published package, packed and installed into an empty folder, as a user meets it: `npm run test:package`.
// It takes the registry and about a minute, so it stands beside the suite and not in it.
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** As a user's shell has it: without the checkout's own Node first on the path. */
const env = {
  ...process.env,
  PATH: (process.env.PATH ?? "")
    .split(":")
    .filter((folder) => !folder.startsWith(root) && !folder.includes("node_modules"))
    .join(":"),
};
let dir: string;
let running: ChildProcess | undefined;

before(() => {
  dir = mkdtempSync(join(tmpdir(), "millrace-package-"));
});
after(() => {
  running?.kill("SIGKILL");
  rmSync(dir, { recursive: true, force: true });
});

const run = (command: string, ...args: string[]) => execFileSync(command, args, { cwd: dir, env, encoding: "utf8" });

test("packed, installed into an empty folder and started, it takes an event and answers SQL", async () => {
  const manifest = readFileSync(join(root, "package.json"), "utf8");
  execFileSync("npm", ["pack", "--pack-destination", dir], { cwd: root, env, stdio: "pipe" });
  assert.equal(readFileSync(join(root, "package.json"), "utf8"), manifest, "packing leaves the checkout as it was");

  writeFileSync(join(dir, "package.json"), '{"private": true}');
  const [tarball] = run("sh", "-c", "ls millrace-*.tgz").trim().split("\n");
  run("npm", "install", "--prefer-offline", "--no-audit", "--no-fund", `./${tarball}`);
  console.log(`the machine's own Node is ${run("node", "--version").trim()}`);

  assert.match(run("npx", "millrace", "init", "shop"), /A project is in shop/);
  running = spawn("npx", ["millrace", "start", "shop", "--port", "0"], {
    cwd: dir,
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const url = await readyUrl(running);
  const key = readFileSync(join(dir, "shop/.millrace/admin.key"), "utf8").trim();
  const order = {
    order_id: "1",
    customer_id: "ada",
    country: "de",
    amount: "12.50",
    placed_at: "2026-05-01T10:00:00Z",
  };
  const posted = await fetch(`${url}/v1/streams/orders/events`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify([order, order, { order_id: "2" }]),
  });
  assert.equal(posted.status, 202);
  const sql = ["sql", "select country, orders, revenue from gold.sales_daily", "--json", "--url", url, "--key", key];
  const answer = JSON.parse(run("npx", "millrace", ...sql)) as { rows: unknown[][] };
  assert.deepEqual(answer.rows, [["DE", 1, "12.50"]]);
  run("npx", "millrace", "ledger", "--url", url, "--key", key);

  // npx dies of the signal; the platform notices, stores what is to be stored and ends, and with it its output.
  running.kill("SIGTERM");
  await once(running.stdout!.resume(), "close");
  await assert.rejects(fetch(`${url}/healthz`));
  running = undefined;
});

async function readyUrl(child: ChildProcess): Promise<string> {
  for await (const line of createInterface({ input: child.stdout! })) {
    const url = /^ready (http:\S+)$/.exec(line)?.[1];
    if (url !== undefined) return url;
  }
  throw new Error("it ended before it was ready");
}
