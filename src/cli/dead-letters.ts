import { readFileSync } from "node:fs";
import { didYouMean } from "../define/nearest.ts";
import type { LetterView, RetryResult } from "../flow/dead-letter-desk.ts";
import { type Call, type Command, PLATFORM_OPTIONS, wrongUsage } from "./command.ts";
import { connect } from "./connect.ts";
import { drawTable } from "./draw-table.ts";
import type { HttpClient } from "./http-client.ts";
import { countText } from "./quantity-text.ts";
import { printJson } from "./terminal.ts";

interface RetryAnswer {
  readonly retried: number;
  readonly failed: number;
  readonly results: readonly RetryResult[];
}

const ACTIONS = { list, show, retry, discard };
const FILTERS = ["stream", "table", "stage", "code"] as const;
/** Failures that are told one by one. */
const MOST_TOLD = 20;

export const deadLetters: Command = {
  name: "dead-letters",
  summary: "List, show, retry and discard what could not be taken further.",
  operands: "list|show|retry|discard [ID…]",
  operandCount: { min: 1, max: 10_001 },
  options: {
    stream: { type: "string", value: "STREAM", doc: "Only letters of this stream." },
    table: { type: "string", value: "TABLE", doc: "Only letters on the way to this table." },
    stage: {
      type: "string",
      value: "STAGE",
      doc: "Only letters of this stage: door, log, parse, transform, check, refresh, publish, deliver.",
    },
    code: { type: "string", value: "CODE", doc: "Only letters with this error code." },
    status: { type: "string", value: "STATUS", doc: "list: open, retried or discarded." },
    limit: { type: "string", value: "N", doc: "list: how many at most (100)." },
    before: { type: "string", value: "N", doc: "list: go on where a page ended." },
    payload: {
      type: "string",
      value: "FILE",
      doc: "retry: send this file's content instead; - is the standard input.",
    },
    raw: { type: "boolean", doc: "show: the payload alone, byte for byte." },
    reason: { type: "string", value: "TEXT", doc: "discard: why." },
    ...PLATFORM_OPTIONS,
  },
  help: `
  millrace dead-letters list --stream orders --status open
  millrace dead-letters show ID --raw > event.json
  millrace dead-letters retry ID --payload event.json
  millrace dead-letters retry --table silver.orders
  millrace dead-letters discard --stream orders --code EVENT_INVALID --reason "test traffic"

An event refused at the door is sent through it again, corrected where --payload says so. One that failed on the way to a table
is taken through the table's definition as it is now. Either happens once, however often it is asked for. For a refresh that
failed, the table is refreshed. Exit code 1 when some of them failed again.`,

  async run(call) {
    const action = call.operands[0]!;
    if (!Object.hasOwn(ACTIONS, action)) {
      throw wrongUsage(deadLetters, `dead-letters cannot "${action}"${didYouMean(action, Object.keys(ACTIONS))}`);
    }
    const client = connect(call);
    try {
      return await ACTIONS[action as keyof typeof ACTIONS](client, call);
    } finally {
      client.close();
    }
  },
};

async function list(client: HttpClient, { operands, flags, terminal }: Call): Promise<number> {
  if (operands.length > 1) throw wrongUsage(deadLetters, "dead-letters list takes no ID; show does");
  const query = new URLSearchParams();
  for (const name of [...FILTERS, "status", "limit", "before"]) {
    const value = flags.text(name);
    if (value !== undefined) query.set(name, value);
  }
  const answer = await client.json<{ deadLetters: LetterView[]; next?: number }>(`/v1/dead-letters?${query}`);
  if (flags.has("json")) {
    printJson(terminal, answer);
    return 0;
  }
  const columns = ["id", "stage", "code", "status", "attempts", "first seen", "message"].map((name) => ({ name }));
  const rows = answer.deadLetters.map((letter) => [
    letter.id,
    letter.stage,
    letter.lastCode,
    letter.status,
    letter.attempts,
    `${letter.firstSeen.slice(0, 10)} ${letter.firstSeen.slice(11, 19)}Z`,
    letter.lastMessage,
  ]);
  terminal.stdout.write(drawTable(columns, rows));
  if (answer.next !== undefined) terminal.stderr.write(`There are more: --before ${answer.next}\n`);
  return 0;
}

async function show(client: HttpClient, { operands, flags, terminal }: Call): Promise<number> {
  const [, id, ...others] = operands;
  if (id === undefined || others.length > 0) throw wrongUsage(deadLetters, "dead-letters show needs one ID");
  const path = `/v1/dead-letters/${encodeURIComponent(id)}`;
  if (flags.has("raw")) {
    const response = await client.open(path, { headers: { accept: "application/octet-stream" } });
    for await (const chunk of response) terminal.stdout.write(chunk as Uint8Array);
    return 0;
  }
  const answer = await client.json<{ deadLetter: Record<string, unknown> }>(path);
  if (flags.has("json")) printJson(terminal, answer);
  else {
    const known = Object.entries(answer.deadLetter).filter(([, value]) => value !== null);
    terminal.stdout.write(drawTable([{ name: "" }, { name: "", align: "left" }], known));
  }
  return 0;
}

async function retry(client: HttpClient, call: Call): Promise<number> {
  const { flags, terminal } = call;
  const body = { ...selection("retry", call), ...payload(call) };
  const answer = await client.json<RetryAnswer>("/v1/dead-letters/retry", { body });
  if (flags.has("json")) printJson(terminal, answer);
  else {
    const failed = answer.results.filter(({ outcome }) => outcome === "failed");
    for (const { id, code, message } of failed.slice(0, MOST_TOLD)) {
      terminal.stderr.write(`${id}: ${code}: ${message}\n`);
    }
    terminal.stdout.write(`${countText(answer.retried)} retried, ${countText(answer.failed)} failed again\n`);
  }
  return answer.failed === 0 ? 0 : 1;
}

async function discard(client: HttpClient, call: Call): Promise<number> {
  const { flags, terminal } = call;
  const reason = flags.text("reason");
  if (reason === undefined) throw wrongUsage(deadLetters, "dead-letters discard needs --reason");
  const body = { ...selection("discard", call), reason };
  const answer = await client.json<{ discarded: number }>("/v1/dead-letters/discard", { body });
  if (flags.has("json")) printJson(terminal, answer);
  else terminal.stdout.write(`${countText(answer.discarded)} discarded\n`);
  return 0;
}

function selection(action: string, { operands, flags }: Call): Record<string, unknown> {
  const ids = operands.slice(1);
  const filter = Object.fromEntries(
    FILTERS.flatMap((name) => {
      const value = flags.text(name);
      return value === undefined ? [] : [[name, value]];
    }),
  );
  const filtered = Object.keys(filter).length > 0;
  if (filtered === ids.length > 0) {
    throw wrongUsage(deadLetters, `dead-letters ${action} needs either IDs or one of --${FILTERS.join(", --")}`);
  }
  return filtered ? { filter } : { ids };
}

function payload({ flags }: Call): { payloadBase64?: string } {
  const file = flags.text("payload");
  if (file === undefined) return {};
  try {
    return { payloadBase64: readFileSync(file === "-" ? 0 : file).toString("base64") };
  } catch (error) {
    throw wrongUsage(deadLetters, `${file} cannot be read: ${error instanceof Error ? error.message : error}`);
  }
}
