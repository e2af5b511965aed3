/**
 * The processes that share the work: who there is, what each does, where it is reached, and which partitions are its own. A row in
 * PostgreSQL for each, renewed by a heartbeat; everybody has all rows in memory, told of changes and looking again at each heartbeat.
 *
 * Nothing that must be right rests on this: partitions are given away by the log's groups, and leases by their tokens. The registry finds
 * workers, shows them to people, and keeps apart what must not run together.
 */
import { randomUUID } from "node:crypto";
import { MillraceError } from "../errors.ts";
import type { State } from "./state.ts";
import { machineTicker, type Ticker } from "./ticker.ts";

export interface Worker {
  readonly id: string;
  readonly roles: readonly string[];
  /** Where others reach it; empty until it serves. */
  readonly url: string;
  readonly version: string;
  /** Of what it keeps in the log, the lake and the records. */
  readonly format: number;
  /** Group of consumers -> stream -> its partitions. */
  readonly owns: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>;
  readonly startedAt: Date;
  readonly heartbeatAt: Date;
  /** Whether it was heard of lately. */
  readonly live: boolean;
}

export interface Workers {
  readonly id: string;
  /** Everybody as they are in the records, oldest first. @throws STATE_UNAVAILABLE */
  list(): Promise<Worker[]>;
  /** Everybody as last seen; answers from memory. */
  known(): readonly Worker[];
  /** Why the registry cannot be told of this process, while it cannot. */
  problem(): string | undefined;
  /** Tells others where this one is reached. */
  serves(url: string): Promise<void>;
  /** Tells others what is this one's own in a group. A failure is made good by the next heartbeat. */
  owns(group: string, partitions: readonly { readonly stream: string; readonly partition: number }[]): Promise<void>;
  /** Takes the row out. Again: the same promise. */
  close(): Promise<void>;
}

export interface WorkersOptions {
  /** Unique among all; one that is started again has the same. */
  readonly id: string;
  readonly roles: readonly string[];
  readonly version: string;
  readonly format: number;
  /** Another process has taken this one's id: it must do nothing more. */
  readonly fenced: (error: MillraceError) => void;
  readonly report: (error: unknown, what: string) => void;
  /** Default: 3 s. */
  readonly heartbeatMs?: number;
  readonly ticker?: Ticker;
}

/**
 * Enters this process. An earlier one with the same id is taken for dead: what it held is free from now on, and should it live it is fenced.
 * @throws STATE_UNAVAILABLE
 */
export async function openWorkers(state: State, options: WorkersOptions): Promise<Workers> {
  const workers = new PostgresWorkers(state, options);
  await workers.open();
  return workers;
}

/** A worker that has not been heard of for this long is not counted upon. */
export const LIVE_MS = 12_000;

const HEARTBEAT_MS = 3_000;
/** People may want to know who was there a while ago. */
const FORGET_AFTER = "1 hour";
const CHANNEL = "millrace_workers";
const LEASES_CHANNEL = "millrace_leases";

interface Row {
  id: string;
  incarnation: string;
  roles: string[];
  url: string;
  version: string;
  format: number;
  owns: Worker["owns"];
  started_at: Date;
  heartbeat_at: Date;
  live: boolean;
}

class PostgresWorkers implements Workers {
  readonly id: string;
  readonly #state: State;
  readonly #o: WorkersOptions;
  readonly #ticker: Ticker;
  readonly #incarnation = randomUUID();
  readonly #owns = new Map<string, Record<string, number[]>>();
  #url = "";
  #known: readonly Worker[] = [];
  #unlisten: (() => Promise<void>) | undefined;
  #cancel: () => void = () => undefined;
  /** Writes to the own row come one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  #problem: string | undefined;
  #fenced = false;
  #closing: Promise<void> | undefined;

  constructor(state: State, options: WorkersOptions) {
    this.id = options.id;
    this.#state = state;
    this.#o = options;
    this.#ticker = options.ticker ?? machineTicker;
  }

  async open(): Promise<void> {
    this.#unlisten = await this.#state.listen(CHANNEL, () => void this.#look().catch(() => undefined));
    try {
      await this.#enter();
      await this.#look();
    } catch (error) {
      await this.#unlisten();
      throw error;
    }
    this.#plan();
  }

  async list(): Promise<Worker[]> {
    const rows = await this.#state.query<Row>(
      `select *, heartbeat_at > clock_timestamp() - $1 * interval '1 ms' as live from millrace.workers
       order by started_at, id`,
      [LIVE_MS],
    );
    return rows.map(workerOf);
  }

  known(): readonly Worker[] {
    return this.#known;
  }

  problem(): string | undefined {
    return this.#problem;
  }

  async serves(url: string): Promise<void> {
    this.#url = url;
    await this.#tell();
  }

  async owns(group: string, partitions: Parameters<Workers["owns"]>[1]): Promise<void> {
    const byStream = Map.groupBy(partitions, ({ stream }) => stream);
    this.#owns.set(
      group,
      Object.fromEntries([...byStream].map(([stream, own]) => [stream, own.map(({ partition }) => partition)])),
    );
    await this.#tell().catch(() => undefined);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#cancel();
    await this.#turn;
    await this.#unlisten?.();
    try {
      await this.#state.query(
        `with gone as (delete from millrace.workers where id = $1 and incarnation = $2 returning id)
         select pg_notify($3, id) from gone`,
        [this.id, this.#incarnation, CHANNEL],
      );
    } catch {
      // Others see that its heart does not beat.
    }
  }

  async #enter(): Promise<void> {
    const { roles, version, format } = this.#o;
    await this.#state.transaction(async (session) => {
      await session.query(
        `insert into millrace.workers (id, incarnation, roles, url, version, format) values ($1, $2, $3, '', $4, $5)
         on conflict (id) do update set incarnation = excluded.incarnation, roles = excluded.roles, url = '',
           version = excluded.version, format = excluded.format, owns = '{}', started_at = now(), heartbeat_at = now()`,
        [this.id, this.#incarnation, roles, version, format],
      );
      await session.query(
        `with freed as (update millrace.leases set expires_at = '-infinity' where holder = $1 returning name)
         select pg_notify($2, name) from freed`,
        [this.id, LEASES_CHANNEL],
      );
      await session.query(`delete from millrace.workers where heartbeat_at < now() - interval '${FORGET_AFTER}'`);
      await session.query("select pg_notify($1, $2)", [CHANNEL, this.id]);
    });
  }

  /** Writes the own row, and tells others. */
  #tell(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#write();
      await this.#state.query("select pg_notify($1, $2)", [CHANNEL, this.id]);
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  async #write(): Promise<void> {
    if (this.#fenced || this.#closing !== undefined) return;
    const { roles, version, format } = this.#o;
    // Who was forgotten, as after a long time without the server, enters again.
    const [row] = await this.#state.query<{ incarnation: string }>(
      `insert into millrace.workers as w (id, incarnation, roles, url, version, format, owns) values ($1, $2, $3, $4, $5, $6, $7)
       on conflict (id) do update set url = excluded.url, owns = excluded.owns, heartbeat_at = now() where w.incarnation = $2
       returning incarnation`,
      [this.id, this.#incarnation, roles, this.#url, version, format, JSON.stringify(Object.fromEntries(this.#owns))],
    );
    if (row !== undefined) return;
    this.#fenced = true;
    this.#cancel();
    this.#o.fenced(new MillraceError("WORKER_TWICE", { worker: this.id }));
  }

  #plan(): void {
    if (this.#closing !== undefined || this.#fenced) return;
    this.#cancel = this.#ticker.after(this.#o.heartbeatMs ?? HEARTBEAT_MS, () => void this.#beat());
  }

  async #beat(): Promise<void> {
    try {
      await this.#inTurn(() => this.#write());
      await this.#look();
      this.#problem = undefined;
    } catch (error) {
      // An outage is told once.
      if (this.#problem === undefined) this.#o.report(error, "telling the other workers of this one");
      this.#problem = (error as Error).message;
    }
    this.#plan();
  }

  async #look(): Promise<void> {
    this.#known = await this.list();
  }
}

function workerOf(row: Row): Worker {
  const { id, roles, url, version, format, owns, started_at: startedAt, heartbeat_at: heartbeatAt, live } = row;
  return { id, roles, url, version, format, owns, startedAt, heartbeatAt, live };
}
