import { didYouMean } from "../define/nearest.ts";
import { type Call, type Command, PLATFORM_OPTIONS, wrongUsage } from "./command.ts";
import { connect } from "./connect.ts";
import { drawTable } from "./draw-table.ts";
import type { HttpClient } from "./http-client.ts";
import { printJson } from "./terminal.ts";

/** A key as the platform's JSON has it: moments are text. */
interface Key {
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly createdAt: string;
  readonly revokedAt?: string;
  readonly accessKeyId?: string;
}

const ACTIONS = { create, list, revoke };

export const keys: Command = {
  name: "keys",
  summary: "Make, list and revoke API keys.",
  operands: "create|list|revoke [ID]",
  operandCount: { min: 1, max: 2 },
  options: {
    name: { type: "string", value: "NAME", doc: "create: who or what the key is for." },
    scopes: {
      type: "string",
      value: "LIST",
      doc: "create: ingest, query, admin, write:STREAM, or several (ingest,query).",
    },
    aws: {
      type: "boolean",
      doc: "create: an access key for AWS's clients (Kinesis) as well, printed as variables of the environment.",
    },
    ...PLATFORM_OPTIONS,
  },
  help: `
  millrace keys create --name till --scopes ingest
  millrace keys create --name website --scopes write:app
  millrace keys create --name agent --scopes ingest,query --aws
  millrace keys list
  millrace keys revoke ID

A write key (write:STREAM) sends to one stream and does nothing else: a browser or an app may hold it. A key is shown once, when it is made; the platform keeps only its hash. A revoked key is out at once.`,

  async run(call) {
    const action = call.operands[0]!;
    if (!Object.hasOwn(ACTIONS, action)) {
      throw wrongUsage(keys, `keys cannot "${action}"${didYouMean(action, Object.keys(ACTIONS))}`);
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

async function create(client: HttpClient, { flags, terminal }: Call): Promise<void> {
  const name = flags.text("name");
  const scopes = flags
    .text("scopes")
    ?.split(",")
    .map((scope) => scope.trim());
  if (name === undefined || scopes === undefined) throw wrongUsage(keys, "keys create needs --name and --scopes");
  const aws = flags.has("aws") ? { aws: true } : {};
  const made = await client.json<{
    key: Key;
    token: string;
    accessKey?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  }>("/v1/keys", { body: { name, scopes, ...aws } });
  if (flags.has("json")) return printJson(terminal, made);
  const { accessKey } = made;
  if (accessKey !== undefined) {
    const { accessKeyId, secretAccessKey } = accessKey;
    terminal.stdout.write(`AWS_ACCESS_KEY_ID=${accessKeyId}\nAWS_SECRET_ACCESS_KEY=${secretAccessKey}\n`);
    terminal.stderr.write(
      `Access key of ${made.key.id} (${made.key.scopes.join(", ")}) for ${made.key.name}. The secret is not shown again.\n`,
    );
    return;
  }
  // The key alone on the standard output, so that a script can take it; the rest is for people.
  terminal.stdout.write(`${made.token}\n`);
  terminal.stderr.write(
    `Key ${made.key.id} (${made.key.scopes.join(", ")}) for ${made.key.name}. It is not shown again.\n`,
  );
}

async function list(client: HttpClient, { flags, terminal }: Call): Promise<void> {
  const answer = await client.json<{ keys: Key[] }>("/v1/keys");
  if (flags.has("json")) return printJson(terminal, answer);
  const columns = ["id", "name", "scopes", "created", "revoked"].map((name) => ({ name }));
  const rows = answer.keys.map((key) => [
    key.id,
    key.name,
    key.scopes.join(","),
    minute(key.createdAt),
    minute(key.revokedAt),
  ]);
  terminal.stdout.write(drawTable(columns, rows));
}

async function revoke(client: HttpClient, { operands, flags, terminal }: Call): Promise<void> {
  const id = operands[1];
  if (id === undefined) throw wrongUsage(keys, "keys revoke needs the ID of a key (millrace keys list)");
  const answer = await client.json<{ key: Key }>(`/v1/keys/${encodeURIComponent(id)}`, { method: "DELETE" });
  if (flags.has("json")) return printJson(terminal, answer);
  terminal.stdout.write(`Key ${answer.key.id} (${answer.key.name}) is revoked.\n`);
}

function minute(moment: string | undefined): string | null {
  return moment === undefined ? null : `${moment.slice(0, 10)} ${moment.slice(11, 16)}Z`;
}
