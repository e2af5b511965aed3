/**
 * Sessions of people at the console. Whoever signs in shows a key once and gets a session in its place, which a browser keeps where no script reads it.
 * A session ends with its key, at its time, or when it is signed out of, on every process within milliseconds.
 *
 *     ms_<secret: 43 of base64url>
 *
 * Only its SHA-256 is kept: 256 random bits need no slow hash.
 */
import { hash, randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { KeyVerifier, Principal } from "./api-keys.ts";
import type { State } from "./state.ts";

export interface Sessions {
  /** Who a session is of; undefined for one that is unknown or over, or whose key was revoked. Answers from memory. */
  verify(token: string): Principal | undefined;
  /** Begins a session of the key's owner; undefined when the key is unknown or revoked. @throws STATE_UNAVAILABLE */
  begin(key: string): Promise<{ token: string; principal: Principal; expiresAtMs: number } | undefined>;
  /** Ends a session, if it is one. @throws STATE_UNAVAILABLE */
  end(token: string): Promise<void>;
  close(): Promise<void>;
}

export interface SessionOptions {
  readonly keys: KeyVerifier & { principal(id: string): Principal | undefined };
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  /** Default: 12 hours. */
  readonly lifetimeMs?: number;
}

/** Loads the sessions that are not over and keeps them fresh. @throws STATE_UNAVAILABLE */
export async function openSessions(state: State, options: SessionOptions): Promise<Sessions> {
  const sessions = new PostgresSessions(state, options);
  await sessions.open();
  return sessions;
}

const TOKEN = /^ms_[A-Za-z0-9_-]{43}$/;
const CHANNEL = "millrace_sessions";
const LIFETIME_MS = 12 * 3_600_000;
/** Between two attempts to load the sessions when the records cannot be read. */
const RELOAD_PAUSE_MS = 1_000;

interface Row {
  readonly sha256: string;
  readonly key_id: string;
  readonly expires_at: Date;
}

interface Known {
  readonly keyId: string;
  readonly expiresAtMs: number;
}

class PostgresSessions implements Sessions {
  readonly #state: State;
  readonly #o: SessionOptions;
  #known = new Map<string, Known>();
  #closed = false;
  #loading: Promise<void> | undefined;
  #loadAgain = false;
  #unlisten: (() => Promise<void>) | undefined;

  constructor(state: State, options: SessionOptions) {
    this.#state = state;
    this.#o = options;
  }

  async open(): Promise<void> {
    // Listening first: a change between the two is then told, and loaded again.
    this.#unlisten = await this.#state.listen(CHANNEL, () => void this.#refresh());
    await this.#load();
  }

  verify(token: string): Principal | undefined {
    if (!TOKEN.test(token)) return undefined;
    const known = this.#known.get(digest(token));
    if (known === undefined || known.expiresAtMs <= this.#o.clock()) return undefined;
    return this.#o.keys.principal(known.keyId);
  }

  async begin(key: string): Promise<{ token: string; principal: Principal; expiresAtMs: number } | undefined> {
    const principal = this.#o.keys.verify(key);
    if (principal === undefined) return undefined;
    const token = `ms_${randomBytes(32).toString("base64url")}`;
    const expiresAtMs = this.#o.clock() + (this.#o.lifetimeMs ?? LIFETIME_MS);
    await this.#state.query(
      `with old as (delete from millrace.sessions where expires_at <= $4),
            new as (insert into millrace.sessions (sha256, key_id, expires_at) values ($1, $2, $3))
       select pg_notify($5, '')`,
      [digest(token), principal.id, new Date(expiresAtMs), new Date(this.#o.clock()), CHANNEL],
    );
    this.#known.set(digest(token), { keyId: principal.id, expiresAtMs });
    return { token, principal, expiresAtMs };
  }

  async end(token: string): Promise<void> {
    if (!TOKEN.test(token)) return;
    const sha256 = digest(token);
    await this.#state.query("with gone as (delete from millrace.sessions where sha256 = $1) select pg_notify($2, '')", [
      sha256,
      CHANNEL,
    ]);
    this.#known.delete(sha256);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#unlisten?.();
    await this.#loading;
  }

  async #load(): Promise<void> {
    const rows = await this.#state.query<Row>("select sha256, key_id, expires_at from millrace.sessions");
    this.#known = new Map(
      rows.map((row) => [row.sha256, { keyId: row.key_id, expiresAtMs: row.expires_at.getTime() }]),
    );
  }

  /** Loads again until it succeeds; calls meanwhile are one. */
  async #refresh(): Promise<void> {
    this.#loadAgain = true;
    this.#loading ??= (async () => {
      while (this.#loadAgain && !this.#closed) {
        this.#loadAgain = false;
        await this.#load().catch(async () => {
          this.#loadAgain = true;
          await sleep(RELOAD_PAUSE_MS, undefined, { ref: false });
        });
      }
      this.#loading = undefined;
    })();
    await this.#loading;
  }
}

function digest(token: string): string {
  return hash("sha256", token, "hex");
}
