/** Workers with roles over Kafka, S3 and PostgreSQL, as processes of their own (`npm run engines:up -- kafka s3 postgres`). */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { startEmbeddedPostgres } from "../../src/state/embedded-postgres.ts";
import { RunningCluster, type RunningWorker, until, type WorkerView } from "./running-cluster.ts";

const WORKERS = [
  ["gateway-1", "gateway"],
  ["gateway-2", "gateway"],
  ["flow-1", "flow"],
  ["flow-2", "flow"],
  ["react-1", "react"],
  ["orchestrate-1", "orchestrate"],
  ["serve-1", "serve"],
] as const;

describe("a shop on seven workers", { concurrency: false }, () => {
  let cluster: RunningCluster;
  let gateways: readonly RunningWorker[];
  let serve: RunningWorker;
  /** Order lines that were acknowledged. */
  let sold = 0;
  before(async () => {
    cluster = await RunningCluster.open("examples/securecart");
    await Promise.all(WORKERS.map(([id, role]) => cluster.start(id, role)));
    gateways = [cluster.worker("gateway-1"), cluster.worker("gateway-2")];
    serve = cluster.worker("serve-1");
  });
  after(() => cluster?.close());

  async function sell(lines: number): Promise<void> {
    const from = sold;
    const events = Array.from({ length: lines }, (_, i) => orderLine(from + i));
    await gateways[from % 2]!.post("order_lines", events);
    sold += lines;
  }

  const known = async () => (await serve.json<{ workers: WorkerView[] }>("/v1/workers")).body.workers;
  const partitionsOf = (workers: readonly WorkerView[], id: string) =>
    workers.find((worker) => worker.id === id)?.owns["flow"]?.["order_lines"] ?? [];

  test("everybody is in the registry, and the two flow workers divide the partitions", async () => {
    await until(async () => {
      const workers = await known();
      const [one, two] = [partitionsOf(workers, "flow-1"), partitionsOf(workers, "flow-2")];
      return one.length === 2 && two.length === 2 && new Set([...one, ...two]).size === 4;
    }, "each flow worker has half of the partitions");
    const workers = await known();
    assert.deepEqual(
      workers.map(({ id, roles, live }) => [id, roles.join(), live]).toSorted(),
      WORKERS.map(([id, role]) => [id, role, true]).toSorted(),
    );
  });

  test("every worker answers what it does, and names one that does what it does not", async () => {
    for (const [id, role] of WORKERS) {
      const worker = cluster.worker(id);
      assert.deepEqual([id, (await worker.json<{ ready: boolean }>("/readyz")).status], [id, 200]);
      assert.match(await worker.metrics(), /process_cpu_seconds_total/);
      for (const [path, needs] of [
        ["/v1/streams", "gateway"],
        ["/v1/tables", "serve"],
      ]) {
        const { status, body } = await worker.json<{ error?: { code: string; details: { url: string } } }>(path!);
        if (role === needs) assert.equal(status, 200);
        else {
          assert.deepEqual([status, body.error?.code], [421, "ROLE_ABSENT"], `${id} ${path}`);
          const named = [...cluster.workers.values()].find(({ url }) => url === body.error?.details.url);
          assert.ok(named?.id.startsWith(needs!), body.error?.details.url);
        }
      }
    }
  });

  test("each event that a gateway has acknowledged is in the next query, wherever it is stored", async () => {
    for (let i = 0; i < 12; i++) {
      await sell(1 + ((i * 7) % 30));
      assert.equal(await serve.count("order_lines"), sold);
      assert.equal(await serve.count("silver.order_lines"), sold);
    }
  });

  test("a flow worker that is killed is followed by the other: nothing is lost or stored twice, and queries go on", async () => {
    await sell(50);
    cluster.worker("flow-1").signal("SIGKILL");
    for (let i = 0; i < 12; i++) {
      await sell(20);
      assert.equal(await serve.count("silver.order_lines"), sold, "while nobody stores half of the partitions");
    }
    const tookMs = await until(async () => partitionsOf(await known(), "flow-2").length === 4, "the other takes over");
    console.log(`taken over after a kill: ${Math.round(tookMs)} ms after the last query`);
    await stored();
    const [row] = await serve.sql("select count(*)::integer, count(distinct line_id)::integer from order_lines");
    assert.deepEqual(row, [sold, sold]);
  });

  test("one that comes back has its share again, and one that is told to stop hands its own over at once", async () => {
    await cluster.start("flow-1", "flow");
    await until(async () => partitionsOf(await known(), "flow-1").length === 2, "it has half of the partitions again");
    await sell(40);
    const started = performance.now();
    assert.equal(await cluster.worker("flow-2").stop(), 0, cluster.worker("flow-2").errors);
    const stoppedMs = performance.now() - started;
    const tookMs = await until(async () => partitionsOf(await known(), "flow-1").length === 4, "it has all of them");
    console.log(`handed over on SIGTERM: stopped in ${Math.round(stoppedMs)} ms, owned ${Math.round(tookMs)} ms later`);
    assert.equal(
      (await known()).find(({ id }) => id === "flow-2"),
      undefined,
      "it has left the registry",
    );
    await sell(10);
    assert.equal(await serve.count("silver.order_lines"), sold);
    await stored();
  });

  test("what people do is done wherever it belongs: keys, refreshes, dead letters", async () => {
    const made = await serve.json<{ token: string }>("/v1/keys", { name: "till", scopes: ["ingest"] });
    assert.equal(made.status, 201);
    await until(async () => {
      const response = await fetch(`${gateways[1]!.url}/v1/streams/order_lines/events`, {
        ...{ method: "POST", body: JSON.stringify(orderLine(sold)) },
        headers: { authorization: `Bearer ${made.body.token}`, "content-type": "application/json" },
      });
      return response.status === 202;
    }, "the gateway knows the key that serve made");
    sold += 1;
    const refused = await gateways[0]!.json<{ rejected: { code: string }[] }>("/v1/streams/order_lines/events", {
      ...orderLine(sold),
      quantity: "many",
    });
    assert.equal(refused.status, 422);
    await until(
      async () => (await serve.count("system.dead_letters where stage = 'door' and stream = 'order_lines'")) === 1,
      "what a gateway refused is a dead letter",
    );
    const refreshed = await serve.json("/v1/tables/gold.sales_daily/refresh", {});
    assert.equal(refreshed.status, 200, JSON.stringify(refreshed.body));
    const [[total] = []] = await serve.sql("select sum(quantity)::integer from silver.order_lines");
    assert.equal(total, 2 * sold);
  });

  test("all of them stop cleanly", async () => {
    for (const [id, worker] of cluster.workers) assert.equal(await worker.stop(), 0, `${id}: ${worker.errors}`);
    assert.deepEqual(await cluster.records("select id from millrace.workers"), []);
  });

  /** Resolves once everything acknowledged is stored, and the ledger says so. */
  async function stored(): Promise<void> {
    let ledger = await serve.ledger();
    await until(
      async () => {
        ledger = await serve.ledger();
        const hops = ledger.hops.filter(({ stream }) => stream === "order_lines");
        return hops.length > 0 && hops.every(({ accepted, pending }) => accepted === sold && pending === 0);
      },
      () => `everything is stored: ${JSON.stringify(ledger.hops.filter(({ stream }) => stream === "order_lines"))}`,
    );
    await until(
      async () => {
        ledger = await serve.ledger();
        return ledger.balanced;
      },
      () => `the ledger balances: ${JSON.stringify(ledger.imbalances)}`,
    );
  }
});

test("PostgreSQL dies and comes back: events are taken, stored and seen meanwhile, and all else is back without a restart", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "millrace-records-"));
  let server = await startEmbeddedPostgres({ folder: join(dir, "postgres") });
  const { host, port, user, password } = server.connection;
  const url = `postgres://${user}:${password}@/postgres?host=${encodeURIComponent(host)}&port=${port}`;
  const cluster = await RunningCluster.open("examples/securecart", { MILLRACE_POSTGRES_URL: url });
  t.after(async () => {
    await cluster.close();
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  });
  const [gateway, serve, orchestrate] = await Promise.all([
    cluster.start("gateway", "gateway"),
    cluster.start("rest", "flow,react,serve"),
    cluster.start("orchestrate", "orchestrate"),
  ]);
  let sold = 0;
  const sell = async (lines: number) => {
    const from = sold;
    await gateway.post(
      "order_lines",
      Array.from({ length: lines }, (_, i) => orderLine(from + i)),
    );
    sold += lines;
    assert.equal(await serve.count("silver.order_lines"), sold);
  };
  const ready = async (worker: RunningWorker) => {
    const { status, body } = await worker.json<{ checks: Record<string, { ok: boolean; message?: string }> }>(
      "/readyz",
    );
    return { status, records: body.checks["records"] };
  };
  await sell(20);
  process.kill(server.pid()!, "SIGKILL");
  await server.stop(); // or it would be started again by itself
  for (let i = 0; i < 10; i++) await sell(20);
  const listed = await serve.json<{ error: { code: string } }>("/v1/workers");
  assert.deepEqual([listed.status, listed.body.error.code], [503, "STATE_UNAVAILABLE"]);
  for (const worker of [gateway, serve])
    await until(async () => (await ready(worker)).records?.message?.startsWith("degraded") === true, "it is told");
  assert.equal((await ready(gateway)).status, 200);
  await until(async () => (await ready(orchestrate)).status === 503, "who only orchestrates is not ready");
  await until(async () => {
    const hop = (await serve.ledger()).hops.find(({ hop }) => hop === "silver.order_lines");
    return hop?.stored === sold && hop.pending === 0;
  }, "all of it is stored without PostgreSQL");
  server = await startEmbeddedPostgres({ folder: join(dir, "postgres") });
  await until(async () => {
    const { status, body } = await serve.json<{ workers: WorkerView[] }>("/v1/workers");
    return status === 200 && body.workers.length === 3 && body.workers.every(({ live }) => live);
  }, "the registry is back");
  for (const worker of [gateway, serve, orchestrate])
    await until(async () => {
      const { status, records } = await ready(worker);
      return status === 200 && records?.message === undefined;
    }, "it is ready, and not degraded");
  assert.equal((await serve.json("/v1/keys", { name: "after", scopes: ["ingest"] })).status, 201);
  await sell(10);
  const refreshed = await serve.json("/v1/tables/gold.sales_daily/refresh", {});
  assert.equal(refreshed.status, 200, JSON.stringify(refreshed.body));
});

test("runs: started anywhere, executed by one worker; when that is killed another one goes on with them", async (t) => {
  const cluster = await RunningCluster.open("examples/timesheets");
  t.after(() => cluster.close());
  const [serve] = await Promise.all([
    cluster.start("front", "gateway,flow,react,serve"),
    cluster.start("orchestrate-1", "orchestrate"),
    cluster.start("orchestrate-2", "orchestrate"),
  ]);
  const holder = async () => {
    const [row] = await cluster.records<{ holder: string }>(
      "select holder from millrace.leases where name = 'orchestrate' and expires_at > now()",
    );
    return row?.holder;
  };
  const run = async () => {
    let id = "";
    await until(async () => {
      const { status, body } = await serve.json<{ run?: { id: string } }>("/v1/workflows/report/runs", {});
      assert.ok([202, 503].includes(status), JSON.stringify(body));
      id = body.run?.id ?? "";
      return status === 202;
    }, "somebody takes the run");
    return id;
  };
  const succeeded = async (id: string) => {
    let seen: unknown;
    await until(
      async () => {
        const { body } = await serve.json<{ run: { status: string } }>(`/v1/runs/${id}`);
        seen = body;
        assert.notEqual(body.run.status, "failed", JSON.stringify(body));
        return body.run.status === "succeeded";
      },
      () => JSON.stringify(seen),
      120_000,
    );
  };
  await until(async () => (await holder()) !== undefined, "one of them is at work");
  await succeeded(await run());
  const first = (await holder())!;
  const other = first === "orchestrate-1" ? "orchestrate-2" : "orchestrate-1";
  const direct = await cluster.worker(other).json<{ run?: { id: string } }>("/v1/workflows/report/runs", {});
  assert.equal(direct.status, 202, "who stands by passes it on");
  const under = await run();
  cluster.worker(first).signal("SIGKILL");
  await succeeded(direct.body.run!.id);
  await succeeded(under);
  assert.equal(await holder(), other);
  await succeeded(await run());
  const stopped = performance.now();
  assert.equal(await cluster.worker(other).stop(), 0, cluster.worker(other).errors);
  console.log(`an orchestrator stopped in ${Math.round(performance.now() - stopped)} ms`);
  assert.equal(await holder(), undefined, "its lease is free at once");
  const refused = await serve.json<{ error: { code: string } }>("/v1/workflows/report/runs", {});
  assert.deepEqual([refused.status, refused.body.error.code], [503, "LEASE_FREE"]);
});

for (const [example, streams] of [
  ["fleet", ["telemetry", "traffic"]],
  ["timesheets", ["app", "time_entries"]],
] as const) {
  test(`the example ${example} on workers: all that its simulator was told is taken is there, and the ledger balances`, async (t) => {
    const cluster = await RunningCluster.open(`examples/${example}`);
    t.after(() => cluster.close());
    const others = WORKERS.filter(([, role]) => role !== "gateway" && role !== "serve");
    // Who plays the traffic also makes keys for it, at one address.
    const starting = [cluster.start("front", "gateway,serve"), ...others.map(([id, role]) => cluster.start(id, role))];
    const gateway = (await Promise.all(starting))[0]!;
    const serve = gateway;
    await simulate(example, gateway.url, cluster.key);
    const accepted = await acceptedBy(gateway);
    for (const stream of streams)
      assert.ok((accepted.get(stream) ?? 0) > 0, `${stream}: ${JSON.stringify([...accepted])}`);
    for (const [stream, events] of accepted) assert.equal(await serve.count(`bronze.${stream}`), events, stream);
    let ledger = await serve.ledger();
    await until(
      async () => {
        ledger = await serve.ledger();
        return ledger.balanced && ledger.hops.every(({ pending }) => pending === 0);
      },
      () =>
        JSON.stringify([ledger.imbalances, ledger.hops.filter(({ pending, balanced }) => pending > 0 || !balanced)]),
      90_000,
    );
    for (const [stream, events] of accepted) assert.equal(await serve.count(`bronze.${stream}`), events, stream);
  });
}

function orderLine(n: number): Record<string, unknown> {
  return {
    ...{ invoice_no: `5${String(n % 997).padStart(5, "0")}`, line_id: `line-${n}`, stock_code: `8512${n % 10}` },
    ...{ description: "WHITE HANGING HEART", quantity: 2, invoice_date: "2026-11-20T10:00:00Z", unit_price: 2.55 },
    ...{ customer_id: String(17_000 + (n % 50)), country: "United Kingdom" },
  };
}

/** Plays an example's traffic for some seconds. */
async function simulate(example: string, url: string, key: string): Promise<void> {
  const file = join(import.meta.dirname, "../../examples", example, "simulator.ts");
  const child = spawn(process.execPath, [file, "--for", "6s"], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, MILLRACE_URL: url, MILLRACE_KEY: key },
  });
  let errors = "";
  child.stderr.on("data", (chunk) => {
    errors += chunk;
  });
  const [code] = await once(child, "exit");
  assert.equal(code, 0, errors);
}

async function acceptedBy(gateway: RunningWorker): Promise<Map<string, number>> {
  const accepted = new Map<string, number>();
  for (const [, labels, value] of (await gateway.metrics()).matchAll(
    /^millrace_door_events_accepted_total\{([^}]*)\} (\d+)$/gm,
  )) {
    const stream = /stream="([^"]+)"/.exec(labels!)?.[1];
    // What functions emit comes in by no door.
    if (stream !== undefined && value !== "0") accepted.set(stream, (accepted.get(stream) ?? 0) + Number(value));
  }
  return accepted;
}
