import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createTracker } from "../../packages/tracker/src/node.ts";
import { CutProxy } from "./cut-proxy.ts";
import { JudgingPlatform, judge, waitFor } from "./judging-platform.ts";
import type * as streams from "./project/streams.ts";

/*
 * The real platform judges: every event whose `track` resolved true is in silver exactly once, and those of one anonymous id lie in the
 * order in which they were tracked.
 */
let judging: JudgingPlatform;

before(async () => {
  judging = await JudgingPlatform.open();
});
after(() => judging?.close());

const port = (): number => judging.port;
const arrived = (from: number, below: number): Promise<number[]> => judging.arrived(from, below);

function track(
  folder: string,
  url: string,
  from: number,
  count: number,
): { child: ChildProcess; stored: Set<number>; lost: string[] } {
  const program = join(import.meta.dirname, "tracking-process.ts");
  const child = spawn(process.execPath, [program, folder, url, judging.key, String(from), String(count)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const stored = new Set<number>();
  const lost: string[] = [];
  let text = "";
  child.stdout?.on("data", (chunk) => {
    text += chunk;
    const lines = text.split("\n");
    text = lines.pop() as string;
    for (const line of lines) /^\d+$/.test(line) ? stored.add(Number(line)) : lost.push(line);
  });
  return { child, stored, lost };
}

async function end(child: ChildProcess): Promise<void> {
  const closed = once(child, "close");
  child.stdin?.end();
  await closed;
  assert.equal(child.exitCode, 0);
}

describe("a tracker on Node", () => {
  it("killed with SIGKILL at random moments, again and again, loses and doubles nothing", async (t) => {
    const seed = Date.now() % 100_000;
    t.diagnostic(`seed ${seed}`);
    let state = seed;
    const random = () => {
      state = (state * 48_271 + 11) % 2_147_483_647;
      return state / 2_147_483_647;
    };
    const folder = join(judging.dir, "killed");
    await using proxy = await CutProxy.open(port);
    const stored = new Set<number>();
    const rounds = 6;
    const each = 400;
    for (let round = 0; round < rounds; round++) {
      // Answers that never come are the hard part: nobody knows what arrived.
      proxy.mode = (["through", "swallow", "refuse"] as const)[Math.floor(random() * 3)] ?? "through";
      const run = track(folder, proxy.url, round * each, each);
      await waitFor("the first event", () => run.stored.size > 0);
      await sleep(random() * 200);
      const closed = once(run.child, "close");
      run.child.kill("SIGKILL");
      await closed;
      for (const n of run.stored) stored.add(n);
      assert.deepEqual(run.lost, []);
    }
    proxy.mode = "through";
    const last = track(folder, proxy.url, rounds * each, 10);
    await waitFor("the last events", () => last.stored.size === 10);
    for (const n of last.stored) stored.add(n);
    await end(last.child);
    const below = rounds * each + 10;
    judge(await arrived(0, below), stored);
    assert.deepEqual(await readdir(join(folder, "tracker")), ["state.json"], "no queue is left behind");
    const [[people] = []] = await judging.platform.sql(
      `select count(distinct anonymous_id) from silver.clicks where n < ${below}`,
    );
    assert.equal(Number(people), 1, "the installation keeps its id");
  });

  it("whose network is cut, swallowed and refused in turns goes on by itself, each event once and in order", async () => {
    await using proxy = await CutProxy.open(port);
    const run = track(join(judging.dir, "cut"), proxy.url, 10_000, 1_500);
    for (const mode of ["swallow", "refuse", "swallow"] as const) {
      await sleep(150);
      proxy.cut(mode);
      await sleep(150);
      proxy.mode = "through";
    }
    await waitFor("all are stored", () => run.stored.size === 1_500);
    await end(run.child);
    judge(await arrived(10_000, 20_000), run.stored);
    assert.equal((await arrived(10_000, 20_000)).length, 1_500);
  });

  it("tracks while the server is down, and the next process sends what the last one left", async () => {
    const folder = join(judging.dir, "down");
    await using proxy = await CutProxy.open(port);
    proxy.mode = "refuse";
    const first = createTracker<typeof streams>()({ ...options(folder, proxy.url) });
    for (let n = 20_000; n < 20_050; n++) assert.equal(await first.track("clicks", { n }), true);
    await first.close(10);
    proxy.mode = "through";
    const second = createTracker<typeof streams>()({ ...options(folder, proxy.url) });
    assert.equal(await second.track("clicks", { n: 20_050 }), true);
    assert.equal(await second.flush(), true);
    await second.close();
    const got = await arrived(20_000, 30_000);
    judge(got, new Set(Array.from({ length: 51 }, (_, i) => 20_000 + i)));
  });

  it("shares its folder with other processes that live, each with a file of its own", async () => {
    const folder = join(judging.dir, "shared");
    const runs = [0, 1, 2].map((i) => track(folder, judging.platform.url, 30_000 + i * 1_000, 200));
    await waitFor("all are stored", () => runs.every(({ stored }) => stored.size === 200));
    for (const { child } of runs) await end(child);
    const got = await arrived(30_000, 40_000);
    assert.equal(got.length, 600);
    for (const [i, { stored }] of runs.entries()) {
      judge(
        got.filter((n) => Math.floor(n / 1_000) === 30 + i),
        stored,
        200,
      );
    }
  });

  it("is told what the platform refuses, and knows a key that may do more than send is not needed", async () => {
    const drops: unknown[] = [];
    const tracker = createTracker<typeof streams>()({
      ...options(join(judging.dir, "refused"), judging.platform.url),
      onDrop: (drop) => drops.push(drop),
    });
    await tracker.track("clicks", { n: -1 });
    await tracker.track("clicks", { n: 40_000 });
    assert.equal(await tracker.flush(), true);
    await tracker.close();
    const [drop] = drops as { event: { n: number }; code: string; message: string }[];
    assert.deepEqual([drops.length, drop?.event.n, drop?.code], [1, -1, "EVENT_INVALID"]);
    assert.match(drop?.message as string, /\/n/);
    assert.deepEqual(await arrived(40_000, 50_000), [40_000]);
    const read = await fetch(`${judging.platform.url}/v1/streams`, {
      headers: { authorization: `Bearer ${judging.key}` },
    });
    assert.equal(read.status, 403, "the key of the trackers reads nothing");
    await read.text();
  });
});

function options(folder: string, endpoints: string) {
  return {
    dir: folder,
    endpoints,
    key: judging.key,
    onError: () => {},
    streams: {
      clicks: ["event_id", "occurred_at", "anonymous_id", "session_id", "session_number", "session_sequence"],
    },
  } as const;
}
