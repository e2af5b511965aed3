/** Reactions on two workers over Kafka, S3 and PostgreSQL (`npm run engines:up -- kafka s3 postgres`): they die, stand still and come back under load. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { RunningCluster, type RunningWorker, until, type WorkerView } from "./running-cluster.ts";

const USERS = 40;
/** Each of the two once. */
const KILLS = 2;

interface FunctionsAnswer {
  readonly functions: readonly {
    readonly name: string;
    readonly partitions: readonly { readonly partition: number; readonly position: number; readonly pending: number }[];
  }[];
}

describe("reactions on two workers", { concurrency: false }, () => {
  let cluster: RunningCluster;
  let front: RunningWorker;
  let sent = 0;
  let repeated = 0;
  let sending = true;
  let load: Promise<void> = Promise.resolve();
  const perUser = new Map<string, number>();

  before(async () => {
    cluster = await RunningCluster.open("test/engines/projects/clicks", { MILLRACE_CHECKPOINT_INTERVAL_MS: "1s" });
    front = await cluster.start("front", "gateway,flow,orchestrate,serve");
    await Promise.all(["react-1", "react-2"].map((id) => cluster.start(id, "react")));
  });
  after(async () => {
    sending = false;
    await load.catch(() => undefined); // what it failed with is told by the test that awaits it
    await cluster?.close();
  });

  async function send(count: number): Promise<void> {
    const events = Array.from({ length: count }, () => {
      const n = sent++;
      const user = `user-${n % USERS}`;
      perUser.set(user, (perUser.get(user) ?? 0) + 1);
      return { click_id: `c${n}`, user, at: new Date(Date.now()).toISOString(), n };
    });
    // Some come twice, and count once.
    const again = events.filter(({ n }) => n % 20 === 0);
    repeated += again.length;
    await front.post("clicks", [...events, ...again]);
  }

  /** Sends without a pause, until told otherwise. */
  async function keepSending(): Promise<void> {
    while (sending) {
      await send(50);
      await sleep(50);
    }
  }

  const owned = async (id: string): Promise<readonly number[]> => {
    const { body } = await front.json<{ workers: WorkerView[] }>("/v1/workers");
    return body.workers.find((worker) => worker.id === id)?.owns["react"]?.["clicks"] ?? [];
  };
  const divided = async () => {
    const [one, two] = await Promise.all([owned("react-1"), owned("react-2")]);
    return one.length === 2 && two.length === 2 && new Set([...one, ...two]).size === 4;
  };
  const tallied = async () => front.count("tallies");
  /** Every event that was sent has had its effects, and each of them once. */
  const isWhole = async (repeatedNotes = 0) => {
    await until(
      async () => (await tallied()) === sent,
      () => `${sent} clicks are tallied`,
      120_000,
    );
    const wrong =
      await front.sql(`select user, count(*)::integer, count(distinct n)::integer, max(n)::integer from tallies
      group by user having count(*) <> max(n) or count(distinct n) <> max(n)`);
    assert.deepEqual(wrong, [], "each user's tallies are 1, 2, 3 and so on");
    const counts = (await front.sql("select user, max(n)::integer from tallies group by user")) as [string, number][];
    assert.deepEqual(new Map(counts.sort()), new Map([...perUser].sort()));
    await until(
      async () => (await front.sql("select count(distinct click)::integer from notes"))[0]?.[0] === sent,
      "every click is noted",
    );
    const twice = (await front.count("notes")) - sent;
    assert.ok(twice <= repeatedNotes, `${twice} notes are there twice`);
    return twice;
  };

  test("they divide the partitions, and what they say of their lanes is known everywhere", async () => {
    await until(divided, "each has two partitions");
    await send(200);
    await isWhole();
    await until(async () => {
      const { body } = await front.json<FunctionsAnswer>("/v1/functions");
      const counting = body.functions.find(({ name }) => name === "counting");
      return (
        counting?.partitions.length === 4 &&
        counting.partitions.reduce((sum, { position }) => sum + position, 0) === sent + repeated &&
        counting.partitions.every(({ pending }) => pending === 0)
      );
    }, "all four lanes are told of");
    const { hops } = await front.ledger();
    const own = hops.filter(({ hop }) => hop === "function.counting");
    const sums = (of: "stored" | "duplicate") => own.reduce((sum, hop) => sum + hop[of], 0);
    assert.deepEqual([sums("stored"), sums("duplicate")], [sent, repeated]);
  });

  test("a feature is read wherever its lane is, and is what SQL says", async () => {
    for (let user = 0; user < USERS; user++) {
      const key = `user-${user}`;
      const { status, body } = await front.json<{ value: unknown }>(`/v1/features/clicks_1h?key=${key}`);
      assert.deepEqual([status, body.value], [200, perUser.get(key)], key);
    }
    const [[newest]] = (await front.sql(
      "select max(clicks_1h)::integer from features.clicks_1h where user = 'user-0'",
    )) as [[number]];
    assert.equal(newest, perUser.get("user-0"));
  });

  test("one that is killed under load loses nothing and doubles nothing, and the other takes its lanes over", async (t) => {
    load = keepSending();
    const tookMs: number[] = [];
    const ownedMs: number[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      await until(divided, "each has two partitions", 120_000);
      await sleep(1_500);
      const [dying, other] = kill % 2 === 0 ? ["react-1", "react-2"] : ["react-2", "react-1"];
      const lost = await owned(dying as string);
      await cluster.worker(dying as string).stop("SIGKILL");
      const killedMs = performance.now();
      // Until the lanes that it had handle what comes after its death.
      const { body } = await front.json<FunctionsAnswer>("/v1/functions");
      const before = body.functions.find(({ name }) => name === "counting")?.partitions ?? [];
      await until(
        async () => (await owned(other as string)).length === 4,
        () => `${other} has all partitions; it says: ${cluster.worker(other as string).errors.slice(-2000)}`,
        120_000,
      );
      ownedMs.push(performance.now() - killedMs);
      await until(
        async () => {
          const now = (await front.json<FunctionsAnswer>("/v1/functions")).body.functions.find(
            ({ name }) => name === "counting",
          );
          return lost.every((partition) => {
            const [then, later] = [before, now?.partitions ?? []].map((all) =>
              all.find((one) => one.partition === partition),
            );
            return (later?.position ?? 0) > (then?.position ?? 0) + (then?.pending ?? 0);
          });
        },
        () =>
          `${other} goes on with the lanes of ${dying}; it says: ${cluster.worker(other as string).errors.slice(-2000)}`,
        120_000,
      );
      tookMs.push(performance.now() - killedMs);
      await cluster.start(dying as string, "react");
    }
    sending = false;
    await load;
    await isWhole();
    const seconds = (all: readonly number[]) => all.map((ms) => `${(ms / 1000).toFixed(1)} s`).join(", ");
    t.diagnostic(`taken over after ${seconds(ownedMs)}; past what had come until then after ${seconds(tookMs)}`);
  });

  test("one that stands still for longer than the group waits, and then goes on, counts as what it is: late", async (t) => {
    sending = true;
    load = keepSending();
    await until(divided, "each has two partitions", 120_000);
    await sleep(1_500);
    const still = cluster.worker("react-1");
    still.signal("SIGSTOP");
    await until(async () => (await owned("react-2")).length === 4, "the other has all partitions", 120_000);
    await sleep(3_000);
    still.signal("SIGCONT");
    await until(divided, "each has two partitions", 120_000);
    sending = false;
    await load;
    const twice = await isWhole(500);
    t.diagnostic(`${twice} of ${sent} notes without an id are there twice`);
  });
});
