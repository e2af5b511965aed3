import { styleText } from "node:util";

/** What a command sees of the world: its streams, its environment and where it stands. */
export interface Terminal {
  readonly stdin: NodeJS.ReadableStream;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
}

export interface Output {
  write(text: string | Uint8Array): unknown;
  /** True when a person watches. */
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export function processTerminal(): Terminal {
  return { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr, env: process.env, cwd: process.cwd() };
}

/** Colours the text where a person watches who has not said NO_COLOR. */
export function styled(terminal: Terminal, style: Parameters<typeof styleText>[0], text: string): string {
  const wanted = terminal.stdout.isTTY === true && !terminal.env.NO_COLOR && terminal.env.TERM !== "dumb";
  return wanted ? styleText(style, text, { validateStream: false }) : text;
}

export function printJson(terminal: Terminal, value: unknown): void {
  terminal.stdout.write(`${JSON.stringify(value, null, terminal.stdout.isTTY ? 2 : 0)}\n`);
}
