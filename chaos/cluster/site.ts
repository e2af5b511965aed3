/**
 * What the workers of a run stand on: three brokers, a bucket and a database. Each worker comes to bucket and database by proxies of its own, which make
 * S3 fail and cut the network, for all of them or for one. The servers are those of `npm run engines:up`; topics, bucket and database are the run's own.
 */
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  S3Client,
} from "@aws-sdk/client-s3";
import { Admin } from "@platformatic/kafka";
import pg from "pg";
import { type Endpoints, endpoint } from "../../engines/endpoints.ts";
import { brokerPid, startBroker, stopBroker } from "../../engines/kafka.ts";
import { postgresPid, postgresUp } from "../../engines/postgres.ts";
import { FaultProxy } from "../fault-proxy.ts";

type Servers = Required<Pick<Endpoints, "kafka" | "s3" | "postgres">>;

/** By which a worker comes to the bucket and to the database. */
export interface Ways {
  readonly s3: FaultProxy;
  readonly postgres: FaultProxy;
}

export class Site {
  readonly #servers: Servers;
  readonly #name = `chaos${randomBytes(5).toString("hex")}`;
  readonly #client: S3Client;
  readonly #seed: number;
  readonly #ways = new Map<string, Ways>();

  private constructor(servers: Servers, seed: number) {
    this.#servers = servers;
    this.#seed = seed;
    const { endpoint: url, region, accessKeyId, secretAccessKey } = servers.s3;
    const credentials = { accessKeyId, secretAccessKey };
    this.#client = new S3Client({ endpoint: url, region, credentials, forcePathStyle: true });
  }

  /** @throws EngineError when a server is not up */
  static async open(seed: number): Promise<Site> {
    const servers = { kafka: await endpoint("kafka"), s3: await endpoint("s3"), postgres: await endpoint("postgres") };
    const site = new Site(servers, seed);
    await site.#client.send(new CreateBucketCommand({ Bucket: site.#name }));
    await site.#inDatabase((client) => client.query(`create database ${site.#name}`));
    return site;
  }

  /** What a worker is given. */
  async settingsOf(worker: string): Promise<Readonly<Record<string, unknown>>> {
    const { kafka, s3, postgres } = this.#servers;
    const login = `${postgres.username}:${postgres.password}`;
    const ways = this.#ways.get(worker) ?? (await this.#openWays());
    this.#ways.set(worker, ways);
    return {
      kafkaBrokers: kafka.bootstrap,
      kafkaTopicPrefix: `${this.#name}.`,
      storeUrl: `s3://${this.#name}/lake`,
      s3Endpoint: ways.s3.url,
      s3AccessKeyId: s3.accessKeyId,
      s3SecretAccessKey: s3.secretAccessKey,
      postgresUrl: `postgres://${login}@127.0.0.1:${ways.postgres.port}/${this.#name}`,
    };
  }

  /** The ways of one worker, or of all. */
  ways(worker?: string): readonly Ways[] {
    const one = worker === undefined ? undefined : this.#ways.get(worker);
    return worker === undefined ? [...this.#ways.values()] : one === undefined ? [] : [one];
  }

  get brokers(): readonly number[] {
    return this.#servers.kafka.brokers.map(({ id }) => id);
  }

  async killBroker(id: number): Promise<void> {
    await stopBroker(this.#servers.kafka, id, "SIGKILL");
  }

  /** Holds a broker up: it answers nobody, and nobody is told so. False when it does not run. */
  async signalBroker(id: number, signal: "SIGSTOP" | "SIGCONT"): Promise<boolean> {
    const pid = await brokerPid(this.#servers.kafka, id);
    if (pid !== undefined) process.kill(pid, signal);
    return pid !== undefined;
  }

  async startBroker(id: number): Promise<void> {
    await startBroker(this.#servers.kafka, id);
  }

  /** False when it does not run. */
  async killPostgres(): Promise<boolean> {
    const pid = await postgresPid();
    if (pid === undefined) return false;
    process.kill(pid, "SIGKILL");
    return true;
  }

  async startPostgres(): Promise<void> {
    await postgresUp(this.#servers.postgres);
  }

  /** Everything is there and answers. */
  async heal(): Promise<void> {
    for (const { s3, postgres } of this.ways()) {
      s3.down(false);
      s3.set({});
      postgres.down(false);
    }
    for (const id of this.brokers) {
      await this.signalBroker(id, "SIGCONT");
      await this.startBroker(id);
    }
    await this.startPostgres();
  }

  /** Names of all objects of the lake, as files below a data folder. */
  async #lakeFiles(): Promise<string[]> {
    const found: string[] = [];
    for (let after: string | undefined; ; ) {
      const { Contents = [], IsTruncated } = await this.#client.send(
        new ListObjectsV2Command({ Bucket: this.#name, Prefix: "lake/", StartAfter: after }),
      );
      found.push(...Contents.map(({ Key = "" }) => Key));
      after = found.at(-1);
      if (!IsTruncated) return found;
    }
  }

  /** Copies the lake below a data folder, for who reads it there. */
  async download(dataDir: string): Promise<void> {
    for (const file of await this.#lakeFiles()) {
      const { Body } = await this.#client.send(new GetObjectCommand({ Bucket: this.#name, Key: file }));
      const path = join(dataDir, file);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, (await Body?.transformToByteArray()) ?? new Uint8Array());
    }
  }

  /** Ends the proxies, and unless it is kept, removes what the run has made. */
  async close(keep: boolean): Promise<void> {
    for (const { s3, postgres } of this.ways()) {
      await s3.close();
      await postgres.close();
    }
    if (!keep) await this.#remove();
    this.#client.destroy();
  }

  async #openWays(): Promise<Ways> {
    const seed = this.#seed * 1_000 + this.#ways.size;
    const { hostname, port } = new URL(this.#servers.s3.endpoint);
    const s3 = { host: hostname, port: Number(port) };
    const { host, port: ofDatabase } = this.#servers.postgres;
    return {
      s3: await FaultProxy.start({ target: s3, protocol: "http", seed }),
      postgres: await FaultProxy.start({ target: { host, port: ofDatabase }, protocol: "tcp", seed }),
    };
  }

  async #remove(): Promise<void> {
    for (;;) {
      const { Contents = [] } = await this.#client.send(new ListObjectsV2Command({ Bucket: this.#name }));
      if (Contents.length === 0) break;
      const Objects = Contents.map(({ Key }) => ({ Key }));
      await this.#client.send(new DeleteObjectsCommand({ Bucket: this.#name, Delete: { Objects, Quiet: true } }));
    }
    await this.#client.send(new DeleteBucketCommand({ Bucket: this.#name }));
    await this.#inDatabase((client) => client.query(`drop database ${this.#name} with (force)`));
    const admin = new Admin({ clientId: "chaos", bootstrapBrokers: this.#servers.kafka.bootstrap.split(",") });
    try {
      const topics = (await admin.listTopics()).filter((topic) => topic.startsWith(`${this.#name}.`));
      if (topics.length > 0) await admin.deleteTopics({ topics });
    } finally {
      await admin.close();
    }
  }

  async #inDatabase(work: (client: pg.Client) => Promise<unknown>): Promise<void> {
    const client = new pg.Client({ connectionString: this.#servers.postgres.url });
    client.on("error", () => undefined);
    await client.connect();
    try {
      await work(client);
    } finally {
      await client.end();
    }
  }
}
