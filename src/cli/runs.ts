import { didYouMean } from "../define/nearest.ts";
import { type Call, type Command, PLATFORM_OPTIONS, wrongUsage } from "./command.ts";
import { connect } from "./connect.ts";
import { drawTable } from "./draw-table.ts";
import type { HttpClient } from "./http-client.ts";
import { countText, elapsedText } from "./quantity-text.ts";
import { printJson } from "./terminal.ts";

/** A run as the platform's JSON has it. */
interface Run {
  readonly id: string;
  readonly workflow: string;
  readonly status: string;
  readonly cause: { readonly kind: string; readonly by: string };
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly createdAt: string;
  readonly elapsedMs: number | null;
  readonly [name: string]: unknown;
}

interface Step {
  readonly step: string;
  readonly kind: string;
  readonly status: string;
  readonly attempts: number;
  readonly elapsedMs: number | null;
  readonly error: { readonly message: string } | null;
}

interface Backfill {
  readonly id: string;
  readonly workflow: string;
  readonly partitions: number;
  readonly runs: Readonly<Record<string, number>>;
  readonly done: boolean;
  readonly cancelled?: number;
  readonly failed: readonly { readonly partition: string; readonly run: string; readonly message: string }[];
}

const ACTIONS = { list, show, start, cancel, retry, signal, backfill };
const FINISHED = ["succeeded", "failed", "cancelled"];
const LOOK_MS = 300;

export const runs: Command = {
  name: "runs",
  summary: "List, show, start, cancel and retry runs of workflows, and fill ranges with them.",
  operands: "list|show|start|cancel|retry|signal|backfill [WORKFLOW|ID] [NAME]",
  operandCount: { min: 1, max: 3 },
  options: {
    workflow: { type: "string", value: "WORKFLOW", doc: "list: only runs of this workflow." },
    status: {
      type: "string",
      value: "STATUS",
      doc: "list: queued, running, compensating, succeeded, failed, cancelled.",
    },
    backfill: { type: "string", value: "ID", doc: "list: only runs of this backfill." },
    limit: { type: "string", value: "N", doc: "list: how many at most (100)." },
    before: { type: "string", value: "ID", doc: "list: go on where a page ended." },
    logs: { type: "boolean", doc: "show: what the run and its commands said." },
    input: { type: "string", value: "JSON", doc: "start: what the run gets." },
    data: { type: "string", value: "JSON", doc: "signal: what the run gets." },
    "idempotency-key": {
      type: "string",
      value: "KEY",
      doc: "start: the same key is the same run, however often it is sent.",
    },
    from: { type: "string", value: "DATE", doc: "backfill: first hour, day or month, in UTC." },
    to: { type: "string", value: "DATE", doc: "backfill: last one, included." },
    by: { type: "string", value: "UNIT", doc: "backfill: hour, day (default) or month." },
    partition: { type: "string", value: "NAME", multiple: true, doc: "backfill: these instead of a range." },
    concurrency: { type: "string", value: "N", doc: "backfill: runs at once (4)." },
    wait: { type: "boolean", doc: "start, retry, backfill: until it is over; exit code 1 when it did not succeed." },
    ...PLATFORM_OPTIONS,
  },
  help: `
  millrace runs list --status failed
  millrace runs show ID --logs
  millrace runs start nightly --input '{"full": true}' --wait
  millrace runs cancel ID
  millrace runs retry ID
  millrace runs signal ID approved --data '{"by": "ann"}'
  millrace runs backfill nightly --from 2026-01-01 --to 2026-01-31 --concurrency 4 --wait

A retried run goes on at the step that failed. cancel takes the id of a backfill as well, and show tells how far one is.`,

  async run(call) {
    const action = call.operands[0]!;
    if (!Object.hasOwn(ACTIONS, action)) {
      throw wrongUsage(runs, `runs cannot "${action}"${didYouMean(action, Object.keys(ACTIONS))}`);
    }
    const client = connect(call);
    try {
      return await ACTIONS[action as keyof typeof ACTIONS](client, call);
    } finally {
      client.close();
    }
  },
};

async function list(client: HttpClient, { flags, terminal }: Call): Promise<number> {
  const query = new URLSearchParams();
  for (const name of ["workflow", "status", "backfill", "limit", "before"]) {
    const value = flags.text(name);
    if (value !== undefined) query.set(name, value);
  }
  const answer = await client.json<{ runs: Run[]; next?: string }>(`/v1/runs?${query}`);
  if (flags.has("json")) {
    printJson(terminal, answer);
    return 0;
  }
  const columns = ["id", "workflow", "status", "by", "created", "took", "error"].map((name) => ({ name }));
  const rows = answer.runs.map((run) => [
    run.id,
    run.workflow,
    run.status,
    `${run.cause.kind} ${run.cause.by}`.trim(),
    `${run.createdAt.slice(0, 10)} ${run.createdAt.slice(11, 19)}Z`,
    run.elapsedMs === null ? null : elapsedText(run.elapsedMs),
    run.error?.message ?? null,
  ]);
  terminal.stdout.write(drawTable(columns, rows));
  if (answer.next !== undefined) terminal.stderr.write(`There are more: --before ${answer.next}\n`);
  return 0;
}

async function show(client: HttpClient, call: Call): Promise<number> {
  const { flags, terminal } = call;
  const id = operand(call, "show", "the ID of a run or a backfill");
  const path = `/v1/runs/${encodeURIComponent(id)}`;
  let answer: { run: Run; steps: Step[]; logs?: { at: string; step: string; message: string }[] };
  try {
    answer = await client.json(path);
  } catch (error) {
    if ((error as { code?: string }).code !== "RUN_UNKNOWN") throw error;
    const found = await progress(client, id).catch(() => {
      throw error; // neither of the two
    });
    tellBackfill(found, call);
    return 0;
  }
  if (flags.has("logs")) answer = { ...answer, ...(await client.json<{ logs: never[] }>(`${path}/logs`)) };
  if (flags.has("json")) {
    printJson(terminal, answer);
    return 0;
  }
  const facts = Object.entries(answer.run).filter(([, value]) => value !== null);
  const told = facts.map(([name, value]) => [name, typeof value === "object" ? JSON.stringify(value) : value]);
  terminal.stdout.write(drawTable([{ name: "" }, { name: "", align: "left" }], told));
  const columns = ["step", "kind", "status", "attempts", "took", "error"].map((name) => ({ name }));
  const rows = answer.steps.map(({ step, kind, status, attempts, elapsedMs, error }) => [
    ...[step, kind, status, attempts],
    elapsedMs === null ? null : elapsedText(elapsedMs),
    error?.message ?? null,
  ]);
  if (rows.length > 0) terminal.stdout.write(`\n${drawTable(columns, rows)}`);
  for (const { at, step, message } of answer.logs ?? [])
    terminal.stdout.write(`${at} ${step === "" ? "" : `[${step}] `}${message}\n`);
  return 0;
}

async function start(client: HttpClient, call: Call): Promise<number> {
  const { flags } = call;
  const name = operand(call, "start", "the name of a WORKFLOW");
  const key = flags.text("idempotency-key");
  const { run } = await client.json<{ run: Run }>(`/v1/workflows/${encodeURIComponent(name)}/runs`, {
    body: { input: json(call, "input") },
    ...(key === undefined ? {} : { headers: { "idempotency-key": key } }),
  });
  return tellRun(client, call, run, "started");
}

async function cancel(client: HttpClient, call: Call): Promise<number> {
  const id = encodeURIComponent(operand(call, "cancel", "the ID of a run or a backfill"));
  try {
    const { run } = await client.json<{ run: Run }>(`/v1/runs/${id}/cancel`, { method: "POST" });
    return await tellRun(client, call, run, "is being cancelled");
  } catch (error) {
    if ((error as { code?: string }).code !== "RUN_UNKNOWN") throw error;
    const path = `/v1/backfills/${id}/cancel`;
    const { backfill } = await client.json<{ backfill: Backfill }>(path, { method: "POST" }).catch(() => {
      throw error; // neither of the two
    });
    tellBackfill(backfill, call);
    return 0;
  }
}

async function retry(client: HttpClient, call: Call): Promise<number> {
  const id = operand(call, "retry", "the ID of a run");
  const path = `/v1/runs/${encodeURIComponent(id)}/retry`;
  const { run } = await client.json<{ run: Run }>(path, { method: "POST" });
  return tellRun(client, call, run, "goes on");
}

async function signal(client: HttpClient, call: Call): Promise<number> {
  const { operands, flags, terminal } = call;
  const [, id, name] = operands;
  if (id === undefined || name === undefined) throw wrongUsage(runs, "runs signal needs the ID of a run and a NAME");
  const path = `/v1/runs/${encodeURIComponent(id)}/signals/${encodeURIComponent(name)}`;
  const answer = await client.json(path, { body: { data: json(call, "data") } });
  if (flags.has("json")) printJson(terminal, answer);
  else terminal.stdout.write(`Run ${id} has the signal ${name}.\n`);
  return 0;
}

async function backfill(client: HttpClient, call: Call): Promise<number> {
  const { flags } = call;
  const name = operand(call, "backfill", "the name of a WORKFLOW");
  const partitions = flags.texts("partition");
  const [from, to] = [flags.text("from"), flags.text("to")];
  if (partitions.length === 0 && (from === undefined || to === undefined))
    throw wrongUsage(runs, "runs backfill needs --from and --to, or --partition");
  const range = partitions.length > 0 ? { partitions } : { from, to, by: flags.text("by") ?? "day" };
  const concurrency = flags.text("concurrency");
  const path = `/v1/workflows/${encodeURIComponent(name)}/backfills`;
  const body = { ...range, ...(concurrency === undefined ? {} : { concurrency: Number(concurrency) }) };
  const answer = await client.json<{ backfill: Backfill }>(path, { body });
  let found = answer.backfill;
  while (flags.has("wait") && !found.done) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    found = await progress(client, found.id);
  }
  tellBackfill(found, call);
  return flags.has("wait") && found.runs["succeeded"] !== found.partitions ? 1 : 0;
}

async function progress(client: HttpClient, id: string): Promise<Backfill> {
  return (await client.json<{ backfill: Backfill }>(`/v1/backfills/${encodeURIComponent(id)}`)).backfill;
}

function tellBackfill(found: Backfill, { flags, terminal }: Call): void {
  if (flags.has("json")) {
    printJson(terminal, { backfill: found });
    return;
  }
  const counts = Object.entries(found.runs).filter(([, count]) => count > 0);
  const told = counts.map(([status, count]) => `${countText(count)} ${status}`).join(", ");
  terminal.stdout.write(
    `Backfill ${found.id} of ${found.workflow}: ${countText(found.partitions)} partitions, ${told}\n`,
  );
  for (const { partition, run, message } of found.failed)
    terminal.stderr.write(`${partition} (run ${run}): ${message}\n`);
}

/** Says how a run stands, at its end where that is waited for. */
async function tellRun(client: HttpClient, { flags, terminal }: Call, run: Run, what: string): Promise<number> {
  let found = run;
  const waits = flags.has("wait");
  while (waits && !FINISHED.includes(found.status)) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    found = (await client.json<{ run: Run }>(`/v1/runs/${run.id}`)).run;
  }
  const state =
    waits || found.error !== null ? `${found.status}${found.error === null ? "" : `: ${found.error.message}`}` : what;
  if (flags.has("json")) printJson(terminal, { run: found });
  else terminal.stdout.write(`Run ${found.id} of ${found.workflow} ${state}\n`);
  return waits && found.status !== "succeeded" ? 1 : 0;
}

function operand({ operands }: Call, action: string, what: string): string {
  const [, value, ...others] = operands;
  if (value === undefined || others.length > 0)
    throw wrongUsage(runs, `runs ${action} needs ${what}, and nothing else`);
  return value;
}

function json({ flags }: Call, name: string): unknown {
  const text = flags.text(name);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw wrongUsage(runs, `--${name} is no JSON: ${error instanceof Error ? error.message : error}`);
  }
}
