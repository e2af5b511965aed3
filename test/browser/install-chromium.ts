/**
 * Sees to it that there is a Chromium for the tests in a browser: `npm run browser:install`. Does nothing where one is found, else asks the
 * system's own package client. `npm test` and `.ci/run` call it by themselves, with `--if-possible`: then a machine on which it cannot be
 * installed still runs all other tests, and those in a browser fail and name this command.
 */
import { spawnSync } from "node:child_process";
import { findChromium, MISSING } from "./chromium.ts";

const optional = process.argv.includes("--if-possible");
if (findChromium() === undefined) {
  const problem = install();
  if (problem !== undefined) {
    console.error(`${MISSING}\n${problem}`);
    process.exitCode = optional ? 0 : 1;
  }
}

/** What went wrong, if anything did. */
function install(): string | undefined {
  if (spawnSync("apt-get", ["--version"]).status !== 0) return "There is no apt-get on this machine.";
  const isRoot = process.getuid?.() === 0;
  if (!isRoot && spawnSync("sudo", ["-n", "true"]).status !== 0)
    return "Installing needs root, or sudo without a password.";
  console.error("Installing Chromium for the tests in a browser…");
  // Another installation may be under way.
  const apt = ["apt-get", "-y", "-qq", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"];
  const install = [...apt, "install", "--no-install-recommends", "chromium"];
  const run = (command: readonly string[]) => {
    const [program, ...args] = isRoot ? command : ["sudo", "-n", ...command];
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    return spawnSync(program as string, args, { encoding: "utf8", env });
  };
  let result = run(install);
  if (result.status !== 0) {
    // A fresh machine has no list of packages yet.
    run([...apt, "update"]);
    result = run(install);
  }
  if (result.status !== 0) return `apt-get says: ${result.stderr.trim().slice(-1_000)}`;
  return findChromium() === undefined ? "apt-get was content, and yet there is none." : undefined;
}
