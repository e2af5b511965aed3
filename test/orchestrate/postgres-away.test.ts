import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { workflow } from "../../src/define/workflow.ts";
import { startEmbeddedPostgres } from "../../src/state/embedded-postgres.ts";
import { openState, type State } from "../../src/state/state.ts";
import { Database, TestOrchestrator, until } from "./open-orchestrator.ts";

test("while PostgreSQL cannot be reached runs stand still; then they go on, and no step is lost or run twice", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "millrace-away-"));
  const server = await startEmbeddedPostgres({ folder: join(dir, "postgres") });
  const wire = await Wire.to(server.connection);
  t.after(async () => {
    await wire.close();
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  const { user, password, database } = server.connection;
  const url = `postgres://${user}:${password}@127.0.0.1:${wire.port}/${database}`;
  const ran = new Map<string, number>();
  const flow = workflow("flow", {}, async (run) => {
    const { n } = run.input as { n: number };
    for (let i = 0; i < 15; i++)
      await run.step(`s${i}`, async () => {
        await sleep(5);
        ran.set(`${n} ${i}`, (ran.get(`${n} ${i}`) ?? 0) + 1);
      });
    return run.workflow("child", { n });
  });
  const child = workflow("child", { concurrency: 2 }, (run) => run.step("echo", () => (run.input as { n: number }).n));
  const o = await TestOrchestrator.open(t, url, [flow, child]);
  const ids: string[] = [];
  for (let n = 0; n < 8; n++) ids.push(await o.start("flow", { n }));
  for (let cut = 0; cut < 3; cut++) {
    const before = ran.size;
    await until(() => ran.size > before + 10 || ran.size === 8 * 15);
    wire.cut();
    await sleep(100);
    const stood = ran.size;
    await sleep(400);
    // Steps under way come to their end, and nobody goes further.
    assert.ok(ran.size - stood <= 0, `${ran.size - stood} steps were begun without a record`);
    await assert.rejects(o.start("flow", { n: 99 }), { code: "STATE_UNAVAILABLE" });
    wire.mend();
  }
  await until(async () => {
    const runs = await o.runs("flow").catch(() => []);
    return runs.length === 8 && runs.every(({ finishedAt }) => finishedAt !== null);
  });
  for (const [n, id] of ids.entries()) {
    const { status, output } = await o.run(id);
    assert.deepEqual([status, output], ["succeeded", n]);
  }
  assert.equal(ran.size, 8 * 15);
  assert.deepEqual(
    [...ran.values()].filter((times) => times !== 1),
    [],
  );
  assert.equal((await o.runs("child")).length, 8);
  await until(async () => (await o.state.query("select 1 from millrace_queue.job")).length === 0);
});

test("a run whose end is refused to be recorded is taken up again without a restart, and its steps stay", async (t) => {
  const database = await Database.start();
  t.after(() => database.stop());
  const url = await database.fresh();
  let ran = 0;
  const flow = workflow("flow", {}, (run) => run.step("once", () => ++ran));
  const gone = workflow("gone", {}, (run) => run.waitFor("never"));
  const first = await TestOrchestrator.open(t, url, [flow, gone]);
  const waiting = await first.start("gone");
  await until(async () => (await first.steps(waiting)).length === 1);
  await first.close();
  const records = await openState({ url });
  t.after(() => records.close());
  const refused = new Set<string>();
  // The end of each run is refused once, by an error that says nothing of PostgreSQL being away.
  const state: State = {
    ...{ connection: records.connection, bi: undefined, close: async () => undefined },
    query: (sql, params = []) => {
      const ended = (
        JSON.parse(sql.includes("json_to_recordset($3") ? String(params[2]) : "[]") as {
          run: string;
          finished_at: unknown;
        }[]
      ).filter(({ run, finished_at }) => finished_at !== null && !refused.has(run));
      for (const { run } of ended) refused.add(run);
      if (ended.length === 0) return records.query(sql, params);
      return Promise.reject(Object.assign(new Error("not now"), { code: "XX000" }));
    },
    transaction: (work) => records.transaction(work),
    listen: (channel, handler) => records.listen(channel, handler),
  };
  const o = await TestOrchestrator.open(t, url, [flow], { state });
  const id = await o.start("flow");
  assert.equal((await o.ended(id)).output, 1);
  assert.equal((await o.ended(waiting)).error?.code, "WORKFLOW_UNKNOWN");
  assert.deepEqual(refused, new Set([waiting, id]));
  await until(async () => (await o.state.query("select 1 from millrace_queue.job")).length === 0);
});

/** A wire to PostgreSQL that can be cut. */
class Wire {
  readonly #server: Server;
  readonly #target: { readonly host?: string; readonly port?: number };
  readonly #sockets = new Set<Socket>();
  #isCut = false;

  private constructor(server: Server, target: { host?: string; port?: number }) {
    this.#server = server;
    this.#target = target;
    server.on("connection", (socket) => this.#join(socket));
  }

  static async to(target: { host?: string; port?: number }): Promise<Wire> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new Wire(server, target);
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#isCut = false;
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(socket: Socket): void {
    const { host = "", port = 5432 } = this.#target;
    if (this.#isCut) {
      socket.destroy();
      return;
    }
    const other = host.startsWith("/") ? createConnection(`${host}/.s.PGSQL.${port}`) : createConnection(port, host);
    for (const [one, two] of [
      [socket, other],
      [other, socket],
    ] as const) {
      this.#sockets.add(one);
      one.pipe(two);
      one.on("error", () => two.destroy());
      one.on("close", () => {
        this.#sockets.delete(one);
        two.destroy();
      });
    }
  }
}
