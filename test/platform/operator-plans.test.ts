/** What the reactor is told of a project's functions. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { loadProject } from "../../src/define/load-project.ts";
import type { Project } from "../../src/define/project.ts";
import { openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";
import { MillraceError } from "../../src/errors.ts";
import { operatorPlans } from "../../src/platform/operator-plans.ts";
import type { FunctionPlan } from "../../src/react/function-operator.ts";

const DIR = join(import.meta.dirname, "../react/projects/functions");

async function project(): Promise<Project> {
  const inspector = await openDuckdbInspector();
  try {
    return await loadProject(DIR, inspector);
  } finally {
    await inspector.close();
  }
}

const facts = (partitions: number) => ({ partitions: () => partitions, settings: { logLevel: "warn" } as const });

test("each function has a lane of its own and plain data to go by, with the ids of what it emits to", async () => {
  const plans = operatorPlans(await project(), facts(4));
  assert.deepEqual(
    plans.map(({ kind, name, lane, stream, from }) => [kind, name, lane, stream, from]),
    ["summing", "noting", "batching", "failing"].map((name) => [
      "function",
      name,
      `function-${name}`,
      "readings",
      "now",
    ]),
  );
  assert.deepEqual(structuredClone(plans), plans);
  const targets = plans.map(({ plan }) => Object.fromEntries((plan as FunctionPlan).targets));
  assert.deepEqual(targets[0], { totals: "total_id" });
  assert.deepEqual(targets[1], { notes: undefined });
  assert.deepEqual(targets[2], { notes: undefined, readings: "id", totals: "total_id" });
  assert.equal(plans[3]?.timeoutMs, 500);
});

test("state by another key than the stream's is refused where the stream has several partitions", async () => {
  const loaded = await project();
  const summing = loaded.functions.get("summing");
  assert.ok(summing);
  const other = { ...loaded, functions: new Map([["summing", { ...summing, key: "id" }]]) };
  assert.equal(operatorPlans(other, facts(1)).length, 1);
  assert.throws(
    () => operatorPlans(other, facts(2)),
    (error) =>
      error instanceof MillraceError &&
      error.code === "REACT_KEY" &&
      /function "summing".*"id".*"readings".*the key "sensor"/.test(error.message),
  );
  const stateless = { ...loaded, functions: new Map([["summing", { ...summing, key: "id", state: undefined }]]) };
  assert.equal(operatorPlans(stateless, facts(2)).length, 1);
});
