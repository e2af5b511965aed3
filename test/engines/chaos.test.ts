/** The oracle over several workers (`npm run engines:up -- kafka s3 postgres`); by itself: npm run chaos -- --on engines --seed N --seconds S. */
import assert from "node:assert/strict";
import { appendFileSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { runClusterOracle } from "../../chaos/cluster/cluster-oracle.ts";
import { CLUSTER_FAULTS } from "../../chaos/cluster/cluster-plan.ts";
import { judge } from "../../chaos/judge.ts";

const SEED = 1;
const SECONDS = 60;

test("workers that are killed, paused and cut off over servers that fail keep what they acknowledged, and the judge would see it if not", async (context) => {
  context.diagnostic(`npm run chaos -- --on engines --seed ${SEED} --seconds ${SECONDS}`);
  const said: string[] = [];
  const say = (line: string) => said.push(line);
  const outcome = await runClusterOracle({
    seed: SEED,
    seconds: SECONDS,
    faults: CLUSTER_FAULTS,
    say,
    keepFolder: true,
  });
  const story = `kept in ${outcome.dir}\n${said.join("\n")}`;
  assert.deepEqual(outcome.violations, [], story);
  assert.ok(outcome.acknowledged > 0, "something was acknowledged");
  assert.ok(outcome.faults.size > 0, "something befell it");
  assert.equal(outcome.lost + outcome.duplicated, 0);

  const obligations = join(outcome.dir, "obligations");
  const file = join(obligations, "p0.obligations");
  const first = readFileSync(file, "utf8")
    .split("\n")
    .find((line) => line.includes('"s":"orders"') && line.includes('"fate":"stored"')) as string;
  appendFileSync(file, `${JSON.stringify({ ...JSON.parse(first), id: "never-arrived", n: -1 })}\n`);
  const bereft = await judge(join(outcome.dir, "judged"), obligations, []);
  assert.ok(bereft.lost >= 1 && bereft.violations.some((one) => one.includes("never-arrived")));
  rmSync(outcome.dir, { recursive: true });
});
