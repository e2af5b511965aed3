/** The real platform with a Segment source, a write key as an app holds it, troubles on the way, and what silver has in the end. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { RunningPlatform } from "../platform/running-platform.ts";
import { TroubledProxy } from "./troubled-proxy.ts";

export class SdkPlatform {
  readonly dir: string;
  readonly platform: RunningPlatform;
  readonly proxy: TroubledProxy;
  readonly writeKey: string;

  private constructor(dir: string, platform: RunningPlatform, proxy: TroubledProxy, writeKey: string) {
    this.dir = dir;
    this.platform = platform;
    this.proxy = proxy;
    this.writeKey = writeKey;
  }

  static async open(project = "test/segment/project"): Promise<SdkPlatform> {
    const dir = await mkdtemp(join(tmpdir(), "segment-"));
    const flags = ["--flush-interval", "100ms", "--cors-origins", "*"];
    const platform = await RunningPlatform.start(project, join(dir, "data"), flags);
    const made = await platform.command("keys", "create", "--name", "app", "--scopes", "write:app", "--json");
    const { token } = JSON.parse(made.stdout) as { token: string };
    return new SdkPlatform(dir, platform, await TroubledProxy.open(platform.url), token);
  }

  /** Messages of a run that are in silver, by what they say they are; waits until there are as many as expected. */
  async arrived(run: string, count: number): Promise<Arrived[]> {
    const sql = `select id, type, coalesce(event, name, group_id, previous_id, ''), user_id, anonymous_id,
      context_library_name, coalesce(properties, traits)
      from silver.app where user_id like '${run}%' or anonymous_id like '${run}%' order by _offset`;
    for (let tries = 0; ; tries++) {
      const rows = await this.platform.sql(sql);
      if (rows.length >= count || tries === 600) {
        assert.equal(rows.length, count, JSON.stringify(rows));
        assert.equal(new Set(rows.map(([id]) => id)).size, rows.length, "no message is there twice");
        return rows.map(([id, type, what, userId, anonymousId, library, data]) => {
          return { id, type, what, userId, anonymousId, library, data: JSON.parse(String(data)) } as Arrived;
        });
      }
      await sleep(50);
    }
  }

  /** Every arrival is stored or a duplicate, and none is a dead letter. */
  async nothingLost(): Promise<void> {
    const ledger = (await this.platform.get<{ balanced: boolean }>("/v1/ledger")).body;
    assert.equal(ledger.balanced, true);
    assert.deepEqual(await this.platform.sql("select message from system.dead_letters"), []);
  }

  async close(): Promise<void> {
    this.proxy.close();
    await this.platform.stop();
    await rm(this.dir, { recursive: true, force: true });
  }
}

export interface Arrived {
  readonly id: string;
  readonly type: string;
  readonly what: string;
  readonly userId: string | null;
  readonly anonymousId: string | null;
  readonly library: string | null;
  readonly data: Record<string, unknown> | null;
}
