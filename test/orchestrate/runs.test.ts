import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { failed, succeeded } from "../../src/define/triggers.ts";
import { workflow } from "../../src/define/workflow.ts";
import { Database, TestOrchestrator, until } from "./open-orchestrator.ts";

describe("runs of workflows", () => {
  let database: Database;
  before(async () => {
    database = await Database.start();
  });
  after(() => database.stop());

  test("steps in sequence, in parallel and over items give their results, and are recorded in their order", async (t) => {
    const flow = workflow("flow", {}, async (run) => {
      const first = await run.step("first", () => ({ n: 1, at: new Date(0) }));
      const { a, b } = await run.parallel({
        a: () => run.step("same", async () => first.n + 1),
        b: () => run.step("same", () => first.n + 2),
      });
      const squares = await run.map("square", [1, 2, 3, 4, 5], (n) => run.step("one", () => n * n), { concurrency: 2 });
      run.log("done", { a, b });
      return { first, a, b, squares };
    });
    const o = await TestOrchestrator.open(t, await database.fresh(), [flow]);
    const id = await o.start("flow", { x: 1 });
    const run = await o.ended(id);
    assert.equal(run.status, "succeeded");
    assert.deepEqual(run.input, { x: 1 });
    assert.deepEqual(run.output, {
      first: { n: 1, at: "1970-01-01T00:00:00.000Z" },
      ...{ a: 2, b: 3, squares: [1, 4, 9, 16, 25] },
    });
    const steps = await o.steps(id);
    assert.deepEqual(
      steps.map(({ step, status, attempts }) => `${step} ${status} ${attempts}`),
      ["first", "parallel/a/same", "parallel/b/same", ...[0, 1, 2, 3, 4].map((i) => `square[${i}]/one`)].map(
        (key) => `${key} succeeded 1`,
      ),
    );
    assert.deepEqual(await o.log(id), ["done"]);
    assert.deepEqual(o.reported, []);
  });

  test("a failed step is tried again by the policy of its error, and what was retried in vain can be caught", async (t) => {
    let tries = 0;
    const refused = Object.assign(new Error("no"), { code: "REFUSED" });
    const flow = workflow(
      "flow",
      {
        retry: [
          { on: "REFUSED", attempts: 1 },
          { on: ["TypeError", "EAGAIN"], attempts: 4, delay: "1ms" },
        ],
      },
      async (run) => {
        const third = await run.step("flaky", ({ attempt }) => {
          tries++;
          if (attempt < 3) throw new TypeError(`attempt ${attempt}`);
          return attempt;
        });
        try {
          await run.step("refused", () => Promise.reject(refused));
        } catch (error) {
          const { code, message, name } = error as Error & { code: string };
          return { third, code, message, name };
        }
        return undefined;
      },
    );
    const o = await TestOrchestrator.open(t, await database.fresh(), [flow]);
    const id = await o.start("flow");
    assert.deepEqual((await o.ended(id)).output, { third: 3, code: "REFUSED", message: "no", name: "Error" });
    assert.equal(tries, 3);
    const [flaky, caught] = await o.steps(id);
    assert.deepEqual([flaky?.attempts, flaky?.status, caught?.attempts, caught?.status], [3, "succeeded", 1, "failed"]);
  });

  test("a step that never returns fails of its timeout, and its run with it", async (t) => {
    let aborted = false;
    const flow = workflow("flow", {}, (run) =>
      run.step(
        "stuck",
        ({ signal }) => {
          signal.addEventListener("abort", () => {
            aborted = true;
          });
          return new Promise(() => undefined);
        },
        { timeout: "20ms" },
      ),
    );
    const o = await TestOrchestrator.open(t, await database.fresh(), [flow]);
    const run = await o.ended(await o.start("flow"));
    assert.equal(run.status, "failed");
    assert.equal(run.error?.code, "STEP_TIMEOUT");
    assert.equal(run.error?.step, "stuck");
    assert.match(run.error?.message ?? "", /stuck took longer than 20 ms/);
    assert.ok(aborted);
  });

  test("when a run fails, completed steps are undone in reverse, and then the workflow has its say", async (t) => {
    const undone: unknown[] = [];
    const flow = workflow(
      "flow",
      { compensate: (run, error) => run.step("tell", () => void undone.push(error.message)) as Promise<void> },
      async (run) => {
        await run.step("book", () => "b1", { compensate: (output) => void undone.push(`book ${output}`) });
        await run.step("quiet", () => 1);
        await run.step("charge", () => "c1", { compensate: (output) => void undone.push(`charge ${output}`) });
        await run.step("ship", () => Promise.reject(new Error("no truck")));
      },
    );
    const o = await TestOrchestrator.open(t, await database.fresh(), [flow]);
    const id = await o.start("flow");
    const run = await o.ended(id);
    assert.equal(run.status, "failed");
    assert.equal(run.error?.message, "no truck");
    assert.deepEqual(undone, ["charge c1", "book b1", "no truck"]);
    assert.deepEqual(
      (await o.steps(id)).map(({ step }) => step),
      ["book", "quiet", "charge", "ship", "undo charge", "undo book", "compensate/tell"],
    );
  });

  test("a cancelled run stops where it waits, undoes what it did, and can be retried", async (t) => {
    const did: string[] = [];
    const flow = workflow("flow", {}, async (run) => {
      await run.step("book", () => void did.push("book"), { compensate: () => void did.push("undo") });
      return run.waitFor("go");
    });
    const o = await TestOrchestrator.open(t, await database.fresh(), [flow]);
    const id = await o.start("flow");
    await until(async () => (await o.steps(id)).some(({ status }) => status === "waiting"));
    await o.orchestrator.cancel(id, "ann");
    const run = await o.ended(id);
    assert.deepEqual(
      [run.status, run.error?.code, run.error?.message],
      ["cancelled", "RUN_CANCELLED", "the run was cancelled by ann"],
    );
    assert.deepEqual(did, ["book", "undo"]);
    await assert.rejects(o.orchestrator.cancel(id, ""), { code: "RUN_STATE" });
    await o.orchestrator.retry(id);
    await o.orchestrator.signal(id, "go", { by: "bob" });
    const again = await o.ended(id);
    assert.deepEqual([again.status, again.output], ["succeeded", { by: "bob" }]);
    assert.deepEqual(did, ["book", "undo", "book"]);
  });

  test("a retried run goes on at the step that failed", async (t) => {
    const did: string[] = [];
    let broken = true;
    const flow = workflow("flow", {}, async (run) => {
      await run.step("a", () => void did.push("a"));
      await run.step("b", ({ log }) => {
        did.push("b");
        log(`broken: ${broken}`);
        if (broken) throw new Error("broken");
      });
      await run.step("c", () => void did.push("c"));
    });
    const o = await TestOrchestrator.open(t, await database.fresh(), [flow]);
    const id = await o.start("flow");
    assert.equal((await o.ended(id)).status, "failed");
    broken = false;
    await o.orchestrator.retry(id);
    assert.equal((await o.ended(id)).status, "succeeded");
    assert.deepEqual(did, ["a", "b", "b", "c"]);
    assert.deepEqual(await o.log(id), ["broken: false"]);
  });

  test("after a stop a run goes on where it was, and completed steps are not run again", async (t) => {
    const did: string[] = [];
    let release: () => void = () => undefined;
    const flow = workflow("flow", {}, async (run) => {
      const a = await run.step("a", () => did.push("a"));
      const rest = await run.parallel("both", {
        x: async () => {
          await run.step("x1", () => did.push("x1"));
          return run.step("x2", () => did.push("x2"));
        },
        y: async () => {
          await run.step("y1", () => did.push("y1"));
          return run.step("y2", async () => {
            did.push("y2 begins");
            if (did.filter((what) => what === "y2 begins").length === 1) await new Promise<void>((r) => (release = r));
            return "y2";
          });
        },
      });
      return { a, rest };
    });
    const url = await database.fresh();
    const first = await TestOrchestrator.open(t, url, [flow]);
    const id = await first.start("flow");
    await until(() => did.includes("y2 begins") && did.includes("x2"));
    await until(async () => (await first.steps(id)).filter(({ status }) => status === "succeeded").length === 4);
    await first.close({ crash: true });
    release();
    const second = await TestOrchestrator.open(t, url, [flow]);
    const run = await second.ended(id);
    assert.deepEqual(run.output, { a: 1, rest: { x: run.output && (run.output as never)["rest"]["x"], y: "y2" } });
    assert.deepEqual(did.filter((what) => what !== "y2 begins").sort(), ["a", "x1", "x2", "y1"]);
    assert.equal(did.filter((what) => what === "y2 begins").length, 2);
  });

  test("a run whose code no longer asks for what was recorded is stopped, and goes on when the code is back", async (t) => {
    const url = await database.fresh();
    const gate = (name: string, input?: unknown) =>
      workflow("flow", {}, async (run) => {
        await run.step(name, () => 1, { input });
        return run.waitFor("go");
      });
    const first = await TestOrchestrator.open(t, url, [gate("old", { a: 1, b: 2 })]);
    const id = await first.start("flow");
    await until(async () => (await first.steps(id)).length === 2);
    await first.close({ crash: true });
    const renamed = await TestOrchestrator.open(t, url, [gate("new")]);
    const run = await renamed.ended(id);
    assert.equal(run.error?.code, "RUN_CHANGED");
    assert.match(run.error?.message ?? "", /asks for new, where old was recorded/);
    await renamed.close();
    const other = await TestOrchestrator.open(t, url, [gate("old", { a: 1, b: 3 })]);
    await other.orchestrator.retry(id);
    assert.match((await other.ended(id)).error?.message ?? "", /the input of old is not the one recorded/);
    await other.close();
    const back = await TestOrchestrator.open(t, url, [gate("old", { b: 2, a: 1 })]);
    await back.orchestrator.retry(id);
    await back.orchestrator.signal(id, "go", "on");
    assert.equal((await back.ended(id)).output, "on");
  });

  test("one idempotency key is one run; other keys, other runs", async (t) => {
    const flow = workflow("flow", {}, (run) => run.step("once", () => 1));
    const o = await TestOrchestrator.open(t, await database.fresh(), [flow]);
    const ids = await Promise.all(["k", "k", "k", "l"].map((key) => o.start("flow", {}, key)));
    assert.deepEqual(new Set(ids).size, 2);
    assert.equal(ids[0], ids[1]);
    await assert.rejects(o.start("flwo"), { code: "WORKFLOW_UNKNOWN", message: /did you mean "flow"/ });
  });

  test("a limit holds for the workflow, and for each value of its key", async (t) => {
    let most = 0;
    let now = 0;
    const busy = async () => {
      most = Math.max(most, ++now);
      await sleep(5);
      now--;
    };
    const all = workflow("all", { concurrency: 2 }, (run) => run.step("busy", busy));
    const under = new Map<string, number>();
    let keyed = 0;
    const each = workflow(
      "each",
      { concurrency: { limit: 1, key: (input: { shop: string }) => input.shop } },
      async (run) => {
        const { shop } = run.input as { shop: string };
        await run.step("busy", async () => {
          under.set(shop, (under.get(shop) ?? 0) + 1);
          keyed = Math.max(
            keyed,
            [...under.values()].reduce((a, b) => a + b),
          );
          assert.equal(under.get(shop), 1);
          await sleep(20);
          under.set(shop, 0);
        });
      },
    );
    const o = await TestOrchestrator.open(t, await database.fresh(), [all, each]);
    const ids = await Promise.all(Array.from({ length: 9 }, () => o.start("all")));
    for (const id of ids) assert.equal((await o.ended(id)).status, "succeeded");
    assert.equal(most, 2);
    const shops = await Promise.all(["a", "b", "c", "a", "b", "c"].map((shop) => o.start("each", { shop })));
    for (const id of shops) assert.equal((await o.ended(id)).error, null);
    assert.ok(keyed > 1, "different keys run at once");
  });

  test("a concurrency key that cannot be kept is refused, and nothing is started", async (t) => {
    const key = (input: unknown) => input as string;
    const flow = workflow("flow", { concurrency: { limit: 1, key } }, () => 1);
    const o = await TestOrchestrator.open(t, await database.fresh(), [flow]);
    for (const input of ["a\ud800b", "k".repeat(2_001)])
      await assert.rejects(o.start("flow", input), { code: "RUN_INPUT_INVALID" });
    assert.deepEqual(await o.runs("flow"), []);
    assert.equal((await o.ended(await o.start("flow", "k".repeat(2_000)))).status, "succeeded");
  });

  test("a sub-workflow is a run of its own: its output comes back, its failure can be caught, its retry is a new run", async (t) => {
    let broken = true;
    const child = workflow("child", {}, async (run) => {
      const { n } = run.input as { n: number };
      return run.step("double", () => {
        if (n < 0 && broken) throw new Error("negative");
        return n * 2;
      });
    });
    const parent = workflow("parent", {}, async (run) => {
      const good = await run.workflow<number>(child, { n: 2 });
      const bad = await run.workflow<number>("child", { n: -1 });
      return good + bad;
    });
    const o = await TestOrchestrator.open(t, await database.fresh(), [child, parent], { capacity: 1 });
    const id = await o.start("parent");
    const run = await o.ended(id);
    assert.deepEqual([run.status, run.error?.code, run.error?.step], ["failed", "RUN_FAILED", "child#2"]);
    assert.match(run.error?.message ?? "", /negative/);
    broken = false;
    await o.orchestrator.retry(id);
    assert.equal((await o.ended(id)).output, 2);
    const children = await o.runs("child");
    assert.deepEqual(children.map(({ status }) => status).sort(), ["failed", "succeeded", "succeeded"]);
  });

  test("cancelling a run cancels its sub-workflow", async (t) => {
    const child = workflow("child", {}, (run) => run.sleep("1h"));
    const parent = workflow("parent", {}, (run) => run.workflow("child"));
    const o = await TestOrchestrator.open(t, await database.fresh(), [child, parent]);
    const id = await o.start("parent");
    await until(async () => (await o.runs("child"))[0]?.status === "running");
    await o.orchestrator.cancel(id, "");
    assert.equal((await o.ended(id)).status, "cancelled");
    assert.equal((await o.runs("child"))[0]?.status, "cancelled");
  });

  test("a workflow that would wait for itself is refused", async (t) => {
    const flow = workflow("flow", { concurrency: 1 }, (run) => run.workflow("flow"));
    const o = await TestOrchestrator.open(t, await database.fresh(), [flow]);
    const run = await o.ended(await o.start("flow"));
    assert.match(run.error?.message ?? "", /would wait for itself/);
  });

  test("success and failure start what follows them, once", async (t) => {
    const seen: unknown[] = [];
    const first = workflow("first", {}, async (run) => {
      if ((run.input as { ok: boolean }).ok) return 7;
      throw new Error("down");
    });
    const report = workflow("report", { on: [succeeded("first")] }, (run) => void seen.push(run.input));
    const alarm = workflow("alarm", { on: [failed("first")] }, (run) => void seen.push(run.input));
    const o = await TestOrchestrator.open(t, await database.fresh(), [first, report, alarm]);
    const good = await o.start("first", { ok: true });
    const bad = await o.start("first", { ok: false });
    await until(() => seen.length === 2);
    assert.deepEqual(
      seen
        .map((input) => {
          const { run, output, error } = input as { run: string; output: unknown; error: { message: string } | null };
          return [run, output, error?.message];
        })
        .sort(),
      [
        [good, 7, undefined],
        [bad, null, "down"],
      ].sort(),
    );
    const [followed] = await o.runs("report");
    assert.deepEqual(followed?.cause, { kind: "succeeded", by: "first" });
  });

  test("a run that takes its platform down again and again is given up, and can be retried", async (t) => {
    const url = await database.fresh();
    const flow = workflow("flow", {}, async (run) => {
      await run.step("fine", () => 1);
      return run.step("deadly", ({ signal }) => new Promise((resolve) => signal.addEventListener("abort", resolve)));
    });
    const first = await TestOrchestrator.open(t, url, [flow]);
    const id = await first.start("flow");
    await until(async () => (await first.steps(id)).some(({ step }) => step === "deadly"));
    await first.close({ crash: true });
    for (let life = 1; life < 5; life++) {
      const o = await TestOrchestrator.open(t, url, [flow]);
      await until(async () => (await o.run(id)).status === "running");
      await o.close({ crash: true });
    }
    const last = await TestOrchestrator.open(t, url, [flow]);
    const { error } = await last.ended(id);
    assert.equal(error?.code, "RUN_INTERRUPTED");
    assert.match(error?.message ?? "", /died 5 times in a row while this run was under way at deadly/);
    await last.close();
    const mended = workflow("flow", {}, async (run) => {
      await run.step("fine", () => 2);
      return run.step("deadly", () => "alive");
    });
    const o = await TestOrchestrator.open(t, url, [mended]);
    await o.orchestrator.retry(id);
    assert.equal((await o.ended(id)).output, "alive");
  });

  test("a run that takes longer than its workflow allows fails, waits included, and is undone", async (t) => {
    const undone: string[] = [];
    const flow = workflow("flow", { timeout: "3s" }, async (run) => {
      await run.step("book", () => 1, { compensate: () => void undone.push("book") });
      await run.sleep("1h");
    });
    const o = await TestOrchestrator.open(t, await database.fresh(), [flow]);
    const run = await o.ended(await o.start("flow"));
    assert.deepEqual([run.status, run.error?.code, undone], ["failed", "RUN_TIMEOUT", ["book"]]);
  });

  test("a workflow that is no longer defined fails with its name, and its run goes on when it is back", async (t) => {
    const url = await database.fresh();
    const flow = workflow("flow", {}, (run) => run.waitFor("go"));
    const first = await TestOrchestrator.open(t, url, [flow]);
    const id = await first.start("flow");
    await until(async () => (await first.steps(id)).length === 1);
    await first.close();
    const other = await TestOrchestrator.open(t, url, [workflow("flew", {}, () => 1)]);
    const { error } = await other.ended(id);
    assert.deepEqual(
      [error?.code, error?.message],
      ["WORKFLOW_UNKNOWN", 'there is no workflow "flow"; did you mean "flew"?'],
    );
    await other.close();
    const back = await TestOrchestrator.open(t, url, [flow]);
    await back.orchestrator.retry(id);
    await back.orchestrator.signal(id, "go", 1);
    assert.equal((await back.ended(id)).output, 1);
  });

  test("what a step may not do is said: steps within steps, values JSON cannot say, names", async (t) => {
    const nested = workflow("nested", {}, (run) => run.step("outer", () => run.step("inner", () => 1)));
    const strange = workflow("strange", {}, (run) => run.step("give", () => 10n));
    const nul = workflow("nul", {}, (run) => run.step("give", () => "a\0b"));
    const large = workflow("large", {}, (run) => run.step("give", () => "x".repeat(2_000_000)));
    const o = await TestOrchestrator.open(t, await database.fresh(), [nested, strange, nul, large]);
    const wanted = { nested: /inside step outer/, strange: /BigInt/, nul: /U\+0000/, large: /1048576 are allowed/ };
    for (const [name, message] of Object.entries(wanted)) {
      const { error } = await o.ended(await o.start(name));
      assert.equal(error?.code, "STEP_INVALID", name);
      assert.match(error?.message ?? "", message);
    }
  });
});
