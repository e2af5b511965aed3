/**
 * Keeps PostgreSQL up with the lake: each table that is served is published after it commits, one after the other, and again until it
 * succeeds. Nothing is kept here that a crash could lose: the lake has the rows, PostgreSQL the version it holds.
 */
import { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { SqlEngine } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import { type BiUser, createBiUser, listBiUsers, publishedSchemas, revokeBiUser, setSearchPath } from "./bi-users.ts";
import {
  type PublicationOutcome,
  type PublicationParts,
  type PublicationRecord,
  prepareServing,
  publish,
  type RefusedRow,
  type ServedTable,
} from "./publication.ts";

/** How a table stands in PostgreSQL. */
export interface PublicationState {
  readonly table: string;
  /** Undefined before PostgreSQL has told or taken one. */
  readonly published: PublicationRecord | undefined;
  /** The newest version in the lake; undefined while its table cannot be read. */
  readonly newest: number | undefined;
  readonly versionsBehind: number;
  /** Since the first commit that PostgreSQL does not have. */
  readonly behindMs: number;
  /** Why the last attempt failed. */
  readonly failure: string | undefined;
  readonly writtenRows: number;
  readonly publications: number;
}

export interface PublisherOptions {
  readonly tables: readonly ServedTable[];
  readonly connection: pg.ClientConfig;
  readonly engine: SqlEngine;
  /** Records dead letters for rows that are not known to be refused yet. */
  readonly refuse: (table: string, rows: readonly RefusedRow[]) => Promise<void>;
  /** Closes the letters of rows that are gone or were taken after all. */
  readonly settle: (table: string, refused: ReadonlySet<string>, gone: "others" | ReadonlySet<string>) => Promise<void>;
  readonly clock: () => number;
  readonly report: (error: unknown, what: string) => void;
  /** Other processes publish as well, one at a time. */
  readonly shared?: boolean;
  /** Pause after so many failures in a row. */
  readonly retryPauseMs?: (failures: number) => number;
}

interface Served {
  readonly table: ServedTable;
  /** Has, or may have, commits that PostgreSQL does not. */
  waits: boolean;
  /** By `performance.now()`. */
  notBefore: number;
  published: PublicationRecord | undefined;
  behindSinceMs: number | undefined;
  failure: string | undefined;
  failures: number;
  /** What earlier lives and other processes left unsettled has not been seen to yet. */
  first: boolean;
  unsettled: Unsettled | undefined;
  writtenRows: number;
  publications: number;
}

/** What follows a publication once PostgreSQL has it. A later look at the table does not tell of it again. */
interface Unsettled {
  readonly refused: ReadonlySet<string>;
  readonly gone: "others" | ReadonlySet<string>;
  /** Users are to find a schema that may be new. */
  readonly paths: boolean;
}

/** Commits within this time are published together. */
const TOGETHER_MS = 50;
/** A table that commits all the time rests this many times as long as its publication took. */
const REST = 3;
const CONNECT_TIMEOUT_MS = 10_000;
/** How long a statement under way is waited for at the end: a network that drops packets never brings its answer. */
const END_WITHIN_MS = 5_000;

export class Publisher {
  readonly #o: PublisherOptions;
  readonly #served: ReadonlyMap<string, Served>;
  readonly #stop = new AbortController();
  /** While this process publishes. */
  #active: AbortController | undefined;
  #fence: PublicationParts["fence"];
  #client: pg.Client | undefined;
  #socket: Socket | undefined;
  #working: Promise<void> = Promise.resolve();
  #turn: Promise<unknown> = Promise.resolve();
  #wake: () => void = () => undefined;

  constructor(o: PublisherOptions) {
    this.#o = o;
    const served = o.tables.map((table): [string, Served] => [
      table.name,
      {
        ...{ table, waits: true, notBefore: 0, published: undefined, behindSinceMs: undefined },
        ...{ failure: undefined, failures: 0, first: true, unsettled: undefined, writtenRows: 0, publications: 0 },
      },
    ]);
    this.#served = new Map(served);
  }

  /**
   * Begins with every table: what was committed while nobody looked is published too. `fence` is part of each transaction, and fails once another
   * process publishes.
   */
  start(fence?: PublicationParts["fence"]): void {
    if (this.#served.size === 0) return;
    this.#fence = fence;
    const active = new AbortController();
    this.#active = active;
    // What was unsettled here may have been published by others since.
    for (const served of this.#served.values())
      Object.assign(served, { waits: true, first: true, unsettled: undefined });
    this.#working = this.#work(AbortSignal.any([this.#stop.signal, active.signal]));
  }

  /** Ends that: a publication under way is rolled back. It may begin again. */
  async stop(): Promise<void> {
    this.#active?.abort();
    this.#active = undefined;
    this.#wake();
    await this.#cutIfLate(this.#working);
    this.#fence = undefined;
    // Whoever publishes now says how it goes.
    for (const served of this.#served.values()) Object.assign(served, { failure: undefined, failures: 0 });
  }

  /** A connection that is cut is rolled back by the server, as soon as it hears of it. */
  async #cutIfLate(end: Promise<unknown>): Promise<void> {
    const cut = setTimeout(() => this.#socket?.destroy(), END_WITHIN_MS);
    await end;
    clearTimeout(cut);
  }

  /** Told of what PostgreSQL has, while another process publishes. */
  told(records: ReadonlyMap<string, PublicationRecord>): void {
    if (this.#active !== undefined) return;
    for (const [name, served] of this.#served) {
      served.published = records.get(name);
      const newest = newestOf(served.table);
      if (newest?.version === served.published?.version) served.behindSinceMs = undefined;
    }
  }

  /** Told of every commit. */
  committed(table: string): void {
    const served = this.#served.get(table);
    if (served === undefined) return;
    served.behindSinceMs ??= this.#o.clock();
    if (!served.waits) served.notBefore = Math.max(served.notBefore, performance.now() + TOGETHER_MS);
    served.waits = true;
    this.#wake();
  }

  states(): PublicationState[] {
    return [...this.#served.values()].map((served) => {
      const { table, published, failure, writtenRows, publications } = served;
      const newest = newestOf(table);
      const behind = newest === undefined ? 0 : Math.max(0, newest.version - (published?.version ?? -1));
      const sinceMs = served.behindSinceMs ?? newest?.committedAtMs ?? 0;
      return {
        ...{ table: table.name, published, newest: newest?.version, failure, writtenRows, publications },
        versionsBehind: behind,
        behindMs: behind === 0 ? 0 : Math.max(0, this.#o.clock() - sinceMs),
      };
    });
  }

  /** Publishes a table anew in full, whatever it waits for. @throws what its publication ends with */
  async again(name: string): Promise<void> {
    const served = this.#served.get(name);
    if (served === undefined) return;
    try {
      await this.#inTurn(() => this.#publish(served, true));
    } catch (error) {
      throw this.#failed(served, error);
    }
  }

  createUser(name: string): Promise<{ user: BiUser; password: string }> {
    return this.#asking(async (client) => createBiUser(client, name, await publishedSchemas(client)));
  }

  listUsers(): Promise<BiUser[]> {
    return this.#asking(listBiUsers);
  }

  revokeUser(name: string): Promise<BiUser> {
    return this.#asking((client) => revokeBiUser(client, name));
  }

  /** Ends at once: a publication under way is rolled back, and done by the next life. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#wake();
    await this.#cutIfLate(Promise.all([this.#working, this.#turn]).then(() => this.#disconnect()));
  }

  async #work(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const [next] = [...this.#served.values()]
        .filter(({ waits }) => waits)
        .toSorted((a, b) => a.notBefore - b.notBefore);
      const pauseMs = next === undefined ? IDLE_MS : next.notBefore - performance.now();
      if (next === undefined || pauseMs > 0) {
        await this.#pause(pauseMs, signal);
        continue;
      }
      try {
        await this.#inTurn(() => this.#publish(next, false, signal));
      } catch (error) {
        if (!signal.aborted) this.#failed(next, error);
      }
    }
  }

  /** Until the time is over, or something happened. */
  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    const waking = new AbortController();
    this.#wake = () => waking.abort();
    if (signal.aborted) return;
    // Rejects when it is woken.
    await sleep(Math.min(ms, IDLE_MS), undefined, { signal: waking.signal, ref: false }).catch(() => undefined);
  }

  async #publish(served: Served, whole = false, signal = this.#stop.signal): Promise<void> {
    signal.throwIfAborted();
    const { table } = served;
    const startedAt = performance.now();
    const startedMs = this.#o.clock();
    served.waits = false; // a commit that comes meanwhile is one to wait for
    const client = await this.#connected();
    const outcome = await publish(table, {
      ...{ client, whole, engine: this.#o.engine, signal, shared: this.#o.shared === true },
      ...(this.#fence && { fence: this.#fence }),
      refuse: (rows) => this.#o.refuse(table.name, rows),
    });
    const unsettled = both(served.unsettled, outcome);
    served.unsettled = unsettled;
    served.published = outcome.record;
    served.behindSinceMs = newestOf(table)?.version === outcome.record.version ? undefined : startedMs;
    if (outcome.kind !== "none") {
      served.writtenRows += outcome.written;
      served.publications++;
    }
    if (unsettled.paths) {
      const users = (await listBiUsers(client)).map(({ name }) => name);
      await setSearchPath(client, users, await publishedSchemas(client));
    }
    // What an earlier life published and did not settle any more is settled by the first look.
    const gone = served.first && outcome.record.refused === 0 ? "others" : unsettled.gone;
    await this.#o.settle(table.name, unsettled.refused, gone);
    served.first = false;
    served.unsettled = undefined;
    served.failure = undefined;
    served.failures = 0;
    const now = performance.now();
    served.notBefore = now + (now - startedAt) * REST;
  }

  /** Notes why a table was not published, and when to try again, where this process publishes. Returns the error as users know it. */
  #failed(served: Served, cause: unknown): MillraceError {
    const error = publicationError(served.table.name, cause);
    if (error.code === "PUBLISH_UNAVAILABLE") this.#drop();
    // Nothing is tried again here, so nothing would ever end it: whoever publishes says how that goes.
    if (this.#active === undefined) return error;
    if (served.failure !== error.message) this.#o.report(error, `publishing ${served.table.name}`);
    served.failure = error.message;
    served.failures++;
    served.waits = true;
    served.notBefore = performance.now() + (this.#o.retryPauseMs ?? retryPauseMs)(served.failures);
    this.#wake();
    return error;
  }

  /** Work with PostgreSQL that somebody waits for; a connection that broke unnoticed is made anew once. */
  async #asking<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    return this.#inTurn(async () => {
      try {
        return await work(await this.#connected());
      } catch (cause) {
        const error = cause instanceof MillraceError ? cause : publicationError("", cause);
        if (error.code === "PUBLISH_UNAVAILABLE") this.#drop();
        throw error.code === "PUBLISH_FAILED"
          ? new MillraceError("BI_USERS_REFUSED", { reason: (cause as Error).message }, { cause })
          : error;
      }
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined); // whoever asked for this one is told
    return done;
  }

  async #connected(): Promise<pg.Client> {
    this.#stop.signal.throwIfAborted();
    if (this.#client !== undefined) return this.#client;
    const socket = new Socket();
    this.#socket = socket;
    const client = new pg.Client({
      ...this.#o.connection,
      stream: () => socket,
      application_name: "millrace publisher",
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      ...{ keepAlive: true, keepAliveInitialDelayMillis: 10_000 },
    });
    // Whoever uses it meets the reason.
    client.on("error", () => {
      if (this.#client === client) this.#client = undefined;
    });
    try {
      await client.connect();
      await prepareServing(client);
    } catch (error) {
      await client.end().catch(() => undefined); // the first error is the one that says why
      throw error;
    }
    this.#client = client;
    return client;
  }

  #drop(): void {
    const client = this.#client;
    this.#client = undefined;
    client?.end().catch(() => undefined); // it is broken already
  }

  async #disconnect(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => undefined); // it may be broken already
  }
}

/** What is to be settled of a publication, with what was left of those before it. */
function both(left: Unsettled | undefined, { kind, refused, gone }: PublicationOutcome): Unsettled {
  const paths = kind === "anew" || left?.paths === true;
  if (left === undefined || gone === "others") return { refused, gone, paths };
  const without = (ids: ReadonlySet<string>, others: ReadonlySet<string>) => [...ids].filter((id) => !others.has(id));
  return {
    refused: new Set([...without(left.refused, gone), ...refused]),
    gone: left.gone === "others" ? "others" : new Set([...without(left.gone, refused), ...gone]),
    paths,
  };
}

/** Long enough to cost nothing, should nothing happen. */
const IDLE_MS = 3_600_000;

/** 1, 2, 4 … 30 seconds: PostgreSQL is not pressed, and nobody waits long for it once it is back. */
function retryPauseMs(failures: number): number {
  return Math.min(30_000, 1_000 * 2 ** (failures - 1));
}

function newestOf(table: ServedTable): { version: number; committedAtMs: number } | undefined {
  try {
    return table.newest();
  } catch (error) {
    // A table that cannot be read says so itself, everywhere.
    if (error instanceof MillraceError) return undefined;
    throw error;
  }
}

/** SQLSTATE classes that speak of the connection or the server, not of the work. */
const UNREACHABLE = /^(08|57P|28|3D|53300)/;

/** The error of a publication in the terms of the registry. */
export function publicationError(table: string, cause: unknown): MillraceError {
  if (cause instanceof MillraceError) return cause;
  const { code = "", message, detail } = cause as { code?: string; message: string; detail?: string };
  if (
    UNREACHABLE.test(code) ||
    /^E[A-Z]+$/.test(code) ||
    (code === "" && /connection|timeout|terminated/i.test(message))
  )
    return new MillraceError("PUBLISH_UNAVAILABLE", { reason: message || code }, { cause });
  const key = /^Key (.*) (?:is duplicated|already exists)\.$/.exec(detail ?? "")?.[1];
  if (code === "23505" && key !== undefined)
    return new MillraceError("PUBLISH_KEY_NOT_UNIQUE", { table, key }, { cause });
  const reason = detail === undefined ? message : `${message} (${detail})`;
  return new MillraceError("PUBLISH_FAILED", { table, reason }, { cause });
}
