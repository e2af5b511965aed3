import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import type { MillraceError } from "../../src/errors.ts";
import { openLeases } from "../../src/state/leases.ts";
import { openState, type State } from "../../src/state/state.ts";
import { LIVE_MS, openWorkers, type Worker, type WorkersOptions } from "../../src/state/workers.ts";
import { ManualTicker } from "./manual-ticker.ts";

describe("the registry of workers", { concurrency: false }, () => {
  let dir: string;
  let state: State;
  const opened: { close(): Promise<void> }[] = [];
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "millrace-workers-"));
    state = await openState({ folder: join(dir, "postgres") });
  });
  after(async () => {
    await state.close();
    rmSync(dir, { recursive: true, force: true });
  });
  afterEach(async () => {
    for (const part of opened.splice(0)) await part.close();
    await state.query("delete from millrace.workers");
  });

  async function open(id: string, options: Partial<WorkersOptions> = {}) {
    const report = (error: unknown) => assert.fail(error as Error);
    const fenced = (error: MillraceError) => assert.fail(error);
    const workers = await openWorkers(state, {
      ...{ id, roles: ["flow"], version: "1.2.3", format: 1, report, fenced, ticker: new ManualTicker() },
      ...options,
    });
    opened.push(workers);
    return workers;
  }

  test("everybody learns of everybody at once: roles, address, what is owned, and who has gone", async () => {
    const one = await open("one", { roles: ["gateway", "serve"] });
    const two = await open("two");
    await two.serves("http://10.0.0.2:8080");
    await two.owns("flow", [
      { stream: "orders", partition: 0 },
      { stream: "orders", partition: 2 },
      { stream: "clicks", partition: 0 },
    ]);
    await until(() => Object.keys(find(one.known(), "two")?.owns ?? {}).length > 0);
    const { startedAt, heartbeatAt, ...seen } = find(one.known(), "two")!;
    assert.ok(startedAt <= heartbeatAt);
    assert.deepEqual(seen, {
      ...{ id: "two", roles: ["flow"], url: "http://10.0.0.2:8080", version: "1.2.3", format: 1, live: true },
      owns: { flow: { orders: [0, 2], clicks: [0] } },
    });
    assert.deepEqual(
      two.known().map(({ id, roles }) => [id, roles]),
      [
        ["one", ["gateway", "serve"]],
        ["two", ["flow"]],
      ],
    );
    await two.close();
    await until(() => find(one.known(), "two") === undefined);
  });

  test("one whose heart does not beat is shown as such, and is back with its next beat", async () => {
    const ticker = new ManualTicker();
    const one = await open("one");
    const two = await open("two", { ticker });
    await state.query("update millrace.workers set heartbeat_at = now() - $1 * interval '1 ms' where id = 'two'", [
      LIVE_MS + 1,
    ]);
    assert.equal(find(await one.list(), "two")?.live, false);
    ticker.pass(3_000);
    await until(async () => find(await one.list(), "two")?.live === true);
    assert.equal(find(two.known(), "one")?.live, true);
  });

  test("a second process with the same id takes its place: the first is told and writes nothing more", async () => {
    const ticker = new ManualTicker();
    const told = Promise.withResolvers<MillraceError>();
    const first = await open("twin", { ticker, fenced: told.resolve });
    await first.serves("http://first");
    const second = await open("twin");
    await second.serves("http://second");
    ticker.pass(3_000);
    const error = await told.promise;
    assert.deepEqual([error.code, error.retryable], ["WORKER_TWICE", false]);
    assert.match(error.message, /"twin"/);
    await first.serves("http://first");
    await first.close();
    assert.equal(find(await second.list(), "twin")?.url, "http://second");
  });

  test("a worker that is started again has what its dead predecessor held, at once", async () => {
    const leases = await openLeases(state, {
      ...{ holder: "phoenix", ticker: new ManualTicker() },
      report: (error) => assert.fail(error as Error),
    });
    opened.push(leases);
    await open("phoenix", { fenced: () => undefined });
    assert.equal((await leases.take("flow"))?.token, 1);
    assert.equal(await leases.take("flow"), undefined);
    await open("phoenix");
    assert.equal((await leases.take("flow"))?.token, 2);
  });

  test("one that was forgotten enters again, and those that died long ago are forgotten", async () => {
    const ticker = new ManualTicker();
    const one = await open("one", { ticker });
    await one.serves("http://one");
    await state.query("delete from millrace.workers");
    ticker.pass(3_000);
    await until(async () => find(await one.list(), "one")?.url === "http://one");
    await state.query(
      `insert into millrace.workers (id, incarnation, roles, url, version, format, heartbeat_at)
       values ('old', gen_random_uuid(), '{flow}', '', '1', 1, now() - interval '2 hours')`,
    );
    await open("two");
    assert.equal(find(await one.list(), "old"), undefined);
  });
});

function find(workers: readonly Worker[], id: string): Worker | undefined {
  return workers.find((worker) => worker.id === id);
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1_000; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail("it did not come to pass within ten seconds");
}
