/** Several processes over the real engines, each started by the command with a role of its own, spoken to over HTTP. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CreateBucketCommand } from "@aws-sdk/client-s3";
import pg from "pg";
import { endpoint } from "../../engines/endpoints.ts";
import { removeBucket, s3Server } from "./s3-bucket.ts";

const ROOT = join(import.meta.dirname, "../..");
const BIN = join(ROOT, "bin/millrace.js");

export interface LedgerAnswer {
  readonly balanced: boolean;
  readonly hops: readonly {
    readonly stream: string;
    readonly hop: string;
    readonly accepted: number;
    readonly stored: number;
    readonly duplicate: number;
    readonly deadLettered: number;
    readonly pending: number;
    readonly balanced: boolean;
  }[];
  readonly imbalances: readonly { readonly message: string }[];
}

export interface WorkerView {
  readonly id: string;
  readonly roles: readonly string[];
  readonly url: string;
  readonly live: boolean;
  readonly owns: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>;
}

/** Topics, a bucket and a database of a test's own. */
export class RunningCluster {
  readonly key = `mk_${randomBytes(6).toString("hex")}_${randomBytes(32).toString("base64url")}`;
  readonly dir: string;
  readonly env: Readonly<Record<string, string>>;
  readonly workers = new Map<string, RunningWorker>();
  readonly #project: string;
  readonly #database: string;
  readonly #remove: () => Promise<void>;

  private constructor(
    project: string,
    dir: string,
    name: string,
    env: Record<string, string>,
    remove: () => Promise<void>,
  ) {
    this.#project = project;
    this.dir = dir;
    this.#database = name;
    this.#remove = remove;
    this.env = { ...env, MILLRACE_ADMIN_KEY: this.key };
  }

  /** `settings`: for every worker, as the environment has them. */
  static async open(project: string, settings: Readonly<Record<string, string>> = {}): Promise<RunningCluster> {
    const name = `w${randomBytes(5).toString("hex")}`;
    const [kafka, postgres, { server, client }] = await Promise.all([
      endpoint("kafka"),
      endpoint("postgres"),
      s3Server(),
    ]);
    const Bucket = `millrace-${name}`;
    await client.send(new CreateBucketCommand({ Bucket }));
    await asAdministrator(postgres.url, `create database ${name}`);
    const dir = await mkdtemp(join(tmpdir(), "millrace-workers-"));
    const url = new URL(postgres.url);
    url.pathname = `/${name}`;
    const env = {
      MILLRACE_KAFKA_BROKERS: kafka.bootstrap,
      MILLRACE_KAFKA_TOPIC_PREFIX: `${name}.`,
      MILLRACE_STORE_URL: `s3://${Bucket}`,
      MILLRACE_S3_ENDPOINT: server.endpoint,
      MILLRACE_S3_ACCESS_KEY_ID: server.accessKeyId,
      MILLRACE_S3_SECRET_ACCESS_KEY: server.secretAccessKey,
      MILLRACE_POSTGRES_URL: url.href,
      MILLRACE_PARTITIONS: "4",
      MILLRACE_ENGINE_MEMORY_BYTES: "192MiB",
      MILLRACE_ENGINE_THREADS: "1",
      MILLRACE_FLUSH_INTERVAL_MS: "2s",
      MILLRACE_LOG_LEVEL: "warn",
      ...settings,
    };
    return new RunningCluster(project, dir, name, env, async () => {
      await removeBucket(client, Bucket);
      client.destroy();
      await asAdministrator(postgres.url, `drop database ${name} with (force)`);
      await rm(dir, { recursive: true, force: true });
    });
  }

  /** Resolves once the worker serves. A worker of the same id has ended before. `prefix`: of its command, one that becomes it. */
  async start(
    id: string,
    role: string | undefined,
    env: Readonly<Record<string, string>> = {},
    prefix: readonly string[] = [],
  ): Promise<RunningWorker> {
    const roles = role === undefined ? [] : ["--role", role];
    const args = ["--max-old-space-size=256", BIN, "start", join(ROOT, this.#project), "--port", "0", ...roles];
    const command = [...prefix, process.execPath, ...args, "--data", join(this.dir, id), "--worker-id", id];
    const child = spawn(command[0] as string, command.slice(1), {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...this.env, ...env },
    });
    const worker = new RunningWorker(id, child, this.key);
    this.workers.set(id, worker);
    await worker.ready;
    return worker;
  }

  worker(id: string): RunningWorker {
    const worker = this.workers.get(id);
    assert.ok(worker, `there is no worker ${id}`);
    return worker;
  }

  /** A statement in the cluster's own records. */
  async records<Row>(sql: string): Promise<Row[]> {
    const client = new pg.Client(this.env["MILLRACE_POSTGRES_URL"]);
    await client.connect();
    try {
      return (await client.query(sql)).rows as Row[];
    } finally {
      await client.end();
    }
  }

  get database(): string {
    return this.#database;
  }

  async close(): Promise<void> {
    await Promise.all([...this.workers.values()].map((worker) => worker.stop("SIGKILL")));
    await this.#remove();
  }
}

export class RunningWorker {
  readonly id: string;
  readonly ready: Promise<void>;
  readonly #child: ChildProcess;
  readonly #key: string;
  #url = "";
  #out = "";
  #errors = "";

  constructor(id: string, child: ChildProcess, key: string) {
    this.id = id;
    this.#child = child;
    this.#key = key;
    child.stderr!.on("data", (chunk) => {
      this.#errors += chunk;
    });
    this.ready = new Promise<void>((resolve, reject) => {
      child.stdout!.on("data", (chunk) => {
        this.#out += chunk;
        const found = /^ready (\S+)$/m.exec(this.#out);
        if (!found?.[1]) return;
        this.#url = found[1];
        resolve();
      });
      child.once("exit", (code, signal) =>
        reject(new Error(`worker ${id} ended with ${code ?? signal} before it was ready:\n${this.#errors}`)),
      );
    });
    this.ready.catch(() => undefined); // whoever awaits it is told
  }

  get url(): string {
    return this.#url;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** What it has said on its standard error. */
  get errors(): string {
    return this.#errors;
  }

  /** Posts events until they are acknowledged, all of them; what is refused for the moment is sent again. */
  async post(stream: string, events: readonly unknown[]): Promise<void> {
    const body = `${events.map((event) => JSON.stringify(event)).join("\n")}\n`;
    for (let attempt = 0; attempt < 100; attempt++) {
      const response = await fetch(`${this.#url}/v1/streams/${stream}/events`, {
        ...{ method: "POST", body },
        headers: { authorization: `Bearer ${this.#key}`, "content-type": "application/x-ndjson" },
      });
      const answer = (await response.json()) as { accepted?: number; rejected?: unknown[] };
      if (response.status === 202) {
        assert.equal(answer.accepted, events.length, JSON.stringify(answer.rejected));
        return;
      }
      assert.ok([429, 503].includes(response.status), JSON.stringify(answer));
      await sleep(200);
    }
    assert.fail(`worker ${this.id} took no events for 20 seconds`);
  }

  async json<Body>(path: string, body?: unknown): Promise<{ readonly status: number; readonly body: Body }> {
    const response = await fetch(`${this.#url}${path}`, {
      ...(body !== undefined && { method: "POST", body: JSON.stringify(body) }),
      headers: { authorization: `Bearer ${this.#key}`, "content-type": "application/json" },
    });
    return { status: response.status, body: (await response.json()) as Body };
  }

  async sql(sql: string): Promise<unknown[][]> {
    const { status, body } = await this.json<{ rows: unknown[][] }>("/v1/sql", { sql });
    assert.equal(status, 200, JSON.stringify(body));
    return body.rows;
  }

  async count(from: string): Promise<number> {
    const [[count] = []] = await this.sql(`select count(*)::integer from ${from}`);
    return count as number;
  }

  async ledger(): Promise<LedgerAnswer> {
    return (await this.json<LedgerAnswer>("/v1/ledger")).body;
  }

  async metrics(): Promise<string> {
    return (await fetch(`${this.#url}/metrics`)).text();
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Resolves to its exit code; null when it was killed. */
  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<number | null> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return this.#child.exitCode;
    const exited = once(this.#child, "exit");
    this.#child.kill(signal);
    await exited;
    return this.#child.exitCode;
  }

  /** Resolves to its exit code once it has ended by itself. */
  async ended(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "exit");
    return this.#child.exitCode;
  }
}

/** Waits until it holds. Resolves to how long that took. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string),
  withinMs = 60_000,
): Promise<number> {
  const started = performance.now();
  while (performance.now() - started < withinMs) {
    if (await condition()) return performance.now() - started;
    await sleep(100);
  }
  assert.fail(`within ${withinMs / 1000} s this did not come to pass: ${typeof what === "string" ? what : what()}`);
}

async function asAdministrator(url: string, sql: string): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
