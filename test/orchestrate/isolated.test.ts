import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { IsolatedOptions, Run } from "../../src/define/workflow.ts";
import { workflow } from "../../src/define/workflow.ts";
import { groupMemoryBytes } from "../../src/orchestrate/process-group.ts";
import { RunningPlatform } from "../platform/running-platform.ts";
import { Database, TestOrchestrator, until } from "./open-orchestrator.ts";
import type { fails, sum } from "./project/steps/heavy.ts";

const PROJECT = join(import.meta.dirname, "project");
const MODULE = new URL("./project/steps/heavy.ts", import.meta.url);

describe("isolated steps", () => {
  let database: Database;
  let dir: string;
  before(async () => {
    database = await Database.start();
    dir = mkdtempSync(join(tmpdir(), "millrace-isolated-"));
  });
  after(async () => {
    await database.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  /** An orchestrator whose one workflow is the body given. */
  async function open(t: Parameters<typeof TestOrchestrator.open>[0], body: (run: Run) => unknown) {
    const flow = workflow("flow", {}, body);
    return TestOrchestrator.open(t, await database.fresh(), [flow], { dir: PROJECT });
  }

  /** Executes calls of exports of the project's module, as many as are asked for. */
  const openCalls = (t: Parameters<typeof TestOrchestrator.open>[0]) =>
    open(t, (run) => run.isolated("work", { module: MODULE.href, ...(run.input as object) }));

  async function outcome(o: TestOrchestrator, options: Partial<IsolatedOptions>) {
    const id = await o.start("flow", options);
    const { status, output, error } = await o.ended(id);
    return { id, status, output, error };
  }

  test("a function gets its input and context, and its result, log and output are recorded as those of other steps", async (t) => {
    const input = { numbers: [1, 2, 3] };
    const o = await open(t, async (run) => {
      const { total, pid } = await run.isolated<typeof sum>("sum", { module: MODULE, export: "sum", input });
      const again = await run.isolated("default", { module: "steps/heavy.ts", input: total });
      return { total, again, elsewhere: pid !== process.pid };
    });
    const id = await o.start("flow");
    const run = await o.ended(id);
    assert.deepEqual(run.output, { total: 6, again: { input: 6 }, elsewhere: true }, JSON.stringify(run.error));
    const [first] = await o.steps(id);
    const { pid: _, ...output } = (first?.output ?? {}) as Record<string, unknown>;
    assert.deepEqual(output, {
      ...{ total: 6, at: "1970-01-01T00:00:00.000Z", attempt: 1, idempotencyKey: `${id}/sum`, own: "function" },
    });
    assert.deepEqual([first?.kind, first?.input], ["isolated", { module: "steps/heavy.ts", export: "sum", input }]);
    assert.deepEqual((await o.log(id)).sort(), ["summing", "to stderr", "to stdout"]);
  });

  test("a function that never returns is ended at its timeout", async (t) => {
    const o = await openCalls(t);
    const { error } = await outcome(o, { export: "never", timeout: "1500ms" });
    assert.equal(error?.code, "STEP_TIMEOUT");
    assert.equal(error?.step, "work");
  });

  test("a function that eats heap, Buffers or memory elsewhere is ended by its limit", async (t) => {
    const o = await openCalls(t);
    for (const name of ["eatHeap", "eatBuffers", "eatElsewhere"]) {
      const { error } = await outcome(o, { export: name, memoryBytes: 150_000_000 });
      assert.equal(error?.code, "STEP_MEMORY", `${name}: ${JSON.stringify(error)}`);
      assert.match(error?.message ?? "", /work used more memory than its limit of 150000000 bytes/);
    }
  });

  test("what a function throws is retried by its policy, thrown with code and details, and can be caught", async (t) => {
    const notes = join(dir, "fails");
    const work = { module: MODULE, export: "fails", input: { notes } };
    const o = await open(t, async (run) => {
      const caught = await run.isolated<typeof fails>("once", work).catch((error: Error) => ({ ...error }));
      const retry = { on: "NOT_YET", attempts: 3, delay: "1ms" };
      return { caught, third: await run.isolated<typeof fails>("thrice", { ...work, retry }) };
    });
    const run = await o.ended(await o.start("flow"));
    assert.deepEqual(run.output, {
      caught: { name: "RangeError", code: "NOT_YET", step: "once", details: { attempt: 1 } },
      third: 3,
    });
    assert.equal(readFileSync(notes, "utf8"), "attempt 1\nattempt 1\nattempt 2\nattempt 3\n");
  });

  test("a process that ends before the function has given anything is a clear error", async (t) => {
    const o = await openCalls(t);
    const cases: [Partial<IsolatedOptions>, string, RegExp][] = [
      [
        { export: "exits", input: { code: 0 } },
        "STEP_DIED",
        /exit code 0 before .* it called process\.exit.*: so long/,
      ],
      [{ export: "exits", input: { code: 7 } }, "STEP_DIED", /exit code 7 before the step gave anything: so long/],
      [{ export: "waitsForNothing" }, "STEP_DIED", /waits for what cannot come/],
      [{ export: "dies" }, "STEP_DIED", /was ended by SIGSEGV/],
      [{ export: "throwsLater" }, "TypeError", /out of a timer/],
      [{ export: "garbles" }, "STEP_DIED", /file descriptor 3/],
    ];
    for (const [options, code, message] of cases) {
      const { error } = await outcome(o, options);
      assert.equal(error?.code, code, JSON.stringify(error));
      assert.match(error?.message ?? "", message);
    }
  });

  test("what cannot be recorded, and what is not there to be called, is refused", async (t) => {
    const o = await openCalls(t);
    const cases: [Partial<IsolatedOptions>, RegExp][] = [
      [{ export: "givesFunction" }, /gave a function, which JSON cannot say/],
      [{ export: "givesTooMuch" }, /gave 2000002 bytes of JSON/],
      [{ export: "summ" }, /asks heavy\.ts for summ, which is no function it exports.*"sum"/],
      [{ module: "steps/havy.ts" }, /has the module steps\/havy\.ts, which is not there/],
      [{ module: "../runs.test.ts" }, /which is not in the project's folder/],
      [{ module: "https://example.com/heavy.ts" }, /it must be a file/],
      [{ export: "sum", memoryBytes: 1 }, /has the memoryBytes 1; it must be a whole number, at least 67108864/],
    ];
    for (const [options, message] of cases) {
      const { error } = await outcome(o, options);
      assert.equal(error?.code, "STEP_INVALID", JSON.stringify(error));
      assert.match(error?.message ?? "", message);
    }
  });

  test("a cancel in the middle aborts the function's signal, ends all of its group and undoes what was done", async (t) => {
    const notes = join(dir, "cancelled");
    const o = await open(t, async (run) => {
      const compensate = (output: unknown, { log }: { log: (message: string) => void }) =>
        log(`undone ${JSON.stringify(output)}`);
      await run.isolated("before", { module: MODULE, input: 1, compensate });
      await run.parallel({
        heeds: () => run.isolated("heeds", { module: MODULE, export: "heeds", input: { notes } }),
        deaf: () => run.isolated("deaf", { module: MODULE, export: "never" }),
      });
    });
    const id = await o.start("flow");
    await until(async () => (await o.log(id)).length === 2);
    const processes = await o.state.query<{ pid: number }>(
      "select (detail ->> 'pid')::integer as pid from millrace.run_steps where run = $1 and detail is not null",
      [id],
    );
    assert.equal(processes.length, 2);
    await o.orchestrator.cancel(id, "ann");
    assert.equal((await o.ended(id)).status, "cancelled");
    assert.equal(readFileSync(notes, "utf8"), "the run was cancelled by ann\n");
    for (const { pid } of processes) assert.equal(groupMemoryBytes(pid), 0);
    assert.ok((await o.log(id)).includes('undone {"input":1}'));
  });

  test("a step that was cut off by a stop of the platform is done again by the next life, and its process is gone", async (t) => {
    const url = await database.fresh();
    let timeout = "1h";
    const flow = workflow("flow", {}, (run) => run.isolated("never", { module: MODULE, export: "never", timeout }));
    const first = await TestOrchestrator.open(t, url, [flow], { dir: PROJECT });
    const id = await first.start("flow");
    await until(async () => (await first.log(id)).length > 0);
    await first.close();
    timeout = "1s";
    const second = await TestOrchestrator.open(t, url, [flow], { dir: PROJECT });
    assert.equal((await second.ended(id)).error?.code, "STEP_TIMEOUT");
    const [step] = await second.steps(id);
    assert.equal(step?.attempts, 1);
  });

  test("a function that says very much keeps its result, and its log what fits", async (t) => {
    const input = { lines: 12_000, length: 5_000_000 };
    const o = await openCalls(t);
    const { output, id, error } = await outcome(o, { export: "talks", input });
    assert.equal(output, "said", JSON.stringify(error));
    const [{ count } = { count: 0 }] = await o.state.query<{ count: number }>(
      "select count(*)::integer as count from millrace.run_logs where run = $1",
      [id],
    );
    assert.equal(count, 10_000);
  });

  test("when the machine is out of memory the kernel takes an isolated step first", {
    skip: process.platform === "linux" ? false : "oom_score_adj is Linux's",
  }, async (t) => {
    assert.equal((await outcome(await openCalls(t), { export: "preference" })).output, "1000");
  });
});

test("while isolated steps never return and eat memory, the platform takes events and answers SQL", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "millrace-isolated-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  await using platform = await RunningPlatform.start("test/orchestrate/project", join(dir, "data"));
  const start = async (input: unknown) => {
    const { code, stdout, stderr } = await platform.command(
      ...["runs", "start", "heavy", "--input", JSON.stringify(input), "--json"],
    );
    assert.equal(code, 0, stderr);
    return (JSON.parse(stdout) as { run: { id: string } }).run.id;
  };
  const status = async (id: string) =>
    (await platform.get<{ run: { status: string; error: { code: string } | null } }>(`/v1/runs/${id}`)).body.run;
  const never = await start({ export: "never" });
  const logs = `/v1/runs/${never}/logs`;
  await until(async () => (await platform.get<{ logs: unknown[] }>(logs)).body.logs.length > 0);
  const eater = await start({ export: "eatHeap", memoryBytes: 150_000_000 });
  let id = 0;
  do {
    await platform.post("orders", [{ id: `${id++}`, shop: "a", amount: 1 }]);
    assert.deepEqual(await platform.sql("select count(*) from orders"), [[id]]);
  } while ((await status(eater)).status === "running");
  assert.equal((await status(eater)).error?.code, "STEP_MEMORY");
  assert.equal((await status(never)).status, "running", "it was answered beside a function that never returns");
  await platform.command("runs", "cancel", never);
  await until(async () => (await status(never)).status === "cancelled");
});
