import { didYouMean } from "../define/nearest.ts";
import { type Call, type Command, PLATFORM_OPTIONS, wrongUsage } from "./command.ts";
import { connect } from "./connect.ts";
import { drawTable } from "./draw-table.ts";
import type { HttpClient } from "./http-client.ts";
import { elapsedText } from "./quantity-text.ts";
import { printJson } from "./terminal.ts";

/** A feature as the platform's JSON has it. */
interface Feature {
  readonly name: string;
  readonly stream: string;
  readonly key: string;
  readonly aggregate: string;
  readonly field?: string;
  readonly where?: string;
  readonly windowMs: number;
  readonly type: string;
  readonly table: string;
}

const ACTIONS = { list, read, sql };

export const features: Command = {
  name: "features",
  summary: "List features, read the value of a key, and print their SQL for training sets.",
  operands: "list|read|sql [NAME] [KEY]",
  operandCount: { min: 1, max: 3 },
  options: {
    at: { type: "string", value: "TIME", doc: "read: as of this instant instead of now." },
    labels: {
      type: "string",
      value: "TABLE",
      doc: "sql: the feature of each row of this table, as of the row's time.",
    },
    by: { type: "string", value: "COLUMN", doc: "sql: the table's column with the key." },
    time: { type: "string", value: "COLUMN", doc: "sql: the table's column with the time." },
    known: {
      type: "string",
      value: "WHAT",
      doc: "sql: event (what had happened by then; the default) or arrival (what had arrived by then).",
    },
    ...PLATFORM_OPTIONS,
  },
  help: `
  millrace features list
  millrace features read card_spend_10m c-17
  millrace sql "select * from features.card_spend_10m limit 10"
  millrace features sql card_spend_10m --labels silver.disputes --by card_id --time asked_at > training.sql
  millrace sql --file training.sql --csv > training.csv

Online and offline a feature has the same values: what read gives is what the SQL computes.`,

  async run(call) {
    const action = call.operands[0]!;
    if (!Object.hasOwn(ACTIONS, action)) {
      throw wrongUsage(features, `features cannot "${action}"${didYouMean(action, Object.keys(ACTIONS))}`);
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
  if (operands.length > 1) throw wrongUsage(features, "features list takes no NAME");
  const answer = await client.json<{ features: Feature[] }>("/v1/features");
  if (flags.has("json")) return printJson(terminal, answer);
  const columns = ["name", "stream", "key", "aggregate", "window", "where", "type"].map((name) => ({ name }));
  const rows = answer.features.map(({ name, stream, key, aggregate, field = "", windowMs, where, type }) => [
    ...[name, stream, key, `${aggregate}(${field})`, elapsedText(windowMs), where ?? null, type],
  ]);
  terminal.stdout.write(drawTable(columns, rows));
}

async function read(client: HttpClient, { operands, flags, terminal }: Call): Promise<void> {
  const [, name, key] = operands;
  if (name === undefined || key === undefined) throw wrongUsage(features, "features read needs a NAME and a KEY");
  const query = new URLSearchParams({ key });
  const at = flags.text("at");
  if (at !== undefined) query.set("at", at);
  const answer = await client.json<{ value: unknown }>(`/v1/features/${encodeURIComponent(name)}?${query}`);
  if (flags.has("json")) return printJson(terminal, answer);
  terminal.stdout.write(`${answer.value === null ? "null" : String(answer.value)}\n`);
}

async function sql(client: HttpClient, { operands, flags, terminal }: Call): Promise<void> {
  const [, name, more] = operands;
  if (name === undefined || more !== undefined)
    throw wrongUsage(features, "features sql needs a NAME and nothing else");
  const query = new URLSearchParams();
  for (const [flag, parameter] of [
    ["labels", "labels"],
    ["by", "key"],
    ["time", "time"],
    ["known", "known"],
  ] as const) {
    const value = flags.text(flag);
    if (value !== undefined) query.set(parameter, value);
  }
  const answer = await client.json<{ sql: string }>(`/v1/features/${encodeURIComponent(name)}/sql?${query}`);
  if (flags.has("json")) return printJson(terminal, answer);
  terminal.stdout.write(`${answer.sql}\n`);
}
