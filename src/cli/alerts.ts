import { didYouMean } from "../define/nearest.ts";
import { type Call, type Command, PLATFORM_OPTIONS, wrongUsage } from "./command.ts";
import { connect } from "./connect.ts";
import { drawTable } from "./draw-table.ts";
import type { HttpClient } from "./http-client.ts";
import { printJson } from "./terminal.ts";

/** An alert as the platform's JSON has it. */
interface Alert {
  readonly id: string;
  readonly severity: string;
  readonly state: string;
  readonly summary: string;
  readonly at: string;
  readonly acknowledgedBy: string | null;
  readonly silencedUntil: string | null;
  readonly [name: string]: unknown;
}

interface Silence {
  readonly id: string;
  readonly state: string;
  readonly match: Readonly<Record<string, string>>;
  readonly reason: string;
  readonly createdBy: string;
  readonly from: string;
  readonly to: string | null;
  readonly repeat: { readonly cron: string; readonly timezone: string; readonly forMs: number } | null;
}

const ACTIONS = { list, show, ack, resolve, silence, silences, unsilence };
/** What alerts are told apart by, and the options for it: --key is the API key. */
const MATCHERS = { kind: "kind", name: "name", key: "about", severity: "severity" };

export const alerts: Command = {
  name: "alerts",
  summary: "List, show, acknowledge, resolve and silence alerts.",
  operands: "list|show|ack|resolve|silence|silences|unsilence [ID]",
  operandCount: { min: 1, max: 2 },
  options: {
    state: {
      type: "string",
      value: "STATE",
      doc: "list: open (default), firing, acknowledged, resolved or all; silences: active, waiting or over.",
    },
    kind: { type: "string", value: "KIND", doc: "list, silence: only alerts of this kind, such as alert or ledger." },
    name: {
      type: "string",
      value: "NAME",
      doc: "list, silence: only alerts of this name; silence takes * for any text.",
    },
    about: {
      type: "string",
      value: "KEY",
      doc: "list, silence: only alerts with this key; silence takes * for any text.",
    },
    severity: { type: "string", value: "SEVERITY", doc: "list, silence: info, warning or critical." },
    limit: { type: "string", value: "N", doc: "list: how many at most (100)." },
    before: { type: "string", value: "N", doc: "list: go on where a page ended." },
    note: { type: "string", value: "TEXT", doc: "ack, resolve: what others should know." },
    reason: { type: "string", value: "TEXT", doc: "silence: why." },
    for: { type: "string", value: "DURATION", doc: "silence: how long, such as 2h; with --cron, each time." },
    from: { type: "string", value: "TIME", doc: "silence: from when on (now)." },
    to: { type: "string", value: "TIME", doc: "silence: until when; with --cron, until when it comes again." },
    cron: { type: "string", value: "EXPRESSION", doc: "silence: again and again, at these moments." },
    timezone: { type: "string", value: "ZONE", doc: "silence: of the expression (UTC)." },
    ...PLATFORM_OPTIONS,
  },
  help: `
  millrace alerts list --severity critical
  millrace alerts show alert/overheat/17/0-42
  millrace alerts ack alert/overheat/17/0-42 --note "looking into it"
  millrace alerts resolve alert/overheat/17/0-42
  millrace alerts silence --name overheat --about 17 --for 2h --reason "in the workshop"
  millrace alerts silence --name "*" --cron "0 22 * * *" --timezone Europe/Berlin --for 8h --reason nights
  millrace alerts silences --state active
  millrace alerts unsilence ID

What is silenced is raised and listed as ever, and told to nobody; what still fires when a silence ends is told then. What was resolved
by hand is raised again when its cause is gone and there again.`,

  async run(call) {
    const action = call.operands[0]!;
    if (!Object.hasOwn(ACTIONS, action)) {
      throw wrongUsage(alerts, `alerts cannot "${action}"${didYouMean(action, Object.keys(ACTIONS))}`);
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
  if (operands.length > 1) throw wrongUsage(alerts, "alerts list takes no ID; show does");
  const query = new URLSearchParams();
  const state = flags.text("state") ?? "open";
  if (state !== "all") query.set("state", state);
  for (const [name, option] of Object.entries({ ...MATCHERS, limit: "limit", before: "before" })) {
    const value = flags.text(option);
    if (value !== undefined) query.set(name, value);
  }
  const answer = await client.json<{ alerts: Alert[]; next?: number }>(`/v1/alerts?${query}`);
  if (flags.has("json")) return printJson(terminal, answer);
  const columns = ["id", "severity", "state", "since", "summary"].map((name) => ({ name }));
  const rows = answer.alerts.map((alert) => [
    alert.id,
    alert.severity,
    stateText(alert),
    timeText(alert.at),
    alert.summary,
  ]);
  terminal.stdout.write(drawTable(columns, rows));
  if (answer.next !== undefined) terminal.stderr.write(`There are more: --before ${answer.next}\n`);
}

async function show(client: HttpClient, call: Call): Promise<void> {
  const answer = await client.json<{ alert: Alert }>(pathOf("show", call));
  if (call.flags.has("json")) return printJson(call.terminal, answer);
  const known = Object.entries(answer.alert)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => [name, typeof value === "object" ? JSON.stringify(value) : value]);
  call.terminal.stdout.write(drawTable([{ name: "" }, { name: "", align: "left" }], known));
}

async function ack(client: HttpClient, call: Call): Promise<void> {
  return done(client, call, "ack");
}

async function resolve(client: HttpClient, call: Call): Promise<void> {
  return done(client, call, "resolve");
}

async function done(client: HttpClient, call: Call, action: "ack" | "resolve"): Promise<void> {
  const note = call.flags.text("note");
  const path = `${pathOf(action, call)}/${action}`;
  const answer = await client.json<{ alert: Alert }>(path, { body: note === undefined ? {} : { note } });
  if (call.flags.has("json")) return printJson(call.terminal, answer);
  const { id, state, acknowledgedBy } = answer.alert;
  const by = state === "acknowledged" ? ` by ${acknowledgedBy}` : "";
  call.terminal.stdout.write(`${id} is ${state}${by}\n`);
}

async function silence(client: HttpClient, { operands, flags, terminal }: Call): Promise<void> {
  if (operands.length > 1) throw wrongUsage(alerts, "alerts silence takes no ID; --name and --about say which alerts");
  const match = Object.fromEntries(
    Object.entries(MATCHERS).flatMap(([name, option]) => {
      const value = flags.text(option);
      return value === undefined ? [] : [[name, value]];
    }),
  );
  if (Object.keys(match).length === 0)
    throw wrongUsage(alerts, 'alerts silence needs --name, --about, --severity or --kind; --name "*" is every alert');
  const reason = flags.text("reason");
  if (reason === undefined) throw wrongUsage(alerts, "alerts silence needs --reason");
  const [cron, timezone, lasts] = ["cron", "timezone", "for"].map((name) => flags.text(name));
  const body = {
    ...{ match, reason, from: momentText(flags.text("from")), to: momentText(flags.text("to")) },
    ...(cron === undefined ? { for: lasts } : { repeat: { cron, timezone, for: lasts } }),
  };
  const answer = await client.json<{ silence: Silence }>("/v1/silences", { body });
  if (flags.has("json")) return printJson(terminal, answer);
  const { id, state, to } = answer.silence;
  terminal.stdout.write(`${id} is ${state}${to === null ? "" : ` until ${timeText(to)}`}\n`);
}

async function silences(client: HttpClient, { operands, flags, terminal }: Call): Promise<void> {
  if (operands.length > 1) throw wrongUsage(alerts, "alerts silences takes no ID");
  const state = flags.text("state");
  const answer = await client.json<{ silences: Silence[] }>(
    `/v1/silences${state === undefined ? "" : `?state=${encodeURIComponent(state)}`}`,
  );
  if (flags.has("json")) return printJson(terminal, answer);
  const columns = ["id", "state", "alerts", "from", "to", "again", "by", "reason"].map((name) => ({ name }));
  const rows = answer.silences.map((one) => [
    ...[
      one.id,
      one.state,
      Object.entries(one.match)
        .map(([name, value]) => `${name} ${value}`)
        .join(", "),
    ],
    ...[timeText(one.from), one.to === null ? "" : timeText(one.to)],
    ...[one.repeat === null ? "" : `${one.repeat.cron} ${one.repeat.timezone}`, one.createdBy, one.reason],
  ]);
  terminal.stdout.write(drawTable(columns, rows));
}

async function unsilence(client: HttpClient, call: Call): Promise<void> {
  const id = call.operands[1];
  if (id === undefined)
    throw wrongUsage(alerts, "alerts unsilence needs the ID of a silence (millrace alerts silences)");
  const answer = await client.json<{ silence: Silence }>(`/v1/silences/${encodeURIComponent(id)}`, {
    method: "DELETE",
  });
  if (call.flags.has("json")) return printJson(call.terminal, answer);
  call.terminal.stdout.write(`${id} is ${answer.silence.state}\n`);
}

function pathOf(action: string, { operands }: Call): string {
  const id = operands[1];
  if (id === undefined) throw wrongUsage(alerts, `alerts ${action} needs the ID of an alert (millrace alerts list)`);
  return `/v1/alerts/${encodeURIComponent(id)}`;
}

function stateText({ state, acknowledgedBy, silencedUntil }: Alert): string {
  const by = state === "acknowledged" ? `acknowledged by ${acknowledgedBy}` : state;
  return silencedUntil === null ? by : `${by}, silenced until ${timeText(silencedUntil)}`;
}

function timeText(iso: string): string {
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)}Z`;
}

/** A moment as the platform takes it: with its zone. A date is its beginning in UTC. */
function momentText(given: string | undefined): string | undefined {
  if (given === undefined) return undefined;
  const ms = Date.parse(/^\d{4}-\d\d-\d\dT[\d:.]+$/.test(given) ? `${given}Z` : given);
  if (Number.isNaN(ms)) throw wrongUsage(alerts, `"${given}" is no moment such as 2026-01-31T18:00:00Z`);
  return new Date(ms).toISOString();
}
