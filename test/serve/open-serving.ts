/** A flow over real parts, an embedded PostgreSQL, and what publishes from one to the other when a test asks. */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { published, publishing } from "../../src/platform/publishing.ts";
import type { Publisher } from "../../src/serve/publisher.ts";
import { connectTo, type EmbeddedPostgres, startEmbeddedPostgres } from "../../src/state/embedded-postgres.ts";
import { openFlow } from "../flow/open-flow.ts";

export interface TestServer extends AsyncDisposable {
  readonly server: EmbeddedPostgres;
  readonly folder: string;
  /** A database of a test's own. */
  database(): Promise<pg.ClientConfig>;
}

/** A server for the tests of a file; `bi` where BI tools connect. */
export async function testServer(): Promise<TestServer> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-serving-"));
  const server = await startEmbeddedPostgres({ folder, listen: { host: "127.0.0.1", port: 0 } });
  return {
    server,
    folder,
    async database() {
      const name = `t_${randomBytes(4).toString("hex")}`;
      const client = await connectTo(server.connection);
      await client.query(`create database ${name}`);
      await client.end();
      return { ...server.connection, database: name };
    },
    async [Symbol.asyncDispose]() {
      await server.stop();
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

export interface OpenServingOptions {
  readonly project?: string;
  readonly clock?: () => number;
  readonly retryPauseMs?: (failures: number) => number;
  readonly retentionMs?: number;
  /** Where the publisher connects, if not where the test looks. */
  readonly publishTo?: pg.ClientConfig;
}

export async function openServing(dir: string, connection: pg.ClientConfig, options: OpenServingOptions = {}) {
  const reported: Error[] = [];
  let publisher: Publisher | undefined;
  const { project = "served", clock, retryPauseMs = () => 20, retentionMs } = options;
  const f = await openFlow(dir, {
    project: join("../../serve/projects", project),
    ...(clock && { clock }),
    ...(retentionMs !== undefined && { retentionMs }),
    published: () => published(publisher),
    publishAgain: async (table) => publisher?.again(table),
  });
  publisher = publishing({
    ...{
      flow: f.flow,
      engine: f.engine,
      connection: options.publishTo ?? connection,
      retryPauseMs,
      clock: clock ?? Date.now,
    },
    report: (error) => reported.push(error as Error),
  });
  const client = new pg.Client(connection);
  // A server that is stopped under it is the test's doing.
  client.on("error", () => undefined);
  await client.connect();
  const working = publisher;
  f.flow.lake.onCommit((table) => working.committed(table));
  return {
    ...f,
    publisher: working,
    reported,
    client,
    /** Events into a stream, stored, and every table over it refreshed. */
    async store(stream: string, events: readonly unknown[], tables: readonly string[] = []) {
      await f.append(stream, events);
      await f.flow.flush();
      for (const table of tables) await f.flow.refresh(table);
    },
    async rows(sql: string): Promise<unknown[][]> {
      return (await client.query({ text: sql, rowMode: "array" })).rows;
    },
    async [Symbol.asyncDispose]() {
      await working.close();
      await client.end();
      await f[Symbol.asyncDispose]();
    },
  };
}
