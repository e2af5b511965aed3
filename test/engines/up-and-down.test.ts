/** The engines' own scripts: a second set of servers, in a folder of its own beside the one that the other tests use, is ended whole. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { packagesFolder } from "../../engines/cache.ts";
import type { Endpoints } from "../../engines/endpoints.ts";

const MAIN = join(import.meta.dirname, "../../engines/main.ts");

test("down ends every process that up has started, frees its ports and removes its data, and leaves other servers alone", async (t) => {
  const cache = await mkdtemp(join(tmpdir(), "millrace-cache-"));
  await chmod(cache, 0o711); // PostgreSQL runs as another user where we are root
  const folder = join(cache, "millrace-engines");
  await mkdir(folder, { mode: 0o711 });
  await symlink(packagesFolder(), join(folder, "packages"));
  const engines = (verb: string, ...names: string[]) =>
    promisify(execFile)(process.execPath, [MAIN, verb, ...names], {
      env: { ...process.env, XDG_CACHE_HOME: cache },
      timeout: 300_000,
    });
  t.after(async () => {
    await engines("down");
    await rm(cache, { recursive: true });
  });
  await engines("up");
  const up = JSON.parse(await readFile(join(folder, "run", "engines.json"), "utf8")) as Required<Endpoints>;
  const ports = [
    ...up.kafka.brokers.flatMap(({ ports }) => Object.values(ports)),
    ...[up.s3.endpoint, up.spark.url.replace("sc:", "http:")].map((url) => Number(new URL(url).port)),
    up.postgres.port,
  ];
  for (const port of ports) assert.ok(await listens(port), `somebody listens at ${port}`);
  const started = await processesOf(cache);
  assert.ok(started.length >= 6, started.join("\n"));
  const { stdout } = await engines("status");
  assert.doesNotMatch(stdout, /not/, stdout);

  await engines("down", "postgres");
  assert.equal(await listens(up.postgres.port), false);
  assert.ok(await listens(new URL(up.s3.endpoint).port), "the others go on");
  await engines("down");
  assert.deepEqual(await processesOf(cache), []);
  for (const port of ports) assert.equal(await listens(port), false, `nobody listens at ${port}`);
  assert.deepEqual(
    (await readdir(folder)).filter((name) => name !== "run"),
    ["packages"],
  );
  assert.deepEqual(existsSync(join(folder, "run")) ? await readdir(join(folder, "run")) : [], []);
});

/** Processes that were started with this cache or name it: what they started in turn has their environment. */
async function processesOf(cache: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const about = await Promise.all(
      ["environ", "cmdline"].map((file) => readFile(join("/proc", pid, file), "utf8").catch(() => "")), // it has ended, or is another user's
    );
    if (about.some((text) => text.includes(cache)) && Number(pid) !== process.pid) found.push(`${pid} ${about[1]}`);
  }
  return found;
}

function listens(port: number | string): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(Number(port), "127.0.0.1");
    socket.once("connect", () => done(true)).once("error", () => done(false));
    socket.once("connect", () => socket.destroy());
  });
}
