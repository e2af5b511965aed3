import { Readable } from "node:stream";
import type { Terminal } from "../../src/cli/terminal.ts";

/** A terminal whose output is kept, for running commands within a test. */
export function capturedTerminal(
  given: { env?: Record<string, string>; cwd?: string; stdin?: string; columns?: number } = {},
) {
  const written = { stdout: "", stderr: "" };
  const output = (name: "stdout" | "stderr") => ({
    write: (text: string | Uint8Array) => {
      written[name] += typeof text === "string" ? text : Buffer.from(text).toString("utf8");
    },
    ...(given.columns === undefined ? {} : { isTTY: true, columns: given.columns }),
  });
  const terminal: Terminal = {
    stdin: Readable.from([Buffer.from(given.stdin ?? "")]),
    stdout: output("stdout"),
    stderr: output("stderr"),
    env: { NO_COLOR: "1", ...given.env },
    cwd: given.cwd ?? "/",
  };
  return { terminal, written };
}
