#!/usr/bin/env node
// The command's entry, in JavaScript that any Node from 18 on can read. The platform itself needs Node 24, which comes
// with the package (`node` on npm); when something older runs this file, it hands over to that one and stays only to
// pass on signals and the exit code.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import * as nodeModule from "node:module";
import { constants, homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const NEEDED_MAJOR = 24;

if (Number(process.versions.node.split(".")[0]) >= NEEDED_MAJOR) {
  await run();
} else {
  handOver();
}

async function run() {
  keepCompiled();
  // fsyncs and running statements each hold a thread of this pool; with the usual four, four long queries would hold up every
  // acknowledgement. It is read when the pool is first used, so it must be set before anything else.
  process.env.UV_THREADPOOL_SIZE ??= "16";
  // A published package is built, because Node strips no types below node_modules; a checkout runs its sources.
  const built = new URL("../dist/cli/main.js", import.meta.url);
  const source = new URL("../src/cli/main.ts", import.meta.url);
  const { main } = await import((existsSync(source) ? source : built).href);
  await main(process.argv.slice(2));
}

/**
 * Keeps what V8 makes of the modules, which is most of a start's work, for the next start. In the user's own folder: what lies in a shared
 * one could be somebody else's. Node does without where it cannot write there.
 */
function keepCompiled() {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  nodeModule.enableCompileCache(join(cache, "millrace", "compiled"));
  // It is written when the process ends, and a platform may run for months and be killed then.
  setTimeout(nodeModule.flushCompileCache, 5000).unref();
}

function handOver() {
  const node = bundledNode();
  if (node === undefined) {
    process.stderr.write(
      `millrace needs Node ${NEEDED_MAJOR}, this is ${process.version}, and the one that comes with the package is not installed.\n` +
        "Its install script did not run: allow it (npm install-scripts approve node, then npm rebuild node), " +
        `or install Node ${NEEDED_MAJOR} or newer yourself.\n`,
    );
    process.exitCode = 1;
    return;
  }
  const self = fileURLToPath(import.meta.url);
  // The channel tells the child when this process dies without a word, so that it drains instead of running on unseen.
  const child = spawn(node, [self, ...process.argv.slice(2)], { stdio: ["inherit", "inherit", "inherit", "ipc"] });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    process.stderr.write(`millrace could not start ${node}: ${error.message}\n`);
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}

function bundledNode() {
  try {
    const folder = dirname(nodeModule.createRequire(import.meta.url).resolve("node/package.json"));
    return ["node", "node.exe"].map((name) => join(folder, "bin", name)).find((path) => existsSync(path));
  } catch {
    return undefined;
  }
}
