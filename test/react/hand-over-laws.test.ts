/** Windows, features and functions on two workers over the real log, tables and a store of objects: what they say is what SQL says, wherever partitions go. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { openFsStore } from "../../src/lake/fs-store.ts";
import type { Owned } from "../../src/log/assignment.ts";
import { partitionOf } from "../../src/log/partitioner.ts";
import { contractDoor } from "../../src/platform/contract-door.ts";
import { featureReads } from "../../src/platform/features.ts";
import { operatorPlans } from "../../src/platform/operator-plans.ts";
import { ObjectCheckpoints } from "../../src/react/object-checkpoints.ts";
import { Reactor } from "../../src/react/reactor.ts";
import { openFlow, temporaryFolder } from "../flow/open-flow.ts";

const PARTITIONS = 4;
const USERS = 24;
const ROUNDS = 40;

function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

test("windows, features and functions whose partitions go from worker to worker say what SQL says", async () => {
  await using dir = await temporaryFolder();
  let nowMs = Date.UTC(2026, 4, 1);
  const clock = () => nowMs;
  const next = random(11);
  await using flow = await openFlow(dir.path, {
    ...{ project: "../../engines/projects/clicks", partitions: PARTITIONS, clock },
  });
  const { project, log } = flow;
  const partitions = (stream: string) => log.partitions(stream);
  const store = await openFsStore(join(dir.path, "shared"));
  const reports: unknown[] = [];
  const owners: number[] = [0, 0, 1, 1];
  const open = (worker: number) =>
    Reactor.open({
      ...{ project, log, streams: project.streams },
      plans: operatorPlans(project, { partitions, settings: { logLevel: "warn" } }),
      repetitions: (stream, partition, run) => flow.flow.repetitions(stream, partition, run),
      checkpoints: new ObjectCheckpoints({ store }),
      membership: { owns: (_, partition) => owners[partition] === worker, confirmed: () => true },
      admit: contractDoor({ streams: project.streams, log, partitionOf, limits: { maxEventBytes: 1 << 20 } as never }),
      deadLetters: async (letters) => void reports.push(...letters),
      report: (error) => void reports.push(error),
      ...{ clock, checkpointMs: 30, drainMs: 0 },
    });
  const workers = [await open(0), await open(1)];
  await using _closing = {
    [Symbol.asyncDispose]: async () => void (await Promise.all(workers.map((worker) => worker.close()))),
  };
  const place = (partition: number): Owned[] => [{ stream: "clicks", partition }];
  for (const [partition, owner] of owners.entries()) await workers[owner]?.gain(place(partition));

  let sent = 0;
  const send = async (user: string) => {
    nowMs += Math.round(next() * 4_000);
    const partition = partitionOf(user, PARTITIONS);
    const event = { click_id: `c${sent}`, user, at: new Date(nowMs).toISOString(), n: sent++ };
    // One in ten comes twice.
    const lines = next() < 0.1 ? [event, event] : [event];
    const payload = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    await log.append("clicks", partition, { payload, count: lines.length, source: "test" });
  };
  for (let round = 0; round < ROUNDS; round++) {
    for (let i = 0; i < 25; i++) await send(`user-${Math.floor(next() * USERS)}`);
    if (next() < 0.1) await flow.flow.flush(["clicks"]);
    const partition = Math.floor(next() * PARTITIONS);
    if (next() < 0.3) {
      const from = owners[partition] as number;
      owners[partition] = -1;
      await workers[from]?.lose(place(partition), next() < 0.7 ? "revoked" : "fenced");
      owners[partition] = 1 - from;
      await workers[1 - from]?.gain(place(partition));
    } else if (next() < 0.1) {
      const worker = Math.floor(next() * 2);
      await workers[worker]?.close();
      workers[worker] = await open(worker);
      for (const [orphan, owner] of owners.entries()) if (owner === worker) await workers[worker]?.gain(place(orphan));
    }
  }
  const whole = () =>
    Promise.all(owners.map((owner, p) => workers[owner]?.applied("clicks", p, log.ends("clicks", p).end - 1)));
  await whole();
  const users = Array.from({ length: USERS }, (_, i) => `user-${i}`).sort();
  const reads = featureReads({
    ...{ project, partitions, partitionOf, clock },
    read: (name, at, request) => (workers[owners[at] as number] as Reactor).read(name, request, at),
  });
  const online = await reads.read(
    ["clicks_1h"],
    users.map((user) => ({ user })),
    undefined,
  );
  const asked = `select user, make_timestamptz(${nowMs * 1000}) as asked from (select distinct user from clicks)`;
  const sql = reads.sql("clicks_1h", { table: "asked", key: "user", time: "asked", known: "arrival" });
  const offline = await flow.query(`with asked as (${asked}) select user, clicks_1h from (${sql}) order by user`, [
    "clicks",
  ]);
  assert.deepEqual(
    offline,
    users.map((user, row) => [user, online.rows[row]?.[0]]),
  );

  // What comes an hour later makes everything before it final, in each partition.
  nowMs += 3_600_000;
  const marks = Array.from({ length: 1000 }, (_, i) => `end-${i}`);
  for (let partition = 0; partition < PARTITIONS; partition++)
    await send(marks.find((user) => partitionOf(user, PARTITIONS) === partition) as string);
  await whole();
  assert.deepEqual(reports, []);

  const [[tallies, distinct]] = (await flow.query(
    "select count(*)::integer, count(distinct (user, n))::integer from tallies",
    ["tallies"],
  )) as [[number, number]];
  assert.deepEqual([tallies, distinct], [sent, sent]);
  const [[notes]] = (await flow.query("select count(*)::integer from notes", ["notes"])) as [[number]];
  assert.equal(notes, sent);
  const differing = await flow.query(
    `select * from (select user, time_bucket(interval 1 minute, "at") as s, count(*) as n from clicks where user like 'user-%' group by all) as a
     full join (select user, window_start as s, n from silver.clicks_1m where final) as b using (user, s) where a.n is distinct from b.n`,
    ["clicks", "silver.clicks_1m"],
  );
  assert.deepEqual(differing, []);
});
