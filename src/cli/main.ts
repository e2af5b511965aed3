import { keepPoolAwake } from "../platform/wake-pool.ts";
import { runCommandLine } from "./command-line.ts";
import { processTerminal } from "./terminal.ts";

/** The command of the package. Called by `bin/millrace.js`, in a Node that is new enough. */
export async function main(args: readonly string[]): Promise<void> {
  // `millrace … | head` closes the pipe early: what is written after that has no reader, and that is no failure.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    // Who would stop cleanly when told to (`start` has events to store) is told; all others just end.
    if (process.listenerCount("SIGHUP") > 0) process.emit("SIGHUP", "SIGHUP");
    else process.exit(process.exitCode ?? 0);
  });
  keepPoolAwake();
  process.exitCode = await runCommandLine(args, processTerminal());
}
