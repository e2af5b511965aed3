/**
 * Everything that is tested on real servers: `npm run test:engines [-- FILE …]`. Starts what is not up, runs the tests of test/engines/ (or
 * the files that are named), and ends what it started. With `--if-possible`, a machine that lacks the tools, or reaches no registry to fetch the servers
 * from, says so in one line and goes on; with them, a server that does not come up is a failure. With `--again`, a file in which something failed is
 * run once more, by itself and after all others, and what does not fail then is told and no failure.
 */
import { spawn } from "node:child_process";
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ENGINE_NAMES, readEndpoints } from "./endpoints.ts";
import { NOT_FETCHED } from "./engine-error.ts";
import { missingTools } from "./tools.ts";

/** The first time, servers are fetched and compiled. */
const UP_WITHIN_MS = 20 * 60_000;
/** The exit code of what its deadline has ended. */
const LATE = 124;
const TESTS_WITHIN_MS = 38 * 60_000;
const ALL = "test/engines/**/*.test.ts";
/** They kill servers that the others use, or start a second set of them: nothing runs beside these. */
const ALONE = /\/(chaos|doors|kafka-faults|up-and-down)\.test\.ts$/;
/** Of the others, most of whose time is waiting: until a group or a lease has given up somebody who was killed. */
const SIDE_BY_SIDE = 2;
/** Beside what each test came to, how long each file took. */
const REPORTERS = ["spec", "./engines/file-times.ts"].flatMap((reporter) => [
  `--test-reporter=${reporter}`,
  "--test-reporter-destination=stdout",
]);

async function main(args: readonly string[]): Promise<number> {
  const missing = missingTools();
  if (missing.length > 0) return without(args, `need ${missing.join(", ")}`, "install that");
  const named = args.filter((arg) => !arg.startsWith("--"));
  const files = (named.length === 0 ? globSync(ALL) : named).toSorted();
  const alone = files.filter((file) => ALONE.test(file));
  const others = files.filter((file) => !ALONE.test(file));
  const before = await readEndpoints();
  const ours = ENGINE_NAMES.filter((name) => before[name] === undefined);
  let code = 1;
  try {
    code = await run(["engines/main.ts", "up"], performance.now() + UP_WITHIN_MS);
    if (code === NOT_FETCHED)
      code = without(args, "need servers that could not be fetched", "see above what was not reached");
    // Each start has a time of its own, and says what it lacks: only fetching takes so long.
    else if (code === LATE)
      code = without(args, "need servers that were not fetched in time", "again: what is fetched is kept");
    else if (code === 0) {
      code = await tested(others, alone, args.includes("--again"));
    }
  } finally {
    if (ours.length > 0) code = (await run(["engines/main.ts", "down", ...ours], performance.now() + 120_000)) || code;
  }
  return code;
}

/** Runs the files, each of `alone` with nothing beside it. */
async function tested(others: readonly string[], alone: readonly string[], again: boolean): Promise<number> {
  const deadline = performance.now() + TESTS_WITHIN_MS;
  const dir = mkdtempSync(join(tmpdir(), "millrace-engines-"));
  try {
    const parts = [await part(others, SIDE_BY_SIDE, dir, deadline), await part(alone, 1, dir, deadline)];
    const code = parts.find((one) => one.code !== 0)?.code ?? 0;
    const failed = parts.flatMap((one) => one.failed);
    if (!again || failed.length === 0) return code;
    console.error(`once more, each by itself: ${failed.join(", ")}`);
    return (await part(failed, 1, dir, deadline)).code;
  } finally {
    rmSync(dir, { recursive: true });
  }
}

async function part(files: readonly string[], together: number, dir: string, deadline: number) {
  if (files.length === 0) return { code: 0, failed: [] };
  const list = join(dir, "passed");
  rmSync(list, { force: true });
  const how = ["--import", "./test/limit.ts", "--test", `--test-concurrency=${together}`, ...REPORTERS];
  const code = await run([...how, ...files], deadline, { PASSED_FILES: list });
  const passed = new Set(existsSync(list) ? readFileSync(list, "utf8").split("\n") : []);
  return { code, failed: files.filter((file) => !passed.has(resolve(file))) };
}

/** Says why nothing is tested; the exit code that follows from it. */
function without(args: readonly string[], needs: string, next: string): number {
  const optional = args.includes("--if-possible");
  console.error(`the tests on real servers ${needs}${optional ? ": left out on this machine" : `; next: ${next}`}`);
  return optional ? 0 : 1;
}

/** Runs Node with these arguments; its exit code, or `LATE`. */
function run(args: readonly string[], deadline: number, env: NodeJS.ProcessEnv = {}): Promise<number> {
  return new Promise((done, failed) => {
    const minutes = Math.round((deadline - performance.now()) / 60_000);
    let isLate = false;
    const child = spawn(process.execPath, args, { stdio: "inherit", env: { ...process.env, ...env } });
    const timer = setTimeout(() => {
      isLate = true;
      console.error(`${minutes} minutes are over: "node ${args.join(" ")}" is ended`);
      child.kill("SIGTERM");
      setTimeout(() => child.kill("SIGKILL"), 20_000).unref();
    }, deadline - performance.now());
    child.once("error", failed);
    child.once("close", (code) => {
      clearTimeout(timer);
      done(isLate ? LATE : (code ?? 1));
    });
  });
}

process.exitCode = await main(process.argv.slice(2));
