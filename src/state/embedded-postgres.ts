import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chownSync, closeSync, existsSync, mkdtempSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { chown, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { MillraceError } from "../errors.ts";
import { findPostgresBinaries, type PostgresBinaries } from "./postgres-binaries.ts";
import { choosePostgresUser, giveTo, type PostgresUser } from "./postgres-user.ts";
import { clearPostmaster, readPostmasterPid } from "./postmaster-pid.ts";

/**
 * A PostgreSQL server of our own, in a folder of the data folder:
 *
 *     postgres/cluster/      the server's data; made as cluster.new-… and renamed when it is whole
 *     postgres/password      of the user millrace, mode 0600
 *     postgres/server.log    what the server says; the start before the last is in server.log.1
 *
 * The platform reaches it by a Unix socket in its cluster folder (or, where that path is too long for a socket, in a private temporary
 * folder). It listens on no network, unless it is asked to take BI tools: then on one address, for members of the role
 * `millrace_bi` and the database `millrace` alone, with passwords (SCRAM-SHA-256).
 */
export interface EmbeddedPostgres {
  /** Where clients connect; stays the same when the server is restarted. */
  readonly connection: { host: string; port: number; user: string; password: string; database: string };
  readonly user: PostgresUser["way"];
  /** Where BI tools connect; undefined when it listens on no network. */
  readonly bi: BiAddress | undefined;
  /** The server's process now; undefined while it is being restarted. */
  pid(): number | undefined;
  /** Stops the server cleanly and waits for its end. */
  stop(): Promise<void>;
}

export interface BiAddress {
  readonly host: string;
  readonly port: number;
  readonly database: string;
}

/**
 * Starts the server of a folder, first making it if need be. A server that an earlier life left running there is stopped
 * first; one that dies is started again. The caller sees to it that only one process uses the folder.
 * @throws POSTGRES_NOT_INSTALLED, POSTGRES_REFUSES_ROOT, POSTGRES_START_FAILED, BI_PORT_IN_USE
 */
export async function startEmbeddedPostgres(options: {
  folder: string;
  /** Takes BI tools there; port 0 is any free one. */
  listen?: { readonly host: string; readonly port: number } | undefined;
  /** Runs the server in this way only, instead of the first that works here. */
  runAs?: PostgresUser["way"];
}): Promise<EmbeddedPostgres> {
  const folder = resolve(options.folder);
  const binaries = findPostgresBinaries();
  // Others may pass through, for the server may be such another; every file in it is private.
  await mkdir(folder, { recursive: true, mode: 0o711 });
  const user = choosePostgresUser([join(folder, "cluster"), binaries.postgres], { only: options.runAs });
  const server = new Server(folder, binaries, user, options.listen);
  await server.start();
  return server;
}

/** One socket per folder needs no free port; the number only names the socket's file. */
const PORT = 5432;
/** The shortest limit of a socket's path among the systems we run on (macOS: 104 with the closing NUL). */
const SOCKET_PATH_BYTES = 103;
/** A start takes 30 ms, and up to minutes only when much of the write-ahead log is to be replayed. */
const START_TIMEOUT_MS = 120_000;
const STOP_TIMEOUT_MS = 10_000;

/** Modest: a few connections and tables of some thousand rows, beside an ingest path that wants the memory. */
const PARAMETERS: Record<string, string> = {
  listen_addresses: "",
  shared_buffers: "32MB",
  max_connections: "40",
  max_wal_size: "256MB",
  min_wal_size: "32MB",
  io_method: "sync",
  max_parallel_workers: "2",
  max_worker_processes: "4",
  huge_pages: "off",
  unix_socket_permissions: "0700",
  // Else server.log, which is begun anew only with the server, gets two lines every few minutes for as long as it runs.
  log_checkpoints: "off",
};

/** Beside them where BI tools connect, whatever they do with their connections: the superuser, which is the platform, keeps its own. */
const BI_PARAMETERS: Record<string, string> = {
  max_connections: "100",
  superuser_reserved_connections: "40",
  shared_buffers: "64MB",
};

/** Of published tables; the platform's records are in another. */
const BI_DATABASE = "millrace";

/**
 * Who may come in, line by line, the first that fits. It takes the place of the cluster's own file, which allows every role on every
 * local address.
 */
const HBA = `local all millrace scram-sha-256
host all millrace all reject
host ${BI_DATABASE} +millrace_bi all scram-sha-256
`;

class Server implements EmbeddedPostgres {
  readonly connection: EmbeddedPostgres["connection"];
  readonly user: PostgresUser["way"];
  bi: BiAddress | undefined;
  readonly #listen: { readonly host: string; readonly port: number } | undefined;
  readonly #folder: string;
  readonly #cluster: string;
  readonly #binaries: PostgresBinaries;
  readonly #user: PostgresUser;
  readonly #socketFolder: string;
  #child: ChildProcess | undefined;
  #stopping = false;
  #stopped: Promise<void> | undefined;
  #restart: Promise<void> = Promise.resolve();

  constructor(
    folder: string,
    binaries: PostgresBinaries,
    user: PostgresUser,
    listen: { readonly host: string; readonly port: number } | undefined,
  ) {
    this.#listen = listen;
    this.#folder = folder;
    this.#cluster = join(folder, "cluster");
    this.#binaries = binaries;
    this.#user = user;
    this.user = user.way;
    const fits =
      Buffer.byteLength(join(this.#cluster, `.s.PGSQL.${listen ? "65535" : PORT}.lock`)) <= SOCKET_PATH_BYTES;
    this.#socketFolder = fits ? this.#cluster : mkdtempSync(join(tmpdir(), "millrace-"));
    if (!fits) giveTo(user.owner, this.#socketFolder);
    this.connection = { host: this.#socketFolder, port: PORT, user: "millrace", password: "", database: "postgres" };
  }

  async start(): Promise<void> {
    if (!existsSync(this.#cluster)) await this.#create();
    this.connection.password = readFileSync(join(this.#folder, "password"), "utf8").trim();
    giveTo(this.#user.owner, this.#cluster);
    await clearPostmaster(this.#cluster);
    if (this.#listen !== undefined) {
      const { host } = this.#listen;
      const port = await freePort(host, this.#listen.port);
      this.bi = { host, port, database: BI_DATABASE };
      // The number of the network's port names the socket as well.
      this.connection.port = port;
      this.#writeHba();
    }
    await this.#launch();
    if (this.bi !== undefined) await makeDatabase(this.connection);
  }

  pid(): number | undefined {
    return this.#child?.pid;
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#stopping = true;
    await this.#restart;
    const child = this.#child;
    if (child !== undefined) {
      const ended = exit(child);
      // Fast shutdown: open transactions are rolled back, a checkpoint is written.
      child.kill("SIGINT");
      const timer = setTimeout(() => child.kill("SIGQUIT"), STOP_TIMEOUT_MS);
      await ended;
      clearTimeout(timer);
    }
    if (this.#socketFolder !== this.#cluster) await rm(this.#socketFolder, { recursive: true, force: true });
  }

  async #create(): Promise<void> {
    // The initdb of a start that was killed may still run: it gets no chance to touch the folder of this one.
    for (const name of await readdir(this.#folder)) {
      if (!name.startsWith("cluster.new")) continue;
      await rm(join(this.#folder, name), { recursive: true, force: true, maxRetries: 10 });
    }
    const making = `${this.#cluster}.new-${randomBytes(4).toString("hex")}`;
    await mkdir(making, { mode: 0o700 });
    giveTo(this.#user.owner, making);
    const password = join(this.#folder, "password");
    await writeDurably(password, `${randomBytes(24).toString("base64url")}\n`);
    if (process.getuid?.() === 0) await chown(password, this.#user.owner.uid, this.#user.owner.gid);
    const args = [`--pgdata=${making}`, "--username=millrace", `--pwfile=${password}`, "--auth=scram-sha-256"];
    args.push("--encoding=UTF8", "--locale=C", "--wal-segsize=4", "--no-instructions");
    const child = this.#spawn(this.#binaries.initdb, args, ["ignore", "pipe", "pipe"]);
    const said: string[] = [];
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (text) => said.push(String(text)));
    const code = await exit(child);
    if (code !== 0) throw this.#failure("make its data folder", lastLine(said.join("")) ?? `initdb ended with ${code}`);
    await rename(making, this.#cluster);
    await syncFolder(this.#folder);
  }

  #writeHba(): void {
    const { uid, gid } = this.#user.owner;
    writeFileSync(this.#hba, HBA, { mode: 0o600 });
    if (process.getuid?.() === 0) chownSync(this.#hba, uid, gid);
  }

  get #hba(): string {
    return join(this.#cluster, "millrace_hba.conf");
  }

  async #launch(): Promise<void> {
    const log = join(this.#folder, "server.log");
    if (existsSync(log)) await rename(log, `${log}.1`);
    const args = ["-D", this.#cluster, "-p", String(this.connection.port), "-k", this.#socketFolder];
    const open = this.bi && { ...BI_PARAMETERS, listen_addresses: this.bi.host, hba_file: this.#hba };
    for (const [name, value] of Object.entries({ ...PARAMETERS, ...open })) args.push("-c", `${name}=${value}`);
    const output = openSync(log, "a", 0o600);
    const child = this.#spawn(this.#binaries.postgres, args, ["ignore", output, output]);
    closeSync(output);
    this.#child = child;
    const ended = exit(child);
    let code: number | string | undefined;
    void ended.then((value) => {
      code = value;
      this.#child = undefined;
    });
    const started = performance.now();
    for (;;) {
      const state = readPostmasterPid(this.#cluster);
      if (state?.pid === child.pid && state?.status === "ready") break;
      if (code !== undefined)
        throw this.#failure("start", lastLine(readFileSync(log, "utf8")) ?? `it ended with ${code}`);
      if (performance.now() - started > START_TIMEOUT_MS) {
        child.kill("SIGQUIT");
        throw this.#failure("start", `it was not ready after ${START_TIMEOUT_MS / 1000} s`);
      }
      await sleep(5);
    }
    void ended.then(() => this.#revive());
  }

  /** The server died under us: start it again, at first at once, then with growing pauses for as long as it takes. */
  #revive(): void {
    if (this.#stopping) return;
    this.#restart = (async () => {
      for (let pauseMs = 50; !this.#stopping; pauseMs = Math.min(pauseMs * 2, 5_000)) {
        try {
          await clearPostmaster(this.#cluster);
          return await this.#launch();
        } catch {
          // The reason is in server.log, and every query until then says that the state is unavailable.
          await sleep(pauseMs);
        }
      }
    })();
  }

  #spawn(program: string, args: readonly string[], stdio: ("ignore" | "pipe" | number)[]): ChildProcess {
    const [command, ...words] = [...this.#user.prefix, program, ...args];
    // Nothing of our environment: PGDATA, PGPORT, PGOPTIONS and the locale would all change what the server does.
    const env = { PATH: process.env.PATH ?? "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" };
    // A group of its own: Ctrl-C in the terminal stops us, and we stop the server when nothing needs it any more.
    return spawn(command!, words, { ...this.#user.spawn, cwd: "/", env, stdio, detached: true });
  }

  #failure(step: string, reason: string): MillraceError {
    return new MillraceError("POSTGRES_START_FAILED", { step, reason, log: join(this.#folder, "server.log") });
  }
}

/** A client connected to the server; for what a pool is too much. */
export async function connectTo(connection: EmbeddedPostgres["connection"]): Promise<pg.Client> {
  const client = new pg.Client(connection);
  await client.connect();
  return client;
}

/** The port, or a free one for 0. @throws BI_PORT_IN_USE */
async function freePort(host: string, port: number): Promise<number> {
  const probe = createServer();
  try {
    await new Promise<void>((done, fail) => probe.once("error", fail).listen(port, host, done));
    return (probe.address() as AddressInfo).port;
  } catch (cause) {
    throw new MillraceError("BI_PORT_IN_USE", { host, port, reason: (cause as Error).message }, { cause });
  } finally {
    await new Promise((done) => probe.close(done));
  }
}

/** Only who is granted something has anything to do in it. */
async function makeDatabase(connection: EmbeddedPostgres["connection"]): Promise<void> {
  const client = await connectTo(connection);
  try {
    const { rowCount } = await client.query("select 1 from pg_database where datname = $1", [BI_DATABASE]);
    if (rowCount === 0) await client.query(`create database ${BI_DATABASE}`);
    await client.query(`revoke all on database ${BI_DATABASE} from public`);
  } finally {
    await client.end();
  }
}

function exit(child: ChildProcess): Promise<number | string> {
  return new Promise((done) => {
    child.once("error", (error) => done(error.message));
    child.once("exit", (code, signal) => done(code ?? signal ?? 1));
  });
}

function lastLine(text: string): string | undefined {
  const lines = text.trim().split("\n");
  return lines.findLast((line) => /FATAL|PANIC|ERROR|error:/.test(line)) ?? (lines.at(-1) || undefined);
}

async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, "w", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
