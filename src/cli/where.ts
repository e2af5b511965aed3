import type { FunctionFate } from "../flow/reactions.ts";
import type { ArrivalReceipt, Fate, Receipt } from "../flow/receipt.ts";
import { type Command, PLATFORM_OPTIONS, wrongUsage } from "./command.ts";
import { connect } from "./connect.ts";
import { drawTable } from "./draw-table.ts";
import { printJson } from "./terminal.ts";

export const where: Command = {
  name: "where",
  summary: "Say where an event is now, and what each table made of it.",
  operands: "EVENT_ID",
  operandCount: { min: 1, max: 1 },
  options: {
    stream: { type: "string", short: "s", value: "STREAM", doc: "The stream it was sent to." },
    older: { type: "boolean", doc: "Look for arrivals before the stream's horizon too, when there are newer ones." },
    ...PLATFORM_OPTIONS,
  },
  help: `
  millrace where o-17 --stream orders
  millrace where 0-4711 --stream clicks

The id is the value of the stream's id field, the JSON array of several, or PARTITION-OFFSET where the stream has none. Events
that were refused at the door were not accepted and are among the dead letters: millrace dead-letters list --stage door.`,

  async run(call) {
    const { operands, flags, terminal } = call;
    const stream = flags.text("stream");
    if (stream === undefined) throw wrongUsage(where, "where needs --stream STREAM");
    const client = connect(call);
    try {
      const path = `/v1/streams/${encodeURIComponent(stream)}/events/${encodeURIComponent(operands[0]!)}`;
      const answer = await client.json<Receipt>(`${path}${flags.has("older") ? "?older=true" : ""}`);
      if (flags.has("json")) printJson(terminal, answer);
      else terminal.stdout.write(drawReceipt(answer));
      return 0;
    } finally {
      client.close();
    }
  },
};

/** A receipt for people: a paragraph per arrival, newest first. */
export function drawReceipt({ stream, arrivals, searchedOlder }: Receipt): string {
  const paragraphs = arrivals.map((arrival) => {
    const fates = [{ table: `bronze.${stream}`, ...arrival.bronze }, ...arrival.tables];
    const functions = arrival.functions.map((fate) => [fate.function, fate.fate, functionDetail(fate)]);
    return `${headline(arrival)}\n${drawTable(
      [{ name: "table" }, { name: "fate" }, { name: "" }],
      fates.map((fate) => [fate.table, fate.fate, detail(fate)]),
    )}${functions.length === 0 ? "" : `\n${drawTable([{ name: "function" }, { name: "fate" }, { name: "" }], functions)}`}`;
  });
  const rest = searchedOlder ? "" : "\nArrivals before the stream's horizon: --older\n";
  return `${paragraphs.join("\n")}${rest}`;
}

function headline({ original, partition, offset, receivedAt, source }: ArrivalReceipt): string {
  const what = original ? "Accepted" : "Accepted again";
  return `${what} ${receivedAt} from ${source}: partition ${partition}, offset ${offset}`;
}

function functionDetail(fate: FunctionFate): string {
  switch (fate.fate) {
    case "handled":
      return "";
    case "duplicate":
      return `of offset ${fate.duplicateOf}`;
    case "filtered":
      return "from before the function began";
    case "pending":
      return "in the log, not handled yet";
    case "dead-lettered":
      return `${fate.code}: ${fate.message} (${fate.deadLetterId})`;
  }
}

function detail(fate: Fate): string {
  switch (fate.fate) {
    case "stored":
      return fate.version === undefined ? fate.file : `version ${fate.version}, ${fate.file}`;
    case "superseded":
      return "a newer row of its key took its place";
    case "duplicate":
      return `of offset ${fate.duplicateOf}`;
    case "filtered":
      return "the SQL gives no row for it";
    case "dead-lettered":
      return `${fate.stage} ${fate.code}: ${fate.message} (${fate.deadLetterId})`;
    case "pending":
      return "in the log, not flushed yet; queries see it";
  }
}
