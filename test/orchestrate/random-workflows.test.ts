import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { type Run, type WorkflowDefinition, workflow } from "../../src/define/workflow.ts";
import { Database, TestOrchestrator, until } from "./open-orchestrator.ts";

/** A workflow as data: what it does can be told without running it. */
type Node =
  | { readonly kind: "step"; readonly name: string; readonly slow: boolean; readonly undo: boolean }
  | { readonly kind: "caught"; readonly name: string }
  | { readonly kind: "flaky"; readonly name: string }
  | { readonly kind: "sleep" }
  | { readonly kind: "fail" }
  | { readonly kind: "seq"; readonly nodes: readonly Node[] }
  | { readonly kind: "parallel"; readonly nodes: readonly Node[] }
  | { readonly kind: "map"; readonly count: number; readonly body: Node };

const name = fc.constantFrom("a", "b", "c/d", "e#2", "f[1]");
const { tree } = fc.letrec<{ tree: Node; leaf: Node }>((tie) => ({
  leaf: fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ kind: fc.constant("step" as const), name, slow: fc.boolean(), undo: fc.boolean() }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("caught" as const), name }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("flaky" as const), name }) },
    { weight: 1, arbitrary: fc.constant({ kind: "sleep" as const }) },
  ),
  tree: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    tie("leaf"),
    fc.record({ kind: fc.constant("seq" as const), nodes: fc.array(tie("tree"), { minLength: 1, maxLength: 4 }) }),
    fc.record({ kind: fc.constant("parallel" as const), nodes: fc.array(tie("tree"), { minLength: 1, maxLength: 3 }) }),
    fc.record({ kind: fc.constant("map" as const), count: fc.nat(4), body: tie("tree") }),
  ),
}));

interface Trace {
  /** Step -> how often its function ran to its end; undos in their order. */
  readonly ran: Map<string, number>;
  readonly undone: string[];
  begun: number;
}

function definition(program: Node, trace: Trace): WorkflowDefinition {
  const count = (key: string) => trace.ran.set(key, (trace.ran.get(key) ?? 0) + 1);
  const play = async (run: Run, node: Node): Promise<unknown> => {
    switch (node.kind) {
      case "step":
        return run.step(
          node.name,
          async ({ idempotencyKey }) => {
            trace.begun++;
            if (node.slow) await sleep(3);
            const key = idempotencyKey.slice(37);
            count(key);
            return key;
          },
          node.undo ? { compensate: (key) => void trace.undone.push(String(key)) } : {},
        );
      case "caught":
        return run
          .step(node.name, ({ idempotencyKey }) => {
            trace.begun++;
            count(idempotencyKey.slice(37));
            throw new Error("caught");
          })
          .catch((error: Error) => error.message);
      case "flaky":
        return run.step(
          node.name,
          ({ attempt, idempotencyKey }) => {
            trace.begun++;
            if (attempt < 2) throw new Error("flaky");
            count(idempotencyKey.slice(37));
            return attempt;
          },
          { retry: { attempts: 3, delay: "1ms" } },
        );
      case "sleep":
        return run.sleep("2ms").then(() => "slept");
      case "fail":
        throw new Error("the end");
      case "seq": {
        const results: unknown[] = [];
        for (const one of node.nodes) results.push(await play(run, one));
        return results;
      }
      case "parallel":
        return run.parallel(Object.fromEntries(node.nodes.map((one, i) => [`branch ${i}`, () => play(run, one)])));
      case "map":
        return run.map("map", Array.from({ length: node.count }), () => play(run, node.body), { concurrency: 2 });
    }
  };
  return workflow("random", {}, (run) => play(run, program));
}

let database: Database;
before(async () => {
  database = await Database.start();
});
after(() => database.stop());

test("whatever a workflow is made of and wherever it is cut off: what is recorded is not run again, and undone in reverse", async (t) => {
  const crashes = fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(tree, crashes, fc.boolean(), async (body, moments, fails) => {
      const program: Node = fails ? { kind: "seq", nodes: [body, { kind: "fail" }] } : body;
      // Undisturbed, for comparison.
      const plain: Trace = { ran: new Map(), undone: [], begun: 0 };
      const calm = await TestOrchestrator.open(t, await database.fresh(), [definition(program, plain)]);
      const wanted = await calm.ended(await calm.start("random"));
      await calm.close();
      assert.equal(wanted.error?.message, fails ? "the end" : undefined);

      const trace: Trace = { ran: new Map(), undone: [], begun: 0 };
      const flow = definition(program, trace);
      const url = await database.fresh();
      let o = await TestOrchestrator.open(t, url, [flow]);
      const id = await o.start("random");
      const recorded = new Map<string, number>();
      for (const moment of moments) {
        const from = trace.begun;
        await until(async () => trace.begun - from >= moment || (await o.run(id)).finishedAt !== null);
        await o.close({ crash: true });
        o = await TestOrchestrator.open(t, url, [flow], { capacity: 1 });
        const rows = await o.state.query<{ key: string }>(
          "select key from millrace.run_steps where completed is not null and kind = 'step'",
        );
        // Read after the next life began: what it completed since has been counted by then as well.
        for (const { key } of rows) if (!recorded.has(key)) recorded.set(key, trace.ran.get(key) ?? 0);
      }
      const run = await o.ended(id);
      assert.deepEqual(
        [run.status, run.output, run.error?.message],
        [wanted.status, wanted.output, wanted.error?.message],
      );
      for (const [key, times] of recorded)
        assert.equal(trace.ran.get(key) ?? 0, times, `${key} was run after it was recorded`);
      assert.deepEqual(new Set(trace.ran.keys()), new Set(plain.ran.keys()));
      const order = await o.state.query<{ key: string }>(
        "select key from millrace.run_steps where kind = 'step' and status = 'succeeded' order by completed desc",
      );
      const undos = new Set(plain.undone);
      const expected = order.map(({ key }) => key).filter((key) => undos.has(key));
      assert.deepEqual([...new Set(trace.undone)], fails ? expected : []);
      assert.equal(new Set(trace.undone).size, undos.size);
      await o.close();
      assert.deepEqual(o.reported, []);
    }),
    { numRuns: 8, endOnFailure: true },
  );
});
