/** The real platform with the trackers' project, a key as a browser may hold it, and what its silver table says of the events that were tracked. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { RunningPlatform } from "../platform/running-platform.ts";

export class JudgingPlatform {
  readonly dir: string;
  readonly platform: RunningPlatform;
  /** May send and do nothing else. */
  readonly key: string;

  private constructor(dir: string, platform: RunningPlatform, key: string) {
    this.dir = dir;
    this.platform = platform;
    this.key = key;
  }

  static async open(flags: readonly string[] = []): Promise<JudgingPlatform> {
    const dir = await mkdtemp(join(tmpdir(), "tracker-"));
    const all = ["--flush-interval", "100ms", ...flags];
    const platform = await RunningPlatform.start("test/tracker/project", join(dir, "data"), all);
    const made = await platform.command("keys", "create", "--name", "site", "--scopes", "ingest", "--json");
    return new JudgingPlatform(dir, platform, (JSON.parse(made.stdout) as { token: string }).token);
  }

  get port(): number {
    return Number(new URL(this.platform.url).port);
  }

  /** The numbers in silver from `from` on, in the order of arrival. */
  async arrived(from: number, below: number): Promise<number[]> {
    const rows = await this.platform.sql(
      `select n from silver.clicks where n >= ${from} and n < ${below} order by _partition, _offset`,
    );
    return rows.map(([n]) => Number(n));
  }

  async close(): Promise<void> {
    await this.platform.stop();
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** Every event whose `track` resolved true is there, none twice, and all in the order in which they were tracked. */
export function judge(got: readonly number[], stored: Iterable<number>): void {
  const there = new Set(got);
  assert.equal(there.size, got.length, "no event is there twice");
  assert.deepEqual(
    [...stored].filter((n) => !there.has(n)),
    [],
    "every stored event is there",
  );
  assert.deepEqual(
    got,
    got.toSorted((a, b) => a - b),
    "they are in the order in which they were tracked",
  );
}

export async function waitFor(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (await holds()) return;
    await sleep(50);
  }
  assert.fail(`${what}: not within thirty seconds`);
}
