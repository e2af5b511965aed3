/**
 * Puts libraries for other languages (Segment's, AWS's) into a cache folder, from their own registries and in the versions that stand beside this file,
 * and says how to run the program that uses each. A language that is missing is installed by the system's package client where that
 * can be; else it is a failure that names the command.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export interface Sdk {
  readonly name: string;
  /** What its messages say they are from. */
  readonly library: string;
  readonly gzip: boolean;
  /** How many of the troubles it is put through: the one for Java waits 15 s before it sends again, then 30, and 60. */
  readonly troubles: number;
  /** The program to run and its arguments before those of the run. */
  install(): readonly string[];
}

const CACHE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "millrace-sdks");

export const SDKS: readonly Sdk[] = [
  {
    name: "python",
    library: "analytics-python",
    gzip: true,
    troubles: 4,
    install: () =>
      installed("python", ["python3"], "python3 python3-venv", (dir) => {
        run(["python3", "-m", "venv", join(dir, "venv")], dir);
        const python = join(dir, "venv/bin/python");
        run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"], dir);
        return [python, join(dir, "send.py")];
      }),
  },
  {
    name: "go",
    library: "analytics-go",
    gzip: false,
    troubles: 4,
    install: () =>
      installed("go", ["go"], "golang-go", (dir) => {
        run(["go", "build", "-o", "send", "."], dir);
        return [join(dir, "send")];
      }),
  },
  {
    name: "java",
    library: "analytics-java",
    gzip: false,
    troubles: 2,
    install: () =>
      installed("java", ["java", "mvn"], "default-jdk-headless maven", (dir) => {
        const copy = ["dependency:copy-dependencies", "-DoutputDirectory=lib", "-DincludeScope=runtime"];
        run(["mvn", "-q", "-B", "-ntp", "compile", ...copy], dir);
        return ["java", "-cp", `${join(dir, "target/classes")}:${join(dir, "lib/*")}`, "Send"];
      }),
  },
];

/** Builds once per version of the sources; what is there whole is used again. */
export function installed(
  name: string,
  commands: readonly string[],
  packages: string,
  build: (dir: string) => readonly string[],
): readonly string[] {
  for (const command of commands) requireCommand(command, packages);
  const sources = join(import.meta.dirname, name);
  const dir = join(CACHE, `${name}-${fingerprint(sources)}`);
  const done = join(dir, "command.json");
  if (!existsSync(done)) {
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(dir, { recursive: true });
    cpSync(sources, dir, { recursive: true });
    writeFileSync(done, JSON.stringify(build(dir)));
  }
  return JSON.parse(readFileSync(done, "utf8")) as string[];
}

function fingerprint(folder: string): string {
  const hash = createHash("sha256");
  for (const file of readdirSync(folder, { recursive: true, withFileTypes: true }).toSorted((a, b) =>
    join(a.parentPath, a.name) < join(b.parentPath, b.name) ? -1 : 1,
  ))
    if (file.isFile()) hash.update(file.name).update(readFileSync(join(file.parentPath, file.name)));
  return hash.digest("hex").slice(0, 16);
}

function requireCommand(command: string, packages: string): void {
  const isThere = () => spawnSync("sh", ["-c", `command -v ${command}`]).status === 0;
  if (isThere()) return;
  const apt = `apt-get install -y --no-install-recommends ${packages}`;
  if (process.getuid?.() === 0 && spawnSync("apt-get", ["--version"]).status === 0) {
    console.error(`Installing ${packages} for the libraries…`);
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    for (const line of [apt, `apt-get update -qq && ${apt}`]) {
      spawnSync("sh", ["-c", line], { stdio: ["ignore", "ignore", "inherit"], env });
      if (isThere()) return;
    }
  }
  throw new Error(`${command} is not on this machine. Install it: sudo ${apt}`);
}

export function run([program, ...args]: readonly string[], cwd: string): void {
  const { status, stdout, stderr, error } = spawnSync(program as string, args, { cwd, encoding: "utf8" });
  if (status !== 0)
    throw new Error(`${program} ${args.join(" ")}: ${error?.message ?? `${stdout}${stderr}`.slice(-3_000)}`);
}
