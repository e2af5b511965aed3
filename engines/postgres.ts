import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { chown, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { findPostgresBinaries } from "../src/state/postgres-binaries.ts";
import { choosePostgresUser, giveTo, type PostgresUser } from "../src/state/postgres-user.ts";
import { runFolder } from "./cache.ts";
import type { PostgresEndpoint } from "./endpoints.ts";
import { freePort } from "./free-port.ts";
import { runCommand } from "./run-command.ts";
import { absent, launch, running, type ServerProcess, stop, untilReady } from "./server-process.ts";

/**
 * The PostgreSQL that the platform brings for its own embedded use (its version stands in package.json), here as a server on
 * the loopback with a password, as a customer's would be.
 */
const SERVER: ServerProcess = { name: "postgres server", folder: runFolder("postgres") };
const START_WITHIN_MS = 60_000;
const REAPED_WITHIN_MS = 10_000;
const DATABASE = "millrace";

export async function postgresUp(before: PostgresEndpoint | undefined): Promise<PostgresEndpoint> {
  const binaries = findPostgresBinaries();
  const cluster = join(SERVER.folder, "cluster");
  await mkdir(SERVER.folder, { recursive: true, mode: 0o711 });
  const user = choosePostgresUser([cluster, binaries.postgres], { outlivesUs: true });
  const endpoint = before ?? (await plan());
  if (!existsSync(cluster)) await createCluster(cluster, binaries.initdb, user, endpoint);
  if ((await running(SERVER)) === undefined) {
    const parameters = {
      listen_addresses: endpoint.host,
      port: endpoint.port,
      unix_socket_directories: "",
      // Tests open pools beside each other, and workers one each.
      max_connections: 200,
      shared_buffers: "64MB",
      max_wal_size: "512MB",
      io_method: "sync",
      huge_pages: "off",
      // As a server of a customer: what it says was committed is on the disk.
      fsync: "on",
    };
    const settings = Object.entries(parameters).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    const [program, ...args] = [...user.prefix, binaries.postgres, "-D", cluster, ...settings];
    await reaped(cluster);
    await launch(SERVER, [program!, ...args], { ...user.spawn, cwd: dirname(cluster) });
  }
  await untilReady(SERVER, START_WITHIN_MS, () => hasDatabase(endpoint));
  return endpoint;
}

export async function postgresDown(): Promise<void> {
  // Fast shutdown: whoever is connected is cut off.
  await stop(SERVER, { signal: "SIGINT" });
  await rm(SERVER.folder, { recursive: true, force: true });
}

export async function postgresProcesses(): Promise<{ name: string; pid: number | undefined }[]> {
  return [{ name: SERVER.name, pid: await postgresPid() }];
}

/** The number of the server's process, for chaos; undefined when it does not run. `postgresUp` starts it again with its data. */
export async function postgresPid(): Promise<number | undefined> {
  return (await running(SERVER))?.pid;
}

/**
 * A server that was killed counts as running, for the next one over its cluster, until somebody has taken notice of its end; who that is, in a container
 * above all, may take a moment.
 */
async function reaped(cluster: string): Promise<void> {
  const lock = await readFile(join(cluster, "postmaster.pid"), "utf8").catch(absent);
  const pid = Number(lock?.split("\n")[0]);
  if (!(pid > 0)) return;
  // One that stays is for the server to refuse.
  for (const began = performance.now(); performance.now() - began < REAPED_WITHIN_MS; await sleep(50)) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
  }
}

async function plan(): Promise<PostgresEndpoint> {
  const [host, port] = ["127.0.0.1", await freePort()];
  const [username, password] = ["engines", randomBytes(12).toString("hex")];
  const url = `postgres://${username}:${password}@${host}:${port}/${DATABASE}`;
  return { host, port, username, password, database: DATABASE, url };
}

/** Made beside its place, so that a cluster that is there is whole. */
async function createCluster(
  cluster: string,
  initdb: string,
  user: PostgresUser,
  { username, password }: PostgresEndpoint,
): Promise<void> {
  const making = `${cluster}.new`;
  const passwordFile = join(SERVER.folder, "password");
  await rm(making, { recursive: true, force: true });
  await mkdir(making, { mode: 0o700 });
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  giveTo(user.owner, making);
  if (process.getuid?.() === 0) await chown(passwordFile, user.owner.uid, user.owner.gid);
  const args = [`--pgdata=${making}`, `--username=${username}`, `--pwfile=${passwordFile}`, "--auth=scram-sha-256"];
  const [program, ...rest] = [...user.prefix, initdb, ...args, "--encoding=UTF8", "--locale=C", "--no-instructions"];
  const next = "npm run engines:down, then up again, begins with empty data";
  await runCommand([program!, ...rest], { ...user.spawn, withinMs: START_WITHIN_MS, next, cwd: SERVER.folder });
  await rename(making, cluster);
  await rm(passwordFile);
}

async function hasDatabase({ host, port, username, password }: PostgresEndpoint): Promise<boolean> {
  const client = new pg.Client({
    host,
    port,
    user: username,
    password,
    database: "postgres",
    connectionTimeoutMillis: 5_000,
  });
  // A server that goes away meanwhile is told by the query as well.
  client.on("error", () => undefined);
  await client.connect();
  try {
    const { rowCount } = await client.query("select 1 from pg_database where datname = $1", [DATABASE]);
    if (rowCount === 0) await client.query(`create database ${DATABASE}`);
    return true;
  } finally {
    await client.end();
  }
}
