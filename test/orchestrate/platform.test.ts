import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { RunningPlatform } from "../platform/running-platform.ts";
import { until } from "./open-orchestrator.ts";

interface RunView {
  readonly id: string;
  readonly status: string;
  readonly input: Record<string, unknown>;
  readonly output: Record<string, never>;
}

test("workflows run in the platform: by commit, by clock, by command and API; runs are seen as a table, over HTTP and by command", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "millrace-workflows-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await using platform = await RunningPlatform.start("test/orchestrate/project", join(dir, "data"), [
    "--flush-interval",
    "100ms",
  ]);

  await platform.post("orders", [
    { id: "1", shop: "a", amount: 2 },
    { id: "2", shop: "a", amount: 3 },
  ]);
  const done = async (workflow: string) => {
    const { body } = await platform.get<{ runs: RunView[] }>(`/v1/runs?workflow=${workflow}&status=succeeded`);
    return body.runs;
  };
  await until(async () => (await done("report")).length > 0);
  const [report] = await done("report");
  assert.equal(report?.input["table"], "silver.orders");
  assert.equal(report?.input["rows"], 2);
  assert.deepEqual(report?.output["rows"], [{ shop: "a", orders: 2 }]);
  assert.deepEqual(report?.output["said"], { exitCode: 0, stdout: "hello\n", stderr: "to stderr\n" });

  await until(async () => (await done("often")).length > 1);

  const file = join(dir, "notes");
  const started = await platform.command(
    ...["runs", "start", "steps", "--input", JSON.stringify({ file, count: 3, pauseMs: 1 })],
    ...["--idempotency-key", "one", "--wait", "--json"],
  );
  assert.equal(started.code, 0, started.stderr);
  const { run } = JSON.parse(started.stdout) as { run: RunView };
  assert.deepEqual([run.status, run.output], ["succeeded", { total: 3 }]);
  const shown = await platform.command("runs", "show", run.id, "--logs");
  assert.match(shown.stdout, /parallel\/left\/item\[2\]\/do +step +succeeded/);
  const logs = await platform.command("runs", "show", report!.id, "--logs");
  assert.match(logs.stdout, /\[sh\] hello/);
  assert.match((await platform.command("runs", "list", "--workflow", "steps")).stdout, /manual admin/);
  const again = await platform.command(...["runs", "start", "steps", "--idempotency-key", "one", "--json"]);
  assert.equal((JSON.parse(again.stdout) as { run: RunView }).run.id, run.id);

  const rows = await platform.sql(
    "select workflow, status, output->>'total', elapsed_ms >= 0, started_at <= finished_at from system.runs where workflow = 'steps'",
  );
  assert.deepEqual(rows, [["steps", "succeeded", "3", true, true]]);
  const steps = await platform.sql(
    `select count(*), max(attempts) from system.run_steps s join system.runs r on r.id = s.run where workflow = 'steps' and s.kind = 'step'`,
  );
  assert.deepEqual(steps, [[7, 1]]);

  const backfill = await platform.command(
    ...[
      "runs",
      "backfill",
      "often",
      "--from",
      "2026-01-30",
      "--to",
      "2026-02-02",
      "--concurrency",
      "2",
      "--wait",
      "--json",
    ],
  );
  assert.equal(backfill.code, 0, backfill.stderr);
  const { partitions, runs } = (
    JSON.parse(backfill.stdout) as { backfill: { partitions: number; runs: { succeeded: number } } }
  ).backfill;
  assert.deepEqual([partitions, runs.succeeded], [4, 4]);

  assert.equal((await platform.command("runs", "start", "stepz")).code, 1);
  assert.match((await platform.command("runs", "start", "stepz")).stderr, /did you mean "steps"/);
  assert.match(
    (await platform.command("runs", "cancel", run.id)).stderr,
    /only runs that are not over can be cancelled/,
  );
  assert.match((await platform.command("runs", "shwo", run.id)).stderr, /did you mean "show"/);
  assert.equal((await platform.get("/v1/runs/nobody")).status, 404);
});
