import { didYouMean } from "../define/nearest.ts";
import { type Call, type Command, PLATFORM_OPTIONS, wrongUsage } from "./command.ts";
import { connect } from "./connect.ts";
import { drawTable } from "./draw-table.ts";
import type { HttpClient } from "./http-client.ts";
import { printJson } from "./terminal.ts";

interface User {
  readonly name: string;
  readonly connections: number;
}

interface Made {
  readonly user: User;
  readonly password: string;
  readonly address?: { readonly host: string; readonly port: number; readonly database: string };
}

const ACTIONS = { create, list, revoke };

export const biUsers: Command = {
  name: "bi-users",
  summary: "Make, list and revoke users of BI tools, who read served tables in PostgreSQL.",
  operands: "create|list|revoke [NAME]",
  operandCount: { min: 1, max: 2 },
  options: PLATFORM_OPTIONS,
  help: `
  millrace bi-users create tableau
  millrace bi-users list
  millrace bi-users revoke tableau

A password is shown once, when its user is made; PostgreSQL keeps only what it needs to check it. A revoked user's connections
end at once. docs/serving.md says how BI tools connect.`,

  async run(call) {
    const action = call.operands[0]!;
    if (!Object.hasOwn(ACTIONS, action)) {
      throw wrongUsage(biUsers, `bi-users cannot "${action}"${didYouMean(action, Object.keys(ACTIONS))}`);
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

async function create(client: HttpClient, { operands, flags, terminal }: Call): Promise<void> {
  const name = operands[1];
  if (name === undefined) throw wrongUsage(biUsers, "bi-users create needs a NAME");
  const made = await client.json<Made>("/v1/bi-users", { body: { name } });
  if (flags.has("json")) return printJson(terminal, made);
  // The password alone on the standard output, so that a script can take it; the rest is for people.
  terminal.stdout.write(`${made.password}\n`);
  const { host, port, database } = made.address ?? {};
  const where = made.address === undefined ? "" : ` Connect to host ${host}, port ${port}, database ${database}.`;
  terminal.stderr.write(`Password of ${made.user.name}; it is not shown again.${where}\n`);
}

async function list(client: HttpClient, { flags, terminal }: Call): Promise<void> {
  const answer = await client.json<{ users: User[] }>("/v1/bi-users");
  if (flags.has("json")) return printJson(terminal, answer);
  const rows = answer.users.map((user) => [user.name, String(user.connections)]);
  terminal.stdout.write(drawTable([{ name: "name" }, { name: "connections", align: "right" }], rows));
}

async function revoke(client: HttpClient, { operands, flags, terminal }: Call): Promise<void> {
  const name = operands[1];
  if (name === undefined) throw wrongUsage(biUsers, "bi-users revoke needs a NAME (millrace bi-users list)");
  const answer = await client.json<{ user: User }>(`/v1/bi-users/${encodeURIComponent(name)}`, { method: "DELETE" });
  if (flags.has("json")) return printJson(terminal, answer);
  terminal.stdout.write(`User ${answer.user.name} is revoked, and its connections are ended.\n`);
}
