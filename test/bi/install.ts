/**
 * What `npm run test:bi` needs beside this package: psql, a JDK, and PostgreSQL's JDBC driver from Maven Central in a cache folder. What is
 * missing is installed by the system's package client where that can be; else it is a failure that names the command.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

const DRIVER = "42.7.7";
const CACHE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "millrace-bi");

/** Makes sure that a program is there. */
export function need(program: string, packages: string): void {
  if (there(program)) return;
  const command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", ...packages.split(" ")];
  if (process.getuid?.() === 0 && there("apt-get")) run(command);
  if (!there(program)) throw new Error(`${program} is missing. Install it, for example with: ${command.join(" ")}`);
}

/** Path of the JDBC driver. */
export function jdbcDriver(): string {
  const path = join(CACHE, `postgresql-${DRIVER}.jar`);
  if (existsSync(path)) return path;
  need("mvn", "maven");
  const artifact = `-Dartifact=org.postgresql:postgresql:${DRIVER}`;
  run(["mvn", "-q", "-B", "-ntp", "dependency:copy", artifact, `-DoutputDirectory=${CACHE}`]);
  if (!existsSync(path)) throw new Error(`Maven ended well and ${path} is not there`);
  return path;
}

function there(program: string): boolean {
  return spawnSync(program, ["--version"], { stdio: "ignore" }).error === undefined;
}

function run([command, ...args]: readonly string[]): void {
  const { status, stdout, stderr, error } = spawnSync(command as string, args, { encoding: "utf8", cwd: homedir() });
  if (status === 0) return;
  throw new Error(`failed: ${[command, ...args].join(" ")}\n${error?.message ?? ""}${stdout ?? ""}${stderr ?? ""}`);
}
