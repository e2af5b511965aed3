import { type Command, PLATFORM_OPTIONS } from "./command.ts";
import { connect } from "./connect.ts";
import { elapsedText } from "./quantity-text.ts";
import { printJson } from "./terminal.ts";

interface RefreshAnswer {
  readonly table: string;
  readonly kind: "none" | "full" | "by";
  readonly version: number;
  readonly elapsedMs: number;
}

export const refresh: Command = {
  name: "refresh",
  summary: "Bring a table that combines rows up to date now, instead of after the next commits.",
  operands: "TABLE",
  operandCount: { min: 1, max: 1 },
  options: {
    full: { type: "boolean", doc: "Recompute all of it, not only what new rows touch." },
    ...PLATFORM_OPTIONS,
  },
  help: `
  millrace refresh gold.sales_daily

Queries see new rows without this; a refresh stores the outcome, for engines that read the table's files.`,

  async run(call) {
    const { operands, flags, terminal } = call;
    const client = connect(call);
    try {
      const path = `/v1/tables/${encodeURIComponent(operands[0]!)}/refresh`;
      const answer = await client.json<RefreshAnswer>(path, { body: { full: flags.has("full") } });
      if (flags.has("json")) printJson(terminal, answer);
      else terminal.stdout.write(`${describe(answer)}\n`);
      return 0;
    } finally {
      client.close();
    }
  },
};

function describe({ table, kind, version, elapsedMs }: RefreshAnswer): string {
  const took = `in ${elapsedText(elapsedMs)}, version ${version}`;
  if (kind === "none") return `${table} was up to date (version ${version})`;
  return kind === "full"
    ? `${table} recomputed in full ${took}`
    : `${table} recomputed where new rows touch it ${took}`;
}
