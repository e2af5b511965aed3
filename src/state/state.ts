import { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { MillraceError } from "../errors.ts";
import { type BiAddress, type EmbeddedPostgres, startEmbeddedPostgres } from "./embedded-postgres.ts";
import { migrate, type Session } from "./migrate.ts";
import { MIGRATIONS } from "./migrations/index.ts";
import type { Migration } from "./migrations/migration.ts";

/**
 * The platform's own records, in PostgreSQL. The ingest path never waits for it.
 *
 * Every method throws STATE_UNAVAILABLE (retryable) when the server cannot be reached, or refuses for a reason of its own that passes;
 * errors of SQL itself are passed on.
 */
export interface State extends Session {
  /** Runs `work` in one transaction: committed when it resolves, rolled back when it rejects. */
  transaction<T>(work: (session: Session) => Promise<T>): Promise<T>;
  /**
   * Calls `handler` with the payload of every notification on the channel. After an interruption it is called with
   * undefined, for notifications may have been missed. Returns what ends it.
   */
  listen(channel: string, handler: (payload: string | undefined) => void): Promise<() => Promise<void>>;
  /** How clients may reach the database, with the password. */
  readonly connection: pg.ClientConfig;
  /** Where BI tools connect to the embedded server; undefined for one by URL, or when it listens on no network. */
  readonly bi: BiAddress | undefined;
  /** Waits for what is under way, and stops the server when it is the embedded one. */
  close(): Promise<void>;
}

export type StateOptions = {
  /** Steps of the schema; all of this release when not given. */
  migrations?: readonly Migration[];
  /** Time without an answer after which a statement's connection is taken for lost. Default: 15 s. */
  answerWithinMs?: number;
} & (
  | {
      /** `postgres://user:password@host:port/database` of a server that somebody else runs. */
      url: string;
    }
  | {
      /** Folder of the embedded server, made when it is not there. */
      folder: string;
      /** Takes BI tools there. */
      listen?: { readonly host: string; readonly port: number } | undefined;
    }
);

/**
 * Opens the records and brings their schema to this release.
 * @throws STATE_UNAVAILABLE, STATE_NEWER, STATE_MIGRATION_FAILED; for the embedded server also POSTGRES_NOT_INSTALLED,
 * POSTGRES_REFUSES_ROOT, POSTGRES_START_FAILED, BI_PORT_IN_USE.
 */
export async function openState(options: StateOptions): Promise<State> {
  const server = "url" in options ? undefined : await startEmbeddedPostgres(options);
  const connection = "url" in options ? { connectionString: options.url } : server!.connection;
  const state = new PostgresState(connection, server, options.answerWithinMs ?? ANSWER_WITHIN_MS);
  try {
    await state.transaction((session) => migrate(session, options.migrations ?? MIGRATIONS), MIGRATE_WITHIN_MS);
  } catch (error) {
    await state.close();
    throw error;
  }
  return state;
}

/** What we do is short; more connections would only wait for the same few pages. */
const POOL_SIZE = 8;
const CONNECT_TIMEOUT_MS = 5_000;
/**
 * A network that drops packets says nothing, for a quarter of an hour if it is left to TCP: a statement without an answer by then has lost its
 * connection. Ours take milliseconds.
 */
const ANSWER_WITHIN_MS = 15_000;
/** A step of the schema may wait for another process that takes it. */
const MIGRATE_WITHIN_MS = 120_000;
/** An idle connection asks after this time whether the server is still there, and is given up ten seconds later. */
const ALIVE_AFTER_MS = 5_000;
/** How long a connection may take to end in good order. */
const END_WITHIN_MS = 1_000;
const RECONNECT_PAUSE_MS = 500;

class PostgresState implements State {
  readonly connection: pg.ClientConfig;
  readonly bi: BiAddress | undefined;
  readonly #pool: pg.Pool;
  readonly #server: EmbeddedPostgres | undefined;
  readonly #answerWithinMs: number;
  #listener: Listener | undefined;
  #closed: Promise<void> | undefined;

  constructor(connection: pg.ClientConfig, server: EmbeddedPostgres | undefined, answerWithinMs: number) {
    this.#answerWithinMs = answerWithinMs;
    this.connection = { ...connection, application_name: "millrace" };
    this.#server = server;
    this.bi = server?.bi;
    this.#pool = new pg.Pool({
      ...this.connection,
      max: POOL_SIZE,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: answerWithinMs,
      ...KEPT_ALIVE,
      // Connections must not be what a closing process waits for.
      allowExitOnIdle: true,
    });
    // An idle connection that breaks is replaced by the pool; whoever asks next meets the reason if it lasts.
    this.#pool.on("error", () => undefined);
    // One that breaks in the hands of a transaction says so there; unheard, its event would end the process.
    this.#pool.on("connect", (client) => client.on("error", () => undefined));
  }

  async query<Row>(sql: string, params: readonly unknown[] = []): Promise<Row[]> {
    return reached(async () => (await this.#pool.query(sql, [...params])).rows as Row[]);
  }

  async transaction<T>(work: (session: Session) => Promise<T>, answerWithinMs = this.#answerWithinMs): Promise<T> {
    const client = await reached(() => this.#pool.connect());
    const session: Session = {
      query: (text, params = []) =>
        reached(async () => {
          const statement = { text, values: [...params], query_timeout: answerWithinMs };
          return (await client.query(statement)).rows;
        }),
    };
    let broken: Error | undefined;
    try {
      await session.query("begin");
      const result = await work(session);
      await session.query("commit");
      return result;
    } catch (error) {
      // A connection that cannot roll back, or does not answer, is thrown away, which rolls back as well.
      if (error instanceof MillraceError && error.code === "STATE_UNAVAILABLE") broken = error;
      else
        await client.query("rollback").catch((reason: Error) => {
          broken = reason;
        });
      throw error;
    } finally {
      client.release(broken);
    }
  }

  async listen(channel: string, handler: (payload: string | undefined) => void): Promise<() => Promise<void>> {
    this.#listener ??= new Listener(this.connection);
    return this.#listener.listen(channel, handler);
  }

  close(): Promise<void> {
    this.#closed ??= (async () => {
      await this.#listener?.close();
      await this.#pool.end();
      await this.#server?.stop();
    })();
    return this.#closed;
  }
}

const KEPT_ALIVE = { keepAlive: true, keepAliveInitialDelayMillis: ALIVE_AFTER_MS };

type Handler = (payload: string | undefined) => void;

/** One connection that listens to all channels, made with the first, and made again for as long as it takes. */
class Listener {
  readonly #connection: pg.ClientConfig;
  readonly #channels = new Map<string, Set<Handler>>();
  #client: pg.Client | undefined;
  #socket: Socket | undefined;
  #connecting: Promise<pg.Client> | undefined;
  #closed = false;

  constructor(connection: pg.ClientConfig) {
    this.#connection = connection;
  }

  async listen(channel: string, handler: Handler): Promise<() => Promise<void>> {
    const handlers = this.#channels.get(channel) ?? new Set();
    const isNew = handlers.size === 0;
    this.#channels.set(channel, handlers.add(handler));
    const stop = async () => {
      handlers.delete(handler);
      // What is still told on the channel finds nobody.
      if (handlers.size === 0 && this.#channels.get(channel) === handlers) this.#channels.delete(channel);
    };
    try {
      await reached(async () => {
        const client = await this.#connected();
        if (isNew) await client.query(`listen ${pg.escapeIdentifier(channel)}`);
      });
      return stop;
    } catch (error) {
      await stop();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#connecting?.catch(() => undefined);
    await this.#end(this.#client);
  }

  async #end(client: pg.Client | undefined): Promise<void> {
    const cut = setTimeout(() => this.#socket?.destroy(), END_WITHIN_MS);
    await client?.end();
    clearTimeout(cut);
  }

  /** The connection, made where there is none. */
  #connected(): Promise<pg.Client> {
    if (this.#client !== undefined) return Promise.resolve(this.#client);
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #connect(): Promise<pg.Client> {
    const socket = new Socket();
    this.#socket = socket;
    const client = new pg.Client({
      ...this.#connection,
      ...KEPT_ALIVE,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: ANSWER_WITHIN_MS,
      stream: () => socket,
    });
    client.on("notification", ({ channel, payload }) => this.#tell(channel, payload ?? ""));
    client.on("error", () => undefined);
    try {
      await client.connect();
      for (const channel of this.#channels.keys()) await client.query(`listen ${pg.escapeIdentifier(channel)}`);
    } catch (error) {
      await this.#end(client);
      throw error;
    }
    this.#client = client;
    client.once("end", () => void this.#reconnect());
    return client;
  }

  #tell(channel: string, payload: string | undefined): void {
    for (const handler of [...(this.#channels.get(channel) ?? [])]) handler(payload);
  }

  async #reconnect(): Promise<void> {
    this.#client = undefined;
    while (!this.#closed) {
      try {
        await this.#connected();
        for (const channel of [...this.#channels.keys()]) this.#tell(channel, undefined);
        return;
      } catch {
        // Whoever needs the state meets the reason; here only the next attempt matters.
        await sleep(RECONNECT_PAUSE_MS, undefined, { ref: false });
      }
    }
  }
}

/**
 * SQLSTATE codes that speak of the connection or the server, not of the statement: the same statement may well be taken a moment later. Among
 * them are a server that is read-only because another one leads after a failover (25006), what lost to somebody else (40001, 40P01, 55P03),
 * statements that an operator or the server's own time limit ended (57: ours set none), and the server's disk (58).
 */
const UNREACHABLE_SQLSTATE = /^(08|28|3D|53|57|58|25006|40001|40P01|55P03)/;

async function reached<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const { code, message } = cause as { code?: string; message: string };
    const unreachable =
      cause instanceof MillraceError
        ? false
        : code === undefined
          ? /connection|timeout|terminated|Cannot use a pool/i.test(message)
          : UNREACHABLE_SQLSTATE.test(code) || /^E[A-Z]+$/.test(code);
    if (!unreachable) throw cause;
    throw new MillraceError("STATE_UNAVAILABLE", { reason: message || code }, { cause, retryAfterS: 1 });
  }
}
