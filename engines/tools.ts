import { spawnSync } from "node:child_process";

/** Programs that the engines are fetched and run with: its call for its version, and what of it has to be there. */
const TOOLS: readonly { readonly name: string; readonly call: readonly string[]; readonly fits: RegExp }[] = [
  { name: "a JDK of 17 or later (java)", call: ["java", "-version"], fits: /version "(1[7-9]|[2-9]\d)/ },
  { name: "Maven (mvn)", call: ["mvn", "-v"], fits: /Apache Maven/ },
  { name: "Go (go)", call: ["go", "version"], fits: /go version/ },
  {
    name: "Python 3.10 or later with venv and pip (python3)",
    call: ["python3", "-c", "import sys, venv, ensurepip; print('python', sys.version_info >= (3, 10))"],
    fits: /python True/,
  },
  { name: "openssl", call: ["openssl", "version"], fits: /OpenSSL|LibreSSL/ },
];

/** The tools that this machine lacks, in words; empty when the engines can be had here. */
export function missingTools(): string[] {
  const lacking = TOOLS.filter(({ call: [program, ...args], fits }) => {
    const { stdout, stderr } = spawnSync(program!, args, { encoding: "utf8", timeout: 30_000 });
    // `java -version` writes to the standard error.
    return !fits.test(`${stdout ?? ""}${stderr ?? ""}`);
  });
  return lacking.map(({ name }) => name);
}
