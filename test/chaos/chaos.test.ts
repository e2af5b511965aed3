import assert from "node:assert/strict";
import { appendFileSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { judge } from "../../chaos/judge.ts";
import { DEFAULT_FAULTS } from "../../chaos/life-plan.ts";
import { runOracle } from "../../chaos/oracle.ts";

const SEED = 1;

test("a platform that is killed again and again keeps what it acknowledged, and the judge would see it if it did not", async (context) => {
  context.diagnostic(`npm run chaos -- --seed ${SEED} --seconds 8`);
  const outcome = await runOracle({ seed: SEED, seconds: 8, faults: DEFAULT_FAULTS, say: () => undefined, keep: true });
  assert.deepEqual(outcome.violations, [], `kept in ${outcome.dir}`);
  assert.ok(outcome.acknowledged > 0, "something was acknowledged");
  assert.ok(outcome.kills.size > 0, "it was killed");
  assert.equal(outcome.lost + outcome.duplicated, 0);

  const dataDir = join(outcome.dir, "data");
  const obligations = join(outcome.dir, "obligations");
  const file = join(obligations, "p0.obligations");
  const first = readFileSync(file, "utf8")
    .split("\n")
    .find((line) => line.includes('"s":"orders"') && line.includes('"fate":"stored"')) as string;
  const kept = JSON.parse(first);
  appendFileSync(
    file,
    `${JSON.stringify({ ...kept, id: "never-arrived", n: -1, about: ["2026-01-01", 99_500, "DE"] })}\n`,
  );
  const bereft = await judge(dataDir, obligations, []);
  assert.ok(bereft.lost >= 1);
  for (const what of ["bronze.orders", "echoes", "system.alert_events", "the alerts' destination stream"]) {
    const lacks = (violation: string) =>
      violation.startsWith(`${what} lacks: 1,`) && violation.includes("never-arrived");
    assert.ok(bereft.violations.some(lacks), `${what}: ${bereft.violations.join("\n")}`);
  }

  appendFileSync(file, `${JSON.stringify({ ...kept, sha: "another" })}\n`);
  const altered = await judge(dataDir, obligations, []);
  assert.ok(altered.violations.some((violation) => violation.includes("bronze.orders has another payload: 1")));
  rmSync(outcome.dir, { recursive: true });
});
