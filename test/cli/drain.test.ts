import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { runCommandLine } from "../../src/cli/command-line.ts";
import { capturedTerminal } from "./captured-terminal.ts";
import { type Started, startMillrace } from "./running-platform.ts";

describe("a platform that is told to stop and has a drain delay", () => {
  let dir: string;
  let started: Started;
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "millrace-drain-"));
    assert.equal(await runCommandLine(["init", "shop"], capturedTerminal({ cwd: dir }).terminal), 0);
    started = await startMillrace(dir, ["shop", "--port", "0", "--drain-delay", "10m", "--flush-interval", "1h"]);
  });
  after(async () => {
    started?.process.kill("SIGKILL");
    await started?.ended;
    rmSync(dir, { recursive: true, force: true });
  });

  test("says first that it is not ready, takes events meanwhile, and a second signal ends it without losing them", async () => {
    const health = () => fetch(`${started.url}/readyz`);
    assert.equal((await health()).status, 200);
    started.process.kill("SIGTERM");
    const firstMs = performance.now();
    let unready = await health();
    for (let tries = 0; unready.status === 200 && tries < 600; tries++) {
      await sleep(50);
      unready = await health();
    }
    const { checks } = (await unready.json()) as { checks: Record<string, { ok: boolean; message?: string }> };
    assert.deepEqual([unready.status, checks["stopping"]], [503, { ok: false, message: "the platform is stopping" }]);
    assert.equal((await fetch(`${started.url}/healthz`)).status, 200, "it lives: nobody must kill it");

    const key = readFileSync(join(dir, "shop/.millrace/admin.key"), "utf8").trim();
    const order = {
      order_id: "late",
      customer_id: "l",
      country: "IT",
      amount: "7.00",
      placed_at: "2026-05-03T00:00:00Z",
    };
    const posted = await fetch(`${started.url}/v1/streams/orders/events`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify(order),
    });
    assert.deepEqual([posted.status, posted.headers.get("connection")], [202, "close"]);

    // Signals that follow each other more closely are one (stop-signal.ts).
    await sleep(Math.max(0, 600 - (performance.now() - firstMs)));
    started.process.kill("SIGTERM");
    assert.equal(await started.ended, 1);
    started = await startMillrace(dir, ["shop", "--port", "0"]);
    const answer = await fetch(`${started.url}/v1/sql`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({ sql: "select order_id from silver.orders" }),
    });
    assert.deepEqual(((await answer.json()) as { rows: unknown[][] }).rows, [["late"]]);
  });
});
