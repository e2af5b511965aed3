import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { RunningPlatform } from "../platform/running-platform.ts";

/** Lives that are cut short at moments chosen at random; the last one is let be. */
const LIVES = 3;
const RUNS = 6;
const COUNT = 12;

interface RunView {
  readonly id: string;
  readonly status: string;
}

test("a platform that is killed again and again ends every run, and does again only what it was in the middle of", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "millrace-kills-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const file = join(dir, "notes");
  const start = () => RunningPlatform.start("test/orchestrate/project", join(dir, "data"));
  const ids: string[] = [];
  let kills = 0;
  let platform = await start();
  try {
    for (let i = 0; i < RUNS; i++) {
      const input = { file, count: COUNT, pauseMs: 30 };
      const response = await fetch(`${platform.url}/v1/workflows/steps/runs`, {
        method: "POST",
        headers: { authorization: `Bearer ${platform.key}`, "content-type": "application/json" },
        body: JSON.stringify({ input }),
      });
      assert.equal(response.status, 202);
      ids.push(((await response.json()) as { run: RunView }).run.id);
    }
    for (let life = 0; life < LIVES; life++) {
      await sleep(Math.random() * 700);
      await platform.stop("SIGKILL");
      kills++;
      platform = await start();
    }
    for (const id of ids) {
      for (let look = 0; ; look++) {
        const { body } = await platform.get<{ run: RunView & { error: unknown } }>(`/v1/runs/${id}`);
        if (body.run.status === "succeeded") break;
        assert.ok(look < 2_000 && body.run.status !== "failed", JSON.stringify(body.run));
        await sleep(50);
      }
    }
    // Each note is of a step. One that a kill cut off, or whose record it cut off, is there again; at most two branches of a run, one of them
    // with two items at once, are in the middle of something at a kill.
    const notes = existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [];
    for (const id of ids) {
      const own = notes.filter((line) => line.startsWith(id)).map((line) => line.slice(id.length + 1));
      const distinct = new Set(own);
      assert.equal(distinct.size, 2 * COUNT, "every step was run");
      assert.ok(
        own.length - distinct.size <= 3 * kills,
        `${own.length - distinct.size} steps again after ${kills} kills`,
      );
    }
    // Against the records: a step that was recorded before a kill was never run after it.
    const rows = await platform.sql(
      "select max(attempts), count(distinct run) from system.run_steps where step like '%do'",
    );
    assert.deepEqual(rows, [[1, RUNS]]);
  } finally {
    await platform.stop();
  }
});
