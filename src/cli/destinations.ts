import { didYouMean } from "../define/nearest.ts";
import type { DeliveryView } from "../flow/deliveries.ts";
import type { DestinationView } from "../react/deliver/delivery.ts";
import { type Call, type Command, PLATFORM_OPTIONS, wrongUsage } from "./command.ts";
import { connect } from "./connect.ts";
import { drawTable } from "./draw-table.ts";
import type { HttpClient } from "./http-client.ts";
import { printJson } from "./terminal.ts";

const ACTIONS = { list, test, deliveries };
const FILTERS = ["alert", "status", "limit", "before"];

export const destinations: Command = {
  name: "destinations",
  summary: "List and test where alerts go, and see what became of each.",
  operands: "list|test|deliveries [NAME]",
  operandCount: { min: 1, max: 2 },
  options: {
    alert: { type: "string", value: "ID", doc: "deliveries: only those of this alert." },
    status: {
      type: "string",
      value: "STATUS",
      doc: "deliveries: waiting, retrying, delivered, dead, silenced or superseded.",
    },
    limit: { type: "string", value: "N", doc: "deliveries: of how many changes at most (100)." },
    before: { type: "string", value: "N", doc: "deliveries: go on where a page ended." },
    ...PLATFORM_OPTIONS,
  },
  help: `
  millrace destinations list
  millrace destinations test ops
  millrace destinations deliveries ops --status retrying

test sends a made-up alert to the destination now, and says whether it was taken; where the other side keeps alerts open, it is
closed again. What became a dead letter is retried with millrace dead-letters retry --stage deliver.`,

  async run(call) {
    const action = call.operands[0]!;
    if (!Object.hasOwn(ACTIONS, action)) {
      throw wrongUsage(destinations, `destinations cannot "${action}"${didYouMean(action, Object.keys(ACTIONS))}`);
    }
    const client = connect(call);
    try {
      await ACTIONS[action as keyof typeof ACTIONS](client, call);
      return 0;
    } finally {
      client.close();
    }
  },
};

async function list(client: HttpClient, { operands, flags, terminal }: Call): Promise<void> {
  if (operands.length > 1) throw wrongUsage(destinations, "destinations list takes no NAME");
  const answer = await client.json<{ destinations: DestinationView[] }>("/v1/destinations");
  if (flags.has("json")) return printJson(terminal, answer);
  const columns = ["name", "kind", "status", "waiting", "last delivered", "last failure"].map((name) => ({ name }));
  const rows = answer.destinations.map(({ name, kind, status, waiting, lastDelivered, lastFailure }) => [
    ...[name, kind, status, waiting, lastDelivered ?? ""],
    status === "up" || lastFailure === null ? "" : lastFailure.message,
  ]);
  terminal.stdout.write(drawTable(columns, rows));
}

async function test(client: HttpClient, { operands, flags, terminal }: Call): Promise<void> {
  const name = operands[1];
  if (name === undefined) throw wrongUsage(destinations, "destinations test needs a NAME (millrace destinations list)");
  const path = `/v1/destinations/${encodeURIComponent(name)}/test`;
  const answer = await client.json<{ delivered: true; elapsedMs: number }>(path, { body: {} });
  if (flags.has("json")) return printJson(terminal, answer);
  terminal.stdout.write(`${name} took a test alert after ${answer.elapsedMs} ms\n`);
}

async function deliveries(client: HttpClient, { operands, flags, terminal }: Call): Promise<void> {
  const query = new URLSearchParams();
  if (operands[1] !== undefined) query.set("destination", operands[1]);
  for (const name of FILTERS) {
    const value = flags.text(name);
    if (value !== undefined) query.set(name, value);
  }
  const answer = await client.json<{ deliveries: DeliveryView[]; next?: number }>(`/v1/deliveries?${query}`);
  if (flags.has("json")) return printJson(terminal, answer);
  const columns = ["id", "alert", "state", "status", "attempts", "last message"].map((name) => ({ name }));
  const rows = answer.deliveries.map(({ id, name, state, status, attempts, lastMessage }) => [
    ...[id, name, state, status, attempts],
    status === "delivered" ? "" : (lastMessage ?? ""),
  ]);
  terminal.stdout.write(drawTable(columns, rows));
  if (answer.next !== undefined) terminal.stderr.write(`There are more: --before ${answer.next}\n`);
}
