/** The examples, unedited, with the log on Kafka (`npm run engines:up -- kafka`). */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { endpoint } from "../../engines/endpoints.ts";
import type { LedgerAnswer } from "../../src/cli/ledger.ts";
import { temporaryFolder } from "../flow/open-flow.ts";
import { RunningPlatform } from "../platform/running-platform.ts";

const kafka = await endpoint("kafka");
const ENOUGH = 3_000;

type Hops = LedgerAnswer["hops"];

async function ledger(platform: RunningPlatform): Promise<Hops> {
  return (await platform.get<LedgerAnswer>("/v1/ledger")).body.hops;
}

/** Waits until the condition holds; two minutes at most. */
async function until<T>(look: () => Promise<T>, holds: (seen: T) => boolean): Promise<T> {
  for (let i = 0; ; i++) {
    const seen = await look();
    if (holds(seen)) return seen;
    if (i === 480) assert.fail(JSON.stringify(seen));
    await sleep(250);
  }
}

const accepted = (hops: Hops) =>
  hops.filter(({ hop }) => hop.startsWith("bronze.")).reduce((sum, hop) => sum + hop.accepted, 0);

for (const example of ["securecart", "fleet", "timesheets"])
  test(`${example} runs on Kafka as it does on a folder: every hop balances, also after a kill`, async () => {
    await using dir = await temporaryFolder();
    const env = {
      MILLRACE_KAFKA_BROKERS: kafka.bootstrap,
      MILLRACE_KAFKA_TOPIC_PREFIX: `${example}-${randomBytes(4).toString("hex")}.`,
      MILLRACE_PARTITIONS: "2",
      MILLRACE_BI_PORT: "0",
      MILLRACE_FLUSH_INTERVAL_MS: "1000",
    };
    const project = `examples/${example}`;
    let before: number;
    {
      await using platform = await RunningPlatform.start(project, dir.path, ["--simulate"], env);
      const hops = await until(
        () => ledger(platform),
        (hops) => accepted(hops) >= ENOUGH,
      );
      before = accepted(hops);
      await platform.stop("SIGKILL");
    }
    await using platform = await RunningPlatform.start(project, dir.path, [], env);
    const hops = await until(
      () => ledger(platform),
      (hops) => hops.every(({ pending }) => pending === 0),
    );
    assert.ok(accepted(hops) >= before, "what was acknowledged is there");
    for (const hop of hops) {
      const { accepted, stored, duplicate, filtered, deadLettered } = hop;
      assert.ok(hop.balanced, JSON.stringify(hop));
      assert.equal(accepted, stored + duplicate + filtered + deadLettered, JSON.stringify(hop));
    }
    const { body } = await platform.get<{ ready: boolean; checks: Record<string, { ok: boolean }> }>("/readyz");
    assert.ok(body.ready && body.checks["log"]?.ok, JSON.stringify(body));
  });
