import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { Figures } from "../../examples/timesheets/simulator/truth.ts";
import type { LedgerAnswer } from "../../src/cli/ledger.ts";
import { temporaryFolder } from "../flow/open-flow.ts";
import { RunningPlatform } from "../platform/running-platform.ts";

/*
 * The whole journey, once: simulated users send through Segment's SDK and the tracker, the platform makes sessions and gold of it and publishes
 * to PostgreSQL, where a BI user reads it. What the tables say is held to what the simulated people really did.
 */
const EXAMPLE = resolve(import.meta.dirname, "../../examples/timesheets");

/** What the truth is compared with; the same SQL for the lake and for PostgreSQL. */
const FIGURES: Readonly<Record<keyof Figures, string>> = {
  daily: "select cast(day as varchar), active_users, visitors, new_users from gold.active_users_daily",
  weekly: "select cast(week as varchar), active_users from gold.active_users_weekly where active_users > 0",
  retention: "select cast(cohort_week as varchar), weeks_since, active_users from gold.retention_weekly",
  funnel: `select cast(cohort_week as varchar), signed_up, created_project, started_timer, viewed_report from gold.funnel_weekly`,
  features: "select cast(day as varchar), event, platform, app_version, uses, users from gold.feature_usage",
  hours: "select cast(day as varchar), client, project, entries, hours, billable_hours from gold.hours",
  sessions: "select cast(day as varchar), platform, sessions, events, bounces, seconds from gold.session_quality",
};

interface Summary {
  readonly messages: { readonly acknowledged: number; readonly resent: number };
  readonly records: { readonly acknowledged: number; readonly resent: number };
}

type Hop = LedgerAnswer["hops"][number];

let dir: Awaited<ReturnType<typeof temporaryFolder>>;
let platform: RunningPlatform;
let summary: Summary;
let truth: Figures;

before(async () => {
  dir = await temporaryFolder();
  platform = await RunningPlatform.start("examples/timesheets", join(dir.path, "data"), ["--bi-port", "0"]);
  const truthFile = join(dir.path, "truth.json");
  const plays = ["--people", "300", "--history", "21", "--now", "2026-01-15T14:30:00Z", "--seed", "5", "--for", "4s"];
  const child = spawn(process.execPath, [join(EXAMPLE, "simulator.ts"), ...plays, "--truth", truthFile, "--json"], {
    env: { ...process.env, MILLRACE_URL: platform.url, MILLRACE_KEY: platform.key },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  assert.equal(code, 0, stderr);
  summary = JSON.parse(stdout) as Summary;
  truth = JSON.parse(await readFile(truthFile, "utf8")) as Figures;
});

after(async () => {
  await platform?.stop();
  await dir?.[Symbol.asyncDispose]();
});

test("every figure of gold is what the simulated people really did", async () => {
  assert.ok(summary.messages.acknowledged > 3_000 && summary.messages.resent > 0 && summary.records.resent > 0);
  for (const [figure, sql] of Object.entries(FIGURES) as [keyof Figures, string][])
    compare(figure, await platform.sql(sql));
});

test("the ledger accounts for everything the clients sent, what was sent twice and what is broken included", async () => {
  const hops = await until("everything is stored", async () => {
    const { body } = await platform.get<LedgerAnswer>("/v1/ledger");
    assert.equal(body.balanced, true);
    return body.hops.some(({ pending }) => pending > 0) ? undefined : body.hops;
  });
  const [app, entries, projects] = ["app", "time_entries", "projects"].map((stream) => {
    const found = hops.find(({ hop }) => hop === `silver.${stream}`);
    assert.ok(found, stream);
    return found;
  }) as [Hop, Hop, Hop];
  const { acknowledged, resent } = summary.messages;
  assert.deepEqual([app.stored, app.duplicate, app.deadLettered], [acknowledged, resent, 0]);
  assert.deepEqual(await platform.sql("select count(*) from silver.app where plan_violation is not null"), [[0]]);
  assert.equal(entries.duplicate + projects.duplicate, summary.records.resent);
  assert.equal(entries.stored + projects.stored + entries.deadLettered, summary.records.acknowledged);
  const [letters] = await platform.sql(
    `select count(*), count(*) filter (message like '%"ends_after_its_start"%') from system.dead_letters
      where table_name = 'silver.time_entries'`,
  );
  assert.ok(entries.deadLettered > 0, "no broken entry among them");
  assert.deepEqual(letters, [entries.deadLettered, entries.deadLettered]);
});

test("the job runs on its schedule, its success starts the report, and both leave nothing to be published", async () => {
  await until("the schedule has started a job", async () => {
    const [jobs] = await platform.sql(
      "select count(*) from system.runs where workflow = 'preprocess' and status = 'succeeded' and cause = 'cron'",
    );
    return jobs?.[0] === 0 ? undefined : true;
  });
  const started = await platform.command("runs", "start", "preprocess", "--wait", "--json");
  assert.equal(started.code, 0, started.stderr);
  const { id } = (JSON.parse(started.stdout) as { run: { id: string } }).run;
  const [report] = await until("the report has followed", async () => {
    const runs = await platform.sql(
      `select status, cause, started_by from system.runs where workflow = 'report' and json_extract_string(input, '$.run') = '${id}'`,
    );
    return runs[0]?.[0] === "running" || runs[0]?.[0] === "queued" || runs.length === 0 ? undefined : runs;
  });
  assert.deepEqual(report, ["succeeded", "succeeded", "preprocess"]);
  await until("everything is published", async () => {
    const [hops] = await platform.sql(
      "select count(*), max(versions_behind) from system.ledger where hop = 'publish' and published_version is not null",
    );
    return hops?.[0] === 7 && hops[1] === 0 ? true : undefined;
  });
});

test("a BI user reads the same figures in PostgreSQL, and every report of reports.sql has rows", async () => {
  const made = await platform.command("bi-users", "create", "metabase", "--json");
  assert.equal(made.code, 0, made.stderr);
  const { password, address } = JSON.parse(made.stdout) as {
    password: string;
    address: { host: string; port: number; database: string };
  };
  const bi = new pg.Client({ ...address, user: "metabase", password });
  await bi.connect();
  try {
    const rows = async (sql: string) => (await bi.query({ text: sql, rowMode: "array" })).rows as unknown[][];
    for (const [figure, sql] of Object.entries(FIGURES) as [keyof Figures, string][]) compare(figure, await rows(sql));
    const reports = (await readFile(join(EXAMPLE, "reports.sql"), "utf8"))
      .split(/;\s*$/m)
      .filter((sql) => sql.trim() !== "");
    assert.equal(reports.length, 8);
    for (const sql of reports) assert.ok((await rows(sql)).length > 0, sql);
    await assert.rejects(bi.query("delete from gold.hours"), /read-only|permission denied/);
  } finally {
    await bi.end();
  }
});

/** Rows in the order of the truth's, and the truth in the units of the tables. */
function compare(figure: keyof Figures, rows: unknown[][]): void {
  const got = rows.map((row) =>
    row.map((value) => (typeof value === "string" && /^\d+(\.\d+)?$/.test(value) ? Number(value) : value)),
  );
  const wanted = truth[figure].map((row) => {
    if (figure === "hours")
      return [...row.slice(0, 4), ...row.slice(4).map((ms) => Math.round(Number(ms) / 36_000) / 100)];
    return figure === "sessions" ? [...row.slice(0, 5), Number(row[5]) / 1_000] : [...row];
  });
  const inOrder = (list: unknown[][]) => list.toSorted((a, b) => (String(a) < String(b) ? -1 : 1));
  if (figure !== "sessions") {
    assert.deepEqual(inOrder(got), inOrder(wanted), figure);
    return;
  }
  // The platform measures by clocks that differ by the time of the way, which is not the same for each packet of a visit.
  const counts = (list: unknown[][]) => inOrder(list.map((row) => row.slice(0, 5)));
  assert.deepEqual(counts(got), counts(wanted), figure);
  const total = (list: unknown[][]) => list.reduce((sum, row) => sum + Number(row[5]), 0);
  assert.ok(Math.abs(total(got) / total(wanted) - 1) < 0.02, `${total(got)} seconds in all, not ${total(wanted)}`);
  const ordered = inOrder(got);
  for (const [i, row] of inOrder(wanted).entries()) {
    const [day, platform, sessions, , , seconds] = row as [string, string, number, number, number, number];
    const measured = Number(ordered[i]?.[5]);
    const apart = Math.abs(measured - seconds);
    assert.ok(apart <= 20 * sessions, `${day}, ${platform}: ${measured} s in ${sessions} sessions, not ${seconds}`);
  }
}

async function until<Value>(what: string, look: () => Promise<Value | undefined>): Promise<Value> {
  for (let tries = 0; tries < 300; tries++) {
    const found = await look();
    if (found !== undefined) return found;
    await sleep(200);
  }
  throw new Error(`it did not come to pass that ${what}`);
}
