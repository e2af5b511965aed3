import { type Command, PLATFORM_OPTIONS } from "./command.ts";
import { connect } from "./connect.ts";
import { elapsedText } from "./quantity-text.ts";
import { printJson } from "./terminal.ts";

interface ReplayAnswer {
  readonly table: string;
  readonly version: number;
  readonly elapsedMs: number;
}

export const replay: Command = {
  name: "replay",
  summary: "Rebuild a table from what it was made of, by its definition as it is now.",
  operands: "TABLE",
  operandCount: { min: 1, max: 1 },
  options: PLATFORM_OPTIONS,
  help: `
  millrace replay silver.orders

The new rows take the place of the old ones in one commit; readers see the old table until then, and its earlier versions stay
readable. Events that arrive meanwhile are accepted and visible.`,

  async run(call) {
    const { operands, flags, terminal } = call;
    const client = connect(call);
    try {
      const path = `/v1/tables/${encodeURIComponent(operands[0]!)}/replay`;
      const answer = await client.json<ReplayAnswer>(path, { method: "POST" });
      if (flags.has("json")) printJson(terminal, answer);
      else
        terminal.stdout.write(
          `${answer.table} rebuilt in ${elapsedText(answer.elapsedMs)}, version ${answer.version}\n`,
        );
      return 0;
    } finally {
      client.close();
    }
  },
};
