import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { resolveSettings } from "../../src/config/settings.ts";
import type { MillraceError } from "../../src/errors.ts";
import { soleAssignment } from "../../src/log/sole-assignment.ts";
import { CLUSTER_FORMAT, type Cluster, openCluster } from "../../src/platform/cluster.ts";
import { openState, type State } from "../../src/state/state.ts";
import { MemoryLog } from "../gateway/memory-log.ts";

const SHARED = { kafkaBrokers: "a:9092", storeUrl: "s3://shop", postgresUrl: "postgres://a/b" };

describe("processes that share the work", { concurrency: false }, () => {
  let dir: string;
  let state: State;
  const opened: Cluster[] = [];
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "millrace-cluster-"));
    state = await openState({ folder: join(dir, "postgres") });
  });
  after(async () => {
    for (const cluster of opened) await cluster.close();
    await state.close();
    await rm(dir, { recursive: true, force: true });
  });

  async function open(workerId: string, flags: Record<string, unknown> = SHARED, version = "1.0.0"): Promise<Cluster> {
    const log = new MemoryLog();
    await log.open("orders", { partitions: 2 });
    const cluster = await openCluster({
      ...{ settings: resolveSettings({ flags }).settings, workerId, version, state: Promise.resolve(state), log },
      assignment: soleAssignment(log),
      ownKey: async () => undefined,
      fenced: (error: MillraceError) => assert.fail(error),
      report: (error: unknown) => assert.fail(error as Error),
    });
    opened.push(cluster);
    return cluster;
  }

  test("run side by side in several versions, lead one at a time, and hear of each other's commits", async () => {
    const one = await open("one");
    const two = await open("two", SHARED, "1.1.0");
    await until(() => one.sharing!.lead.held() !== two.sharing!.lead.held());
    const leader = one.sharing!.lead.held() ? one : two;
    const other = leader === one ? two : one;
    const heard: string[] = [];
    const own: string[] = [];
    other.sharing!.notices.on((tables) => heard.push(...tables));
    leader.sharing!.notices.on((tables) => own.push(...tables));
    leader.sharing!.notices.committed(["silver.orders"]);
    leader.sharing!.notices.committed(["gold.sales"]);
    await until(() => heard.length === 2);
    assert.deepEqual([heard, own], [["silver.orders", "gold.sales"], []]);
    const changes: boolean[] = [];
    other.sharing!.lead.onChange((held) => changes.push(held));
    await leader.close();
    await until(() => other.sharing!.lead.held());
    assert.deepEqual(changes, [true]);
    const versions = (await (await other.workers).list()).map(({ version }) => version);
    assert.deepEqual(versions, [other === one ? "1.0.0" : "1.1.0"]);
  });

  test("take turns at what one may do at a time", async () => {
    const [one, two] = [await open("three"), await open("four")];
    let under = 0;
    let most = 0;
    const work = async () => {
      most = Math.max(most, ++under);
      await new Promise((resolve) => setTimeout(resolve, 20));
      under--;
      return "done";
    };
    const turns = [one, two, one, two].map(({ sharing }) => sharing!.turns.inTurn("replay", work));
    assert.deepEqual([await Promise.all(turns), most], [["done", "done", "done", "done"], 1]);
    await assert.rejects(
      one.sharing!.turns.inTurn("replay", async () => {
        throw new Error("no");
      }),
      /^Error: no$/,
    );
    assert.equal(await two.sharing!.turns.inTurn("replay", work), "done");
  });

  test("know whose a partition is, and who holds a lease", async () => {
    const [one, two] = [await open("five"), await open("six")];
    const membership = await one.assignment.join({
      ...{ group: "react", streams: ["orders"], gained: () => undefined, lost: async () => undefined },
    });
    await (await one.workers).serves("http://five");
    const peers = await two.peers;
    await until(() => peers.ownerOf("react", "orders", 1)?.url === "http://five");
    assert.equal(peers.ownerOf("flow", "orders", 1), undefined);
    const lease = await one.leases.take("orchestrate");
    assert.equal((await peers.holderOf("orchestrate"))?.id, "five");
    await lease!.release();
    assert.equal(await peers.holderOf("orchestrate"), undefined);
    await membership.leave();
    await until(() => peers.ownerOf("react", "orders", 1) === undefined);
  });

  test("refuse one of another format, naming it, and one that cannot share", async () => {
    await state.query(
      `insert into millrace.workers (id, incarnation, roles, url, version, format)
       values ('from-the-future', gen_random_uuid(), '{flow}', 'http://f', '9.0.0', $1)`,
      [CLUSTER_FORMAT + 1],
    );
    await assert.rejects(open("seven"), {
      code: "WORKER_FORMAT",
      message: /worker from-the-future, .* has format 2; this release reads and writes format 1/,
    });
    const lonely = await open("eight", { postgresUrl: SHARED.postgresUrl });
    await assert.rejects(lonely.workers, { code: "CLUSTER_INCOMPLETE", message: /not set: kafkaBrokers, storeUrl$/ });
    await state.query("update millrace.workers set heartbeat_at = now() - interval '1 minute'");
    assert.equal((await (await (await open("nine")).workers).list()).at(-1)?.id, "nine", "who is gone disturbs nobody");
  });
});

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000; i++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail("it did not come to pass within ten seconds");
}
