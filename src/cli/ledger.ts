import type { LedgerView } from "../serve/admin-route.ts";
import { type Command, PLATFORM_OPTIONS } from "./command.ts";
import { connect } from "./connect.ts";
import { drawTable } from "./draw-table.ts";
import { countText } from "./quantity-text.ts";
import { printJson } from "./terminal.ts";

export type LedgerAnswer = LedgerView;

export const ledger: Command = {
  name: "ledger",
  summary: "Show what became of every event, hop by hop.",
  operands: "",
  operandCount: { min: 0, max: 0 },
  options: PLATFORM_OPTIONS,
  help: `
For every hop: accepted = stored + duplicate + filtered + dead-lettered + pending. Pending events are durable and visible to
queries, and not yet committed to the table. Verified are those the recount has compared with what is really stored; it follows
within seconds, and from the beginning after a start. What does not balance is listed with its offsets. Exit code 1 when
something does not balance.`,

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

/** The ledger as a table, what does not balance, and a line that says whether all of it does. */
export function drawLedger({ hops, balanced, imbalances }: LedgerAnswer): string {
  const numbers = ["accepted", "stored", "duplicate", "filtered", "dead-lettered", "pending", "verified"];
  const columns = [
    { name: "stream" },
    { name: "hop" },
    ...numbers.map((name) => ({ name, align: "right" as const })),
    { name: "" },
  ];
  const rows = hops.map((hop) => [
    hop.stream,
    hop.hop,
    ...[hop.accepted, hop.stored, hop.duplicate, hop.filtered, hop.deadLettered, hop.pending, hop.verified].map(
      countText,
    ),
    hop.balanced ? "✓" : "does not balance",
  ]);
  const listed = imbalances.map(({ message, since }) => `${message} (since ${since})\n`);
  const verdict = balanced ? "Every hop balances." : "The ledger does not balance.";
  return `${drawTable(columns, rows)}${listed.join("")}${verdict}\n`;
}
