import { didYouMean } from "../define/nearest.ts";
import { MillraceError } from "../errors.ts";
import { type Command, commandHelp, parseCommandLine } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import { AnsweredError } from "./http-client.ts";
import { styled, type Terminal } from "./terminal.ts";
import { version } from "./version.ts";

/**
 * Runs a command line and resolves to its exit code: 0 done, 1 failed, 2 wrong usage. Every failure is told on the standard
 * error, as text or (with --json) as the `error` object of the HTTP answers.
 */
export async function runCommandLine(args: readonly string[], terminal: Terminal): Promise<number> {
  const [first, ...rest] = args;
  if (first === undefined || first === "help" || first === "--help" || first === "-h") return help(rest[0], terminal);
  if (first === "--version" || first === "-v" || first === "version") {
    terminal.stdout.write(`${version()}\n`);
    return 0;
  }
  const command = COMMANDS.find(({ name }) => name === first);
  if (command === undefined) return unknown(first, terminal);
  const json = args.includes("--json");
  try {
    const { operands, flags } = parseCommandLine(command, rest);
    if (flags.has("help")) return help(command.name, terminal);
    return await command.run({ operands, flags, terminal });
  } catch (error) {
    return tell(error, json, terminal);
  }
}

function help(name: string | undefined, terminal: Terminal): number {
  const command = COMMANDS.find((known) => known.name === name);
  if (name !== undefined && command === undefined) return unknown(name, terminal);
  terminal.stdout.write(command === undefined ? overview(terminal) : commandHelp(command));
  return 0;
}

function overview(terminal: Terminal): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  const line = ({ name, summary }: Command) => `  ${styled(terminal, "bold", name.padEnd(width))}  ${summary}`;
  return [
    "Millrace: from the HTTP door to open Delta tables and SQL, with nothing lost on the way.",
    "",
    "Usage: millrace COMMAND [options]",
    "",
    ...COMMANDS.map(line),
    "",
    "millrace COMMAND --help says more about one of them. Exit codes: 0 done, 1 failed, 2 wrong usage.",
    "",
  ].join("\n");
}

function unknown(name: string, terminal: Terminal): number {
  const meant = didYouMean(
    name,
    COMMANDS.map((command) => command.name),
  );
  terminal.stderr.write(`COMMAND_WRONG: there is no command "${name}"${meant}\n  millrace help lists them all.\n`);
  return 2;
}

function tell(error: unknown, json: boolean, terminal: Terminal): number {
  if (!(error instanceof MillraceError || error instanceof AnsweredError)) throw error;
  if (json) terminal.stderr.write(`${JSON.stringify({ error })}\n`);
  else {
    const code = styled(terminal, "red", error.code);
    terminal.stderr.write(`${code}: ${error.message}\n${error.hint === "" ? "" : `  ${error.hint}\n`}`);
  }
  return error.code === "COMMAND_WRONG" ? 2 : 1;
}
