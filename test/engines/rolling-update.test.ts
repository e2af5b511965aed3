/** Every process of a cluster is replaced, one after the other, while events come in through a balancer as Kubernetes' services are one. */
import assert from "node:assert/strict";
import { Agent, request } from "node:http";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { after, before, describe, test } from "node:test";
import { RunningCluster, type RunningWorker, until } from "./running-cluster.ts";

const SENDERS = 4;
const DRAIN = { MILLRACE_DRAIN_DELAY_MS: "3s" };

describe("a rolling update under load", { concurrency: false }, () => {
  let cluster: RunningCluster;
  let balancer: Balancer;
  before(async () => {
    cluster = await RunningCluster.open("examples/securecart", DRAIN);
    const gateways = await Promise.all(["gateway-a", "gateway-b"].map((id) => cluster.start(id, "gateway")));
    await Promise.all([cluster.start("flow-1", "flow,react"), cluster.start("flow-2", "flow,react")]);
    await cluster.start("serve-1", "serve,orchestrate");
    balancer = await Balancer.open(gateways);
  });
  after(async () => {
    await balancer?.close();
    await cluster?.close();
  });

  test("refuses nobody who tries once more, and loses and doubles nothing that was acknowledged", async () => {
    const load = new Load(balancer.url, cluster.key);
    const senders = Array.from({ length: SENDERS }, (_, sender) => load.send(sender));
    const sent = (more: number) => {
      const from = load.acknowledged.size;
      return until(() => load.acknowledged.size >= from + more, `${more} more events are acknowledged`);
    };
    try {
      await sent(200);
      for (const name of ["gateway-a", "gateway-b"]) {
        // As a Deployment does it: the new one is ready before the old one is told to stop.
        balancer.add(await cluster.start(`${name}2`, "gateway"));
        assert.equal(await cluster.worker(name).stop(), 0, cluster.worker(name).errors);
        balancer.remove(cluster.worker(name));
        await sent(100);
      }
      for (const name of ["flow-1", "flow-2"]) {
        // As a StatefulSet does it: the same name comes back when the old one has ended.
        assert.equal(await cluster.worker(name).stop(), 0, cluster.worker(name).errors);
        await sent(50);
        await cluster.start(name, "flow,react");
        await sent(50);
      }
      // The next that serves is there before this one goes.
      await cluster.start("serve-2", "serve,orchestrate");
      assert.equal(await cluster.worker("serve-1").stop(), 0, cluster.worker("serve-1").errors);
      await sent(50);
    } finally {
      load.stop();
    }
    await Promise.all(senders);
    const { acknowledged, retried, refused } = load;
    console.log(
      `${acknowledged.size} events acknowledged, ${retried} sent a second time, ${refused.length} refused twice`,
    );
    assert.deepEqual(refused, []);

    const serve = cluster.worker("serve-2");
    const rows = await serve.sql("select line_id, count(*)::integer from order_lines group by 1");
    const stored = new Map(rows.map(([id, count]) => [id as string, count as number]));
    assert.deepEqual(
      [...acknowledged].filter((id) => !stored.has(id)),
      [],
      "lost",
    );
    assert.deepEqual(
      [...stored].filter(([, count]) => count !== 1),
      [],
      "doubled",
    );
    await until(async () => {
      const { hops } = await serve.ledger();
      return hops.every(({ pending }) => pending === 0);
    }, "everything is stored");
    assert.equal((await serve.ledger()).balanced, true);
  });
});

/** Connections go to those in turn that are ready, each stays with one, and nobody looks into it. */
class Balancer {
  readonly url: string;
  readonly #server: Server;
  readonly #ready = new Map<RunningWorker, boolean>();
  readonly #watching: NodeJS.Timeout;
  #turn = 0;

  private constructor(server: Server, gateways: readonly RunningWorker[]) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    for (const gateway of gateways) this.#ready.set(gateway, true);
    this.#watching = setInterval(() => void this.#look(), 200);
    server.on("connection", (client) => {
      const ready = [...this.#ready].flatMap(([gateway, ready]) => (ready ? [gateway] : []));
      const gateway = ready[this.#turn++ % ready.length];
      if (gateway === undefined) return void client.destroy();
      const upstream = connect(Number(new URL(gateway.url).port), "127.0.0.1");
      client.pipe(upstream).pipe(client);
      // Whoever ends it ends both, as a reset if it was one.
      for (const [one, other] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        one.on("error", () => other.destroy());
        one.on("close", () => other.destroy());
      }
    });
  }

  static async open(gateways: readonly RunningWorker[]): Promise<Balancer> {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((listening) => server.once("listening", listening));
    return new Balancer(server, gateways);
  }

  add(gateway: RunningWorker): void {
    this.#ready.set(gateway, true);
  }

  remove(gateway: RunningWorker): void {
    this.#ready.delete(gateway);
  }

  async close(): Promise<void> {
    clearInterval(this.#watching);
    this.#server.close();
  }

  /** What a kubelet does with a readiness probe. */
  async #look(): Promise<void> {
    for (const gateway of this.#ready.keys()) {
      const signal = AbortSignal.timeout(5_000);
      const answer = await fetch(`${gateway.url}/readyz`, { signal }).catch(() => undefined);
      await answer?.arrayBuffer().catch(() => undefined);
      if (this.#ready.has(gateway)) this.#ready.set(gateway, answer?.status === 200);
    }
  }
}

/** Clients that keep their connections, send one event after the other, and try each once more when it fails. */
class Load {
  readonly acknowledged = new Set<string>();
  readonly refused: string[] = [];
  retried = 0;
  readonly #url: string;
  readonly #key: string;
  #stopped = false;

  constructor(url: string, key: string) {
    this.#url = `${url}/v1/streams/order_lines/events`;
    this.#key = key;
  }

  stop(): void {
    this.#stopped = true;
  }

  async send(sender: number): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (let n = 0; !this.#stopped; n++) {
      const event = orderLine(`${sender}-${n}`);
      let failure = await this.#post(event, agent);
      if (failure !== undefined) {
        this.retried++;
        failure = await this.#post(event, agent);
      }
      if (failure === undefined) this.acknowledged.add(event.line_id);
      else this.refused.push(`${event.line_id}: ${failure}`);
    }
    agent.destroy();
  }

  /** Why it was not acknowledged, if it was not. */
  #post(event: object, agent: Agent): Promise<string | undefined> {
    return new Promise((done) => {
      const headers = { authorization: `Bearer ${this.#key}`, "content-type": "application/json" };
      const sending = request(this.#url, { agent, method: "POST", headers, timeout: 60_000 }, (response) => {
        let text = "";
        response.on("data", (chunk) => {
          text += chunk;
        });
        response.on("end", () => done(response.statusCode === 202 ? undefined : `${response.statusCode} ${text}`));
        response.on("error", ({ message }) => done(message));
      });
      sending.on("timeout", () => sending.destroy(new Error("no answer within 60 s")));
      sending.on("error", ({ message }) => done(message));
      sending.end(JSON.stringify(event));
    });
  }
}

function orderLine(id: string): { readonly line_id: string } & Record<string, unknown> {
  return {
    ...{ invoice_no: "500001", line_id: `rolling-${id}`, stock_code: "85123", description: "WHITE HANGING HEART" },
    ...{ quantity: 2, invoice_date: "2026-11-20T10:00:00Z", unit_price: 2.55, customer_id: "17001" },
    ...{ country: "United Kingdom" },
  };
}
