import type { PlatformStatus } from "../serve/admin-route.ts";
import { type Command, PLATFORM_OPTIONS } from "./command.ts";
import { connect } from "./connect.ts";
import { drawTables } from "./status.ts";
import { printJson } from "./terminal.ts";

export const tables: Command = {
  name: "tables",
  summary: "List the tables, or show one: its columns, versions, files and what it is made of.",
  operands: "[TABLE]",
  operandCount: { min: 0, max: 1 },
  options: PLATFORM_OPTIONS,
  help: `
  millrace tables
  millrace tables gold.sales_daily`,

  async run(call) {
    const { operands, flags, terminal } = call;
    const client = connect(call);
    try {
      const [name] = operands;
      if (name === undefined) {
        const answer = await client.json<PlatformStatus>("/v1/status");
        if (flags.has("json")) printJson(terminal, { tables: answer.tables });
        else terminal.stdout.write(drawTables(answer.tables, Date.now()));
        return 0;
      }
      const table = await client.json<Record<string, unknown>>(`/v1/tables/${encodeURIComponent(name)}`);
      if (flags.has("json")) printJson(terminal, table);
      else terminal.stdout.write(describe(table));
      return 0;
    } finally {
      client.close();
    }
  },
};

function describe(table: Record<string, unknown>): string {
  return `${JSON.stringify(table, null, 2)}\n`;
}
