/** Steady work of all kinds: events of every fate, repeated ones, queries, keys made and revoked, backups. */
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "../chaos/client.ts";
import { Random } from "../chaos/random.ts";
import { Lane, RATES, type StreamName } from "../chaos/traffic.ts";

export interface WorkOptions {
  readonly port: number;
  readonly key: string;
  readonly seed: number;
  readonly eventsPerSecond: number;
  readonly backupDir: string;
  readonly backupEveryMs: number;
}

const STREAMS: readonly StreamName[] = ["orders", "orders", "orders", "payments", "stock_levels"];
const BATCH = 20;
const SENDERS = 4;
const QUERY_PAUSE_MS = 250;
const KEY_PAUSE_MS = 5_000;
/** Batches a sender repeats one of; they lie within the horizon. */
const REMEMBERED = 50;

/** Queries whose answer does not grow with the run, and one that reads all. */
const QUERIES = [
  "select * from gold.totals",
  "select * from gold.daily order by day, country",
  "select sku, level from silver.stock",
  "select count(*) from orders where placed_at < timestamp '2026-01-02'",
];

export class Work {
  /** Milliseconds of each request since the last `takeLatencies`. */
  ingestMs: number[] = [];
  queryMs: number[] = [];
  acknowledged = 0;
  queries = 0;
  keys = 0;
  readonly backupsMs: number[] = [];
  readonly problems: string[] = [];
  readonly #o: WorkOptions;
  readonly #client: Client;
  #running: Promise<unknown> | undefined;
  #stopping = false;
  #paused = false;

  constructor(options: WorkOptions) {
    this.#o = options;
    this.#client = new Client(options.port, options.key);
  }

  async start(): Promise<void> {
    const rates = Object.entries(RATES).map(([country, rate]) => JSON.stringify({ rate_id: country, country, rate }));
    await this.#post("rates", rates);
    const senders = Array.from({ length: SENDERS }, (_, i) => this.#send(i));
    this.#running = Promise.all([...senders, this.#query(), this.#changeKeys(), this.#backUp()]);
  }

  /** While the platform is started again, requests that fail are no problem. */
  pause(paused: boolean): void {
    this.#paused = paused;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  async #send(sender: number): Promise<void> {
    const random = new Random(this.#o.seed * 1_000 + sender);
    const lanes = Array.from({ length: 3 }, (_, i) => new Lane(`s${sender}l${i}`, random));
    const sent: { stream: StreamName; lines: string[] }[] = [];
    const everyMs = (1000 * BATCH * SENDERS) / this.#o.eventsPerSecond;
    for (let due = performance.now(); !this.#stopping; due += everyMs) {
      await sleep(Math.max(0, due - performance.now()));
      const again = sent.length > 0 && random.chance(0.1);
      const stream = random.pick(STREAMS);
      const batch = again
        ? random.pick(sent)
        : { stream, lines: Array.from({ length: BATCH }, () => random.pick(lanes).event(stream).text) };
      if (!again) sent.push(batch);
      if (sent.length > REMEMBERED) sent.shift();
      const started = performance.now();
      if (await this.#post(batch.stream, batch.lines)) this.ingestMs.push(performance.now() - started);
    }
  }

  /** Sends until it is taken, as a sender does. True when the first try was. */
  async #post(stream: string, lines: readonly string[]): Promise<boolean> {
    for (let attempt = 0; ; attempt++) {
      const path = `/v1/streams/${stream}/events`;
      const answer = await this.#client.send("POST", path, `${lines.join("\n")}\n`, "application/x-ndjson");
      if (answer?.status === 202) {
        this.acknowledged += (JSON.parse(answer.body) as { accepted: number }).accepted;
        return attempt === 0;
      }
      if (answer?.status === 422) return false; // a batch in which every event was a bad one
      this.#problem(`a batch was answered ${answer?.status ?? "nothing"}: ${answer?.body.slice(0, 200)}`);
      await sleep(100);
    }
  }

  async #query(): Promise<void> {
    for (let i = 0; !this.#stopping; i++) {
      const started = performance.now();
      const body = JSON.stringify({ sql: QUERIES[i % QUERIES.length] });
      const answer = await this.#client.send("POST", "/v1/sql", body);
      if (answer?.status === 200) {
        this.queryMs.push(performance.now() - started);
        this.queries++;
      } else this.#problem(`a query was answered ${answer?.status ?? "nothing"}: ${answer?.body.slice(0, 200)}`);
      await sleep(QUERY_PAUSE_MS);
    }
  }

  async #changeKeys(): Promise<void> {
    while (!this.#stopping) {
      const body = JSON.stringify({ name: "soak", scopes: ["query"] });
      const made = await this.#client.send("POST", "/v1/keys", body);
      if (made?.status === 201) {
        const { key } = JSON.parse(made.body) as { key: { id: string } };
        const revoked = await this.#client.send("DELETE", `/v1/keys/${key.id}`);
        if (revoked?.status === 200) this.keys++;
        else this.#problem(`a key's end was answered ${revoked?.status ?? "nothing"}`);
      } else this.#problem(`a key was answered ${made?.status ?? "nothing"}`);
      await this.#wait(KEY_PAUSE_MS);
    }
  }

  async #backUp(): Promise<void> {
    const { backupDir: dir, backupEveryMs } = this.#o;
    await this.#wait(backupEveryMs);
    while (!this.#stopping) {
      const started = performance.now();
      const body = JSON.stringify({ dir, keep: 2 });
      const made = await this.#client.send("POST", "/v1/backups", body, "application/json", 600_000);
      if (made?.status === 201) this.backupsMs.push(performance.now() - started);
      else this.#problem(`a backup was answered ${made?.status ?? "nothing"}: ${made?.body.slice(0, 300)}`);
      await this.#wait(backupEveryMs);
    }
  }

  async #wait(ms: number): Promise<void> {
    const end = performance.now() + ms;
    while (!this.#stopping && performance.now() < end) await sleep(Math.min(200, end - performance.now()));
  }

  #problem(text: string): void {
    if (!this.#paused && this.problems.length < 100) this.problems.push(text);
  }
}
