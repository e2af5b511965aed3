import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { workflow } from "../../src/define/workflow.ts";
import { LoopWatch } from "../../src/orchestrate/loop-watch.ts";
import { Database, TestOrchestrator } from "./open-orchestrator.ts";

describe("steps that hold up the event loop", () => {
  let database: Database;
  before(async () => {
    database = await Database.start();
  });
  after(() => database.stop());

  /** A watch whose time only the test moves: `wait` is time of others, `compute` this thread's own. */
  function open() {
    let nowMs = 1_000;
    let cpuMs = 0;
    const told: string[] = [];
    const warn = ({ step, ms, totalMs }: Readonly<Record<string, unknown>>, what: string) =>
      told.push(`${step} ${what.includes("was under way") ? "perhaps" : "surely"} ${ms} ${totalMs}`);
    const watch = new LoopWatch({ warn, nowMs: () => nowMs, cpuMs: () => cpuMs });
    const lines: string[] = [];
    const begin = (step: string) =>
      watch.begin({ run: "r", workflow: "w", step, log: (message) => lines.push(message) });
    const wait = (ms: number) => {
      nowMs += ms;
    };
    const compute = (ms: number) => {
      wait(ms);
      cpuMs += ms;
    };
    return { watch, begin, wait, compute, told, lines };
  }

  test("a function that computes before it first awaits is named, once, in both logs", () => {
    const { watch, begin, compute, told, lines } = open();
    const step = begin("crunch");
    assert.equal(
      step.call(() => {
        compute(700);
        return 1;
      }),
      1,
    );
    watch.beat();
    step.end();
    assert.deepEqual(told, ["crunch surely 700 700"]);
    assert.match(lines.join(), /step crunch of workflow w held up the platform for 700 ms: .* run\.isolated/);
  });

  test("after an await, and at its very end, whatever steps were under way are named as perhaps", () => {
    const { watch, begin, compute, told } = open();
    const [a, b] = [begin("a"), begin("b")];
    compute(300);
    watch.beat();
    a.end();
    const late = begin("late");
    compute(50);
    watch.beat();
    late.call(() => undefined);
    compute(5_000);
    late.end();
    b.end();
    assert.deepEqual(told, ["a perhaps 300 300", "b perhaps 300 300", "b perhaps 5000 5300", "late perhaps 5000 5000"]);
  });

  test("time in which the machine did other things, and short work, is nobody's", () => {
    const { watch, begin, compute, wait, told } = open();
    const step = begin("calm");
    step.call(() => {
      wait(10_000);
      compute(150);
    });
    watch.beat();
    wait(10_000);
    watch.beat();
    step.end();
    compute(10_000);
    begin("next").end();
    assert.deepEqual(told, []);
  });

  test("a step that does it again and again is named whenever its time has doubled", () => {
    const { watch, begin, compute, told } = open();
    const step = begin("often");
    for (let i = 0; i < 64; i++) {
      compute(300);
      watch.beat();
    }
    step.end();
    assert.deepEqual(
      told.map((line) => Number(line.split(" ").at(-1)) / 300),
      [1, 2, 4, 8, 16, 32, 64],
    );
  });

  test("a step of a run that computes for long is named in the run's log and to the platform", async (t) => {
    const flow = workflow("flow", {}, (run) =>
      run.step("crunch", () => {
        const before = process.threadCpuUsage();
        while (process.threadCpuUsage(before).user < 500_000);
      }),
    );
    const warned: unknown[] = [];
    const warn = (finding: unknown) => warned.push(finding);
    const o = await TestOrchestrator.open(t, await database.fresh(), [flow], { warn });
    const id = await o.start("flow");
    assert.equal((await o.ended(id)).status, "succeeded");
    assert.match((await o.log(id)).join(), /step crunch of workflow flow held up the platform for \d+ ms/);
    const { workflow: name, step, ms } = warned[0] as { workflow: string; step: string; ms: number };
    assert.deepEqual([name, step], ["flow", "crunch"]);
    assert.ok(ms >= 500, `${ms}`);
  });
});
