import { parseArgs } from "node:util";
import { didYouMean } from "../define/nearest.ts";
import { MillraceError } from "../errors.ts";
import type { Terminal } from "./terminal.ts";

/** One command of the command line. Each has a file of its own and is listed in `commands.ts`. */
export interface Command {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** What follows the command's name, for example `STREAM PATH…`. */
  readonly operands: string;
  /** How many operands it takes. */
  readonly operandCount: { readonly min: number; readonly max: number };
  readonly options: Readonly<Record<string, Option>>;
  /** Paragraphs and examples shown by `--help`. */
  readonly help: string;
  /** Resolves to the exit code: 0 done, 1 failed. Throws MillraceError for what failed with a reason. */
  run(call: Call): Promise<number>;
}

export interface Option {
  readonly type: "string" | "boolean";
  /** Names the value in the help, for example `DIR`. */
  readonly value?: string;
  readonly short?: string;
  readonly multiple?: boolean;
  readonly doc: string;
}

/** A command line as it was understood. */
export interface Call {
  readonly operands: readonly string[];
  readonly flags: Flags;
  readonly terminal: Terminal;
}

/** The options given, by name and type. */
export class Flags {
  readonly #values: ReadonlyMap<string, readonly (string | true)[]>;

  constructor(values: ReadonlyMap<string, readonly (string | true)[]>) {
    this.#values = values;
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** The last value given. */
  text(name: string): string | undefined {
    const value = this.#values.get(name)?.at(-1);
    return typeof value === "string" ? value : undefined;
  }

  texts(name: string): string[] {
    return (this.#values.get(name) ?? []).filter((value) => typeof value === "string");
  }
}

/** Options that every command takes. */
export const COMMON_OPTIONS: Record<string, Option> = {
  json: { type: "boolean", doc: "Answer in JSON, for programs." },
  help: { type: "boolean", short: "h", doc: "Show this help." },
};

/** Options of commands that speak to a running platform. */
export const PLATFORM_OPTIONS: Record<string, Option> = {
  url: { type: "string", value: "URL", doc: "The platform (MILLRACE_URL; default http://127.0.0.1:8080)." },
  key: { type: "string", value: "KEY", doc: "Key to use (MILLRACE_KEY; default: the local data folder's admin key)." },
};

/** @throws COMMAND_WRONG with what is wrong and how the command is used */
export function parseCommandLine(command: Command, args: readonly string[]): { operands: string[]; flags: Flags } {
  const options = { ...command.options, ...COMMON_OPTIONS };
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(
      Object.entries(options).map(([name, { type, short, multiple }]) => [
        name,
        { type, ...(short === undefined ? {} : { short }), ...(multiple === undefined ? {} : { multiple }) },
      ]),
    ),
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const operands: string[] = [];
  const values = new Map<string, (string | true)[]>();
  for (const token of tokens) {
    if (token.kind === "positional") operands.push(token.value);
    if (token.kind !== "option") continue;
    const option = options[token.name];
    if (option === undefined) {
      const names = Object.keys(options).map((name) => `--${name}`);
      throw wrongUsage(command, `${command.name} has no option ${token.rawName}${didYouMean(token.rawName, names)}`);
    }
    if (option.type === "string" && token.value === undefined) {
      throw wrongUsage(command, `${token.rawName} needs a value: ${token.rawName} ${option.value ?? "VALUE"}`);
    }
    if (option.type === "boolean" && token.value !== undefined) {
      throw wrongUsage(command, `${token.rawName} takes no value`);
    }
    values.set(token.name, [...(values.get(token.name) ?? []), token.value ?? true]);
  }
  const flags = new Flags(values);
  if (!flags.has("help")) {
    const { min, max } = command.operandCount;
    if (operands.length < min) throw wrongUsage(command, `${command.name} needs ${command.operands}`);
    if (operands.length > max) throw wrongUsage(command, `${command.name} cannot use "${operands[max]}"`);
  }
  return { operands, flags };
}

/** The error of a command that was called wrongly; such calls end with exit code 2. */
export function wrongUsage(command: Pick<Command, "name" | "operands">, reason: string): MillraceError {
  const usage = `Usage: ${usageLine(command)}. More: millrace ${command.name} --help`;
  return new MillraceError("COMMAND_WRONG", { reason, usage });
}

/** The text of `millrace COMMAND --help`. */
export function commandHelp(command: Command): string {
  const lines = [
    `${command.summary}`,
    "",
    `Usage: ${usageLine(command)}`,
    "",
    command.help.replaceAll(/^\n+|\s+$/g, ""),
    "",
    "Options:",
  ];
  const rows = Object.entries({ ...command.options, ...COMMON_OPTIONS }).map(([name, option]) => {
    const short = option.short === undefined ? "" : `-${option.short}, `;
    return [`${short}--${name}${option.value === undefined ? "" : ` ${option.value}`}`, option.doc] as const;
  });
  const width = Math.max(...rows.map(([spelled]) => spelled.length));
  for (const [spelled, doc] of rows) lines.push(`  ${spelled.padEnd(width)}  ${doc}`);
  return `${lines.join("\n")}\n`;
}

function usageLine({ name, operands }: Pick<Command, "name" | "operands">): string {
  return `millrace ${name}${operands === "" ? "" : ` ${operands}`} [options]`;
}
