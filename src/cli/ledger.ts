import type { LedgerHop } from "../serve/admin-route.ts";
import { type Command, PLATFORM_OPTIONS } from "./command.ts";
import { connect } from "./connect.ts";
import { drawTable } from "./draw-table.ts";
import { countText } from "./quantity-text.ts";
import { printJson } from "./terminal.ts";

export interface LedgerAnswer {
  readonly balanced: boolean;
  readonly hops: readonly LedgerHop[];
}

export const ledger: Command = {
  name: "ledger",
  summary: "Show what became of every event, hop by hop.",
  operands: "",
  operandCount: { min: 0, max: 0 },
  options: PLATFORM_OPTIONS,
  help: `
For every hop: accepted = stored + duplicate + filtered + dead-lettered + pending. Pending events are durable and visible to
queries, and not yet committed to the table. Exit code 1 when a hop does not balance.`,

  async run(call) {
    const { terminal, flags } = call;
    const client = connect(call);
    try {
      const answer = await client.json<LedgerAnswer>("/v1/ledger");
      if (flags.has("json")) printJson(terminal, answer);
      else terminal.stdout.write(drawLedger(answer));
      return answer.balanced ? 0 : 1;
    } finally {
      client.close();
    }
  },
};

/** The ledger as a table, and a line that says whether it balances. */
export function drawLedger({ hops, balanced }: LedgerAnswer): string {
  const numbers = ["accepted", "stored", "duplicate", "filtered", "dead-lettered", "pending"];
  const columns = [
    { name: "stream" },
    { name: "hop" },
    ...numbers.map((name) => ({ name, align: "right" as const })),
    { name: "" },
  ];
  const rows = hops.map((hop) => [
    hop.stream,
    hop.hop,
    ...[hop.accepted, hop.stored, hop.duplicate, hop.filtered, hop.deadLettered, hop.pending].map(countText),
    hop.balanced ? "✓" : "does not balance",
  ]);
  const verdict = balanced ? "Every hop balances." : "The ledger does not balance: see the marked hops.";
  return `${drawTable(columns, rows)}${verdict}\n`;
}
