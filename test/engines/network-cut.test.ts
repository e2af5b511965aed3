/**
 * A worker whose network is cut: packets to and from the servers vanish, in a network namespace of its own (`npm run engines:up -- kafka s3 postgres`).
 * Needs Linux, root, `ip` and `iptables`, and says so where it has them not.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { endpoint } from "../../engines/endpoints.ts";
import { lackForOwnNetworks, OwnNetwork } from "./own-network.ts";
import { RunningCluster, type RunningWorker, until, type WorkerView } from "./running-cluster.ts";

const USERS = 20;
/** The group waits 20 s for a worker of which it hears nothing. */
const TAKEN_OVER_WITHIN_MS = 90_000;

interface Readiness {
  readonly ready: boolean;
  readonly checks: Readonly<Record<string, { readonly ok: boolean; readonly message?: string }>>;
}

const skip = lackForOwnNetworks() ?? false;

describe("a worker that is cut off from the servers", { concurrency: false, skip }, () => {
  let cluster: RunningCluster;
  let network: OwnNetwork;
  let front: RunningWorker;
  let cut: RunningWorker;
  let ports: { readonly brokers: number[]; readonly s3: number; readonly postgres: number };
  let acknowledged = 0;
  let sending = true;
  let load: Promise<void> = Promise.resolve();

  before(async () => {
    const [kafka, s3, postgres] = await Promise.all([endpoint("kafka"), endpoint("s3"), endpoint("postgres")]);
    ports = {
      brokers: kafka.brokers.map(({ ports }) => ports.plain),
      s3: Number(new URL(s3.endpoint).port),
      postgres: postgres.port,
    };
    network = await OwnNetwork.open([...ports.brokers, ports.s3, ports.postgres]);
    cluster = await RunningCluster.open("test/engines/projects/clicks", { MILLRACE_CHECKPOINT_INTERVAL_MS: "1s" });
    front = await cluster.start("front", "gateway,orchestrate,serve");
    // First, so that it leads where one does.
    cut = await cluster.start("cut", "gateway,flow,react", { MILLRACE_HOST: network.address }, network.prefix);
    await cluster.start("other", "flow,react");
  });
  after(async () => {
    sending = false;
    await load.catch(() => undefined); // what it failed with is told by the test that awaits it
    await cluster?.close();
    await network?.close();
  });

  async function send(worker: RunningWorker, count: number): Promise<void> {
    const from = acknowledged;
    acknowledged += count;
    const events = Array.from({ length: count }, (_, i) => clickOf(from + i));
    await worker.post("clicks", events);
  }

  async function keepSending(): Promise<void> {
    while (sending) {
      await send(front, 10);
      await sleep(100);
    }
  }

  const owned = async (id: string): Promise<readonly [flow: number, react: number]> => {
    const { body } = await front.json<{ workers: WorkerView[] }>("/v1/workers");
    const owns = body.workers.find((worker) => worker.id === id)?.owns;
    return [owns?.["flow"]?.["clicks"]?.length ?? 0, owns?.["react"]?.["clicks"]?.length ?? 0];
  };
  const divided = () =>
    until(
      async () => (await Promise.all(["cut", "other"].map(owned))).flat().join() === "2,2,2,2",
      () => `both have two partitions in both groups; cut says: ${cut.errors.slice(-2_000)}`,
      TAKEN_OVER_WITHIN_MS,
    );
  const holder = async (lease: string): Promise<string | undefined> =>
    (
      await cluster.records<{ holder: string }>(
        `select holder from millrace.leases where name = '${lease}' and expires_at > now()`,
      )
    )[0]?.holder;
  const readiness = async () => (await cut.json<Readiness>("/readyz")) satisfies { status: number };
  const isReady = async (what: string) => {
    let seen: unknown;
    const tookMs = await until(
      async () => {
        const answer = await readiness();
        seen = answer.body.checks;
        return answer.status === 200 && answer.body.checks["records"]?.message === undefined;
      },
      () => `it is ready: ${JSON.stringify(seen)}; it says: ${cut.errors.slice(-2_000)}`,
    );
    console.log(`${what}: ready again ${(tookMs / 1000).toFixed(1)} s after the cut was mended`);
  };
  const isRed = async (check: string): Promise<void> => {
    let seen: Readiness["checks"] = {};
    await until(
      async () => {
        const { status, body } = await readiness();
        seen = body.checks;
        return status === 503 && seen[check]?.ok === false && seen[check]?.message !== undefined;
      },
      () => `it says of ${check} that it does not work: ${JSON.stringify(seen)}`,
    );
  };

  /** Everything acknowledged is stored once, and has had its effects once. */
  async function isWhole(): Promise<void> {
    await until(
      async () => (await front.count("tallies")) === acknowledged,
      () => `${acknowledged} clicks are tallied; cut says: ${cut.errors.slice(-2_000)}`,
      120_000,
    );
    assert.deepEqual(
      await front.sql("select count(*)::integer, count(distinct click_id)::integer from clicks"),
      [[acknowledged, acknowledged]],
      "each event is there once",
    );
    assert.deepEqual(
      await front.sql(`select user from tallies group by user
        having count(*) <> max(n) or count(distinct n) <> max(n)`),
      [],
      "each user's tallies are 1, 2, 3 and so on",
    );
  }

  test("from the brokers: another one takes over, it acknowledges nothing, and goes on by itself afterwards", async () => {
    await divided();
    await send(cut, 40);
    load = keepSending();
    const { pid } = cut;
    network.cut(ports.brokers);
    const cutAt = performance.now();
    const unsure = clickOf(acknowledged++);
    const refusal = cut.json<{ error?: { code: string } }>("/v1/streams/clicks/events", unsure);
    await isRed("log");
    console.log(`brokers: red after ${((performance.now() - cutAt) / 1000).toFixed(1)} s`);
    await until(
      async () => (await owned("other")).join() === "4,4",
      "the other one has all partitions",
      TAKEN_OVER_WITHIN_MS,
    );
    console.log(`brokers: taken over ${((performance.now() - cutAt) / 1000).toFixed(1)} s after the cut`);
    assert.deepEqual([(await refusal).status, (await refusal).body.error?.code], [503, "LOG_UNAVAILABLE"]);
    const before = acknowledged;
    await until(async () => acknowledged > before + 50, "others take events meanwhile");
    network.heal();
    await isReady("brokers");
    await divided();
    assert.equal(cut.pid, pid);
    sending = false;
    await load;
    // Who has heard of no success sends again, whatever became of it.
    await cut.post("clicks", [unsure]);
    await send(cut, 40);
    await isWhole();
  });

  test("from bucket and database: what it acknowledges is in the log, others lead, and it stores all of it afterwards", async () => {
    await until(async () => (await holder("flow")) !== undefined, "somebody leads");
    sending = true;
    load = keepSending();
    network.cut([ports.s3, ports.postgres]);
    const cutAt = performance.now();
    await send(cut, 40);
    await isRed("store");
    await until(
      async () => (await readiness()).body.checks["records"]?.message !== undefined,
      "it says that it has no records",
    );
    for (const lease of ["flow", "react"])
      await until(async () => (await holder(lease)) === "other", `the other has the lease ${lease}`);
    console.log(
      `bucket and database: the other leads ${((performance.now() - cutAt) / 1000).toFixed(1)} s after the cut`,
    );
    await send(cut, 40);
    const whole = await sentWhole();
    assert.equal(await front.count("clicks"), whole, "queries see what is not stored");
    network.heal();
    await isReady("bucket and database");
    sending = false;
    await load;
    await isWhole();
    await until(async () => (await front.ledger()).hops.every(({ pending }) => pending === 0), "everything is stored");
  });

  test("from everything, and it is told to stop: it ends, and what it had is done by the other", async () => {
    await divided();
    sending = true;
    load = keepSending();
    network.cut([...ports.brokers, ports.s3, ports.postgres]);
    await sleep(2_000);
    const stoppedAt = performance.now();
    await cut.stop();
    console.log(`everything: ended ${((performance.now() - stoppedAt) / 1000).toFixed(1)} s after it was told to`);
    await until(
      async () => (await owned("other")).join() === "4,4",
      "the other one has all partitions",
      TAKEN_OVER_WITHIN_MS,
    );
    sending = false;
    await load;
    network.heal();
    await isWhole();
  });

  /** Events that are acknowledged, while none are under way. */
  async function sentWhole(): Promise<number> {
    sending = false;
    await load;
    return acknowledged;
  }
});

function clickOf(n: number) {
  return { click_id: `c${n}`, user: `user-${n % USERS}`, at: new Date().toISOString(), n };
}
