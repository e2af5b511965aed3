import { createHmac, hash, randomBytes, timingSafeEqual } from "node:crypto";
import { open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError } from "../errors.ts";
import type { State } from "./state.ts";
import { machineTicker, type Ticker } from "./ticker.ts";

/**
 * API keys. A key is shown once, when it is made, and only its SHA-256 is kept: 256 random bits need no slow hash.
 *
 *     mk_<id: 12 of a-z0-9>_<secret: 43 of base64url>
 *
 * A key made for AWS's clients is an access key as well. Who verifies their signatures must know the secret, so a hash of it is not
 * enough: it is derived from the key's id by a secret of this data folder, and the records alone give nobody a way in.
 *
 *     access key id      MILLRACE<id, in capitals>
 *     secret access key  the first 40 characters of base64(HMAC-SHA256(secret of the folder, access key id))
 */
export const SCOPES = ["ingest", "query", "admin"] as const;
/** `write:STREAM` sends to that stream and does nothing else: what a browser or an app may hold. */
export type Scope = (typeof SCOPES)[number] | `write:${string}`;

const WRITE_SCOPE = /^write:[a-z][a-z0-9_]{0,99}$/;

/** Who is calling. */
export interface Principal {
  /** The id of the key. */
  readonly id: string;
  readonly name: string;
  readonly scopes: ReadonlySet<Scope>;
}

/** What a door needs to know callers; answers from memory. */
export interface KeyVerifier {
  /** Undefined for a key that is unknown, wrong or revoked. @throws STATE_UNAVAILABLE when the keys have not been read for too long */
  verify(token: string): Principal | undefined;
}

export interface ApiKey {
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly createdAt: Date;
  readonly revokedAt: Date | undefined;
  /** Of a key that is an access key for AWS's clients as well. */
  readonly accessKeyId: string | undefined;
}

/** What AWS's clients sign requests with. */
export interface AccessKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface ApiKeys extends KeyVerifier {
  /** Makes a key; `token` and the access key (with `aws`) are not shown again. @throws KEY_INVALID, STATE_UNAVAILABLE */
  create(request: KeyRequest): Promise<{ key: ApiKey; token: string; accessKey?: AccessKey }>;
  /** Who a key is of, by its id; undefined for one that is unknown or revoked. */
  principal(id: string): Principal | undefined;
  /** Undefined for an access key that is unknown or revoked. */
  accessKey(accessKeyId: string): { readonly principal: Principal; readonly secretAccessKey: string } | undefined;
  /** Every key, revoked ones too, oldest first. @throws STATE_UNAVAILABLE */
  list(): Promise<ApiKey[]>;
  /** From the answer on nobody gets in with the key here; other processes follow within milliseconds. @throws KEY_UNKNOWN, STATE_UNAVAILABLE */
  revoke(id: string): Promise<ApiKey>;
  /** Why nobody can be let in, while nobody can. */
  problem(): string | undefined;
  close(): Promise<void>;
}

export interface KeyRequest {
  readonly name: string;
  readonly scopes: readonly string[];
  /** Makes it an access key for AWS's clients as well. */
  readonly aws?: boolean | undefined;
}

export interface ApiKeyOptions {
  /** Gets a key of all scopes on the first start; one that is there already keeps its key (records that do not know it learn it again). */
  readonly adminKeyFile?: string;
  /** A key of all scopes that the records learn; then no file is looked at. */
  readonly adminKey?: string | undefined;
  /** Other processes use the same records: a first key is made only where there is no admin at all, by one of them. */
  readonly shared?: boolean;
  /** Keeps what secret access keys are derived from; made with the first of them. */
  readonly awsSecretFile?: string;
  /** What secret access keys are derived from, where several processes must derive the same; then no file is looked at. */
  readonly awsSecret?: string | undefined;
  /** How long keys hold without having been read again. Default: for ever. */
  readonly cacheMs?: number;
  readonly ticker?: Ticker;
}

/**
 * Loads all keys into memory and keeps them fresh: told of changes, and looking again every minute, or more often where they hold for
 * less than three.
 * @throws STATE_UNAVAILABLE, KEY_INVALID for a key or secret of the options that is none
 */
export async function openApiKeys(state: State, options: ApiKeyOptions = {}): Promise<ApiKeys> {
  const keys = new PostgresApiKeys(state, options);
  await keys.open();
  try {
    await keys.ensureAdminKey();
  } catch (error) {
    await keys.close();
    throw error;
  }
  return keys;
}

const TOKEN = /^mk_([a-z0-9]{12})_[A-Za-z0-9_-]{43}$/;
const CHANNEL = "millrace_api_keys";
const ACCESS_KEY_ID = /^MILLRACE([A-Z0-9]{12})$/;
const AWS_SECRET = /^[A-Za-z0-9_-]{43}$/;

interface Row {
  id: string;
  name: string;
  scopes: Scope[];
  token_sha256: Buffer;
  created_at: Date;
  revoked_at: Date | null;
  aws: boolean;
}

type KnownKeys = Map<string, { readonly sha256: Buffer; readonly principal: Principal; readonly aws: boolean }>;

/** Between two attempts to load the keys when the records cannot be read, though their notifications come. */
const RELOAD_PAUSE_MS = 1_000;
/** What no notification told, as over a connection that broke unnoticed, holds no longer than this. */
const LOOK_EVERY_MS = 60_000;
/** Looks within the time that keys hold for, where that is short: one may fail. */
const LOOKS_WHILE_THEY_HOLD = 3;
/** Any number, the same in every release: processes that start at once take turns by it. */
const FIRST_KEY_LOCK = 7_241_864;

class PostgresApiKeys implements ApiKeys {
  readonly #state: State;
  #known: KnownKeys = new Map();
  /** Counts changes made here, so that a load that began before one does not undo it. */
  #changes = 0;
  #closed = false;
  #unlisten: (() => Promise<void>) | undefined;
  #loading: Promise<void> | undefined;
  #loadAgain = false;
  readonly #o: ApiKeyOptions;
  readonly #ticker: Ticker;
  /** When what is in memory was read, by the ticker. */
  #readAtMs = Number.NEGATIVE_INFINITY;
  #cancelLook: () => void = () => undefined;
  #awsSecret: string | undefined;
  /** Derived so far. */
  readonly #secretAccessKeys = new Map<string, string>();

  constructor(state: State, options: ApiKeyOptions) {
    this.#state = state;
    this.#o = options;
    this.#ticker = options.ticker ?? machineTicker;
  }

  async open(): Promise<void> {
    const { awsSecret, awsSecretFile } = this.#o;
    if (awsSecret !== undefined) this.#awsSecret = checkedAwsSecret(awsSecret, "awsSecret");
    else if (awsSecretFile !== undefined) this.#awsSecret = await readAwsSecret(awsSecretFile);
    // Listening first: a change between the two is then told, and loaded again.
    this.#unlisten = await this.#state.listen(CHANNEL, () => void this.#refresh());
    await this.#load();
    this.#planLook();
  }

  verify(token: string): Principal | undefined {
    this.#checkAge();
    const id = TOKEN.exec(token)?.[1];
    const known = id === undefined ? undefined : this.#known.get(id);
    if (known === undefined) return undefined;
    return timingSafeEqual(known.sha256, sha256(token)) ? known.principal : undefined;
  }

  principal(id: string): Principal | undefined {
    return this.#known.get(id)?.principal;
  }

  accessKey(accessKeyId: string): { readonly principal: Principal; readonly secretAccessKey: string } | undefined {
    this.#checkAge();
    const id = ACCESS_KEY_ID.exec(accessKeyId)?.[1]?.toLowerCase();
    const known = id === undefined ? undefined : this.#known.get(id);
    // Without the folder's secret (the records have come from another) no signature can be verified.
    if (known?.aws !== true || this.#awsSecret === undefined) return undefined;
    let secretAccessKey = this.#secretAccessKeys.get(accessKeyId);
    if (secretAccessKey === undefined) {
      secretAccessKey = derived(this.#awsSecret, accessKeyId);
      this.#secretAccessKeys.set(accessKeyId, secretAccessKey);
    }
    return { principal: known.principal, secretAccessKey };
  }

  async create(request: KeyRequest): Promise<{ key: ApiKey; token: string; accessKey?: AccessKey }> {
    const name = request.name.trim();
    if (name === "" || name.length > 100) {
      throw new MillraceError("KEY_INVALID", { reason: `its name has ${name.length} characters` });
    }
    const unknown = request.scopes.find(
      (scope) => !(SCOPES as readonly string[]).includes(scope) && !WRITE_SCOPE.test(scope),
    );
    if (unknown !== undefined) throw new MillraceError("KEY_INVALID", { reason: `"${unknown}" is no scope` });
    if (request.scopes.length === 0) throw new MillraceError("KEY_INVALID", { reason: "it has no scope" });
    const token = newToken();
    const scopes = [...new Set(request.scopes)] as Scope[];
    if (request.aws !== true) return { key: await this.#insert(token, name, scopes), token };
    const secret = await this.#ensureAwsSecret();
    const key = await this.#insert(token, name, scopes, true);
    const accessKeyId = accessKeyIdOf(key.id);
    return { key, token, accessKey: { accessKeyId, secretAccessKey: derived(secret, accessKeyId) } };
  }

  async list(): Promise<ApiKey[]> {
    return (await this.#state.query<Row>("select * from millrace.api_keys order by created_at, id")).map(toKey);
  }

  async revoke(id: string): Promise<ApiKey> {
    const [row] = await this.#state.query<Row>(
      "update millrace.api_keys set revoked_at = coalesce(revoked_at, now()) where id = $1 returning *",
      [id],
    );
    if (row === undefined) throw new MillraceError("KEY_UNKNOWN", { id });
    this.#changes += 1;
    this.#known.delete(id);
    await this.#tell(id);
    return toKey(row);
  }

  async ensureAdminKey(): Promise<void> {
    const { adminKey, adminKeyFile: path, shared = false } = this.#o;
    if (adminKey !== undefined) return this.#learn(adminKey, "adminKey");
    if (path === undefined) return;
    const token = await readIfThere(path);
    if (token !== undefined) return this.#learn(token, path);
    if (!shared) {
      const made = await this.create({ name: "admin", scopes: SCOPES });
      return writePrivately(path, `${made.token}\n`);
    }
    await this.#state.transaction(async (session) => {
      await session.query("select pg_advisory_xact_lock($1)", [FIRST_KEY_LOCK]);
      const admins = await session.query(
        "select 1 from millrace.api_keys where revoked_at is null and 'admin' = any(scopes) limit 1",
      );
      if (admins.length > 0) return;
      // The file first: a key whose file was not written any more would be nobody's.
      const first = newToken();
      await writePrivately(path, `${first}\n`);
      await this.#learn(first, path);
    });
  }

  /** A key that comes from elsewhere is known to the records from now on. One that was revoked is known, and stays out. */
  async #learn(token: string, source: string): Promise<void> {
    const id = TOKEN.exec(token)?.[1];
    if (id === undefined) throw new MillraceError("KEY_INVALID", { reason: `${source} does not hold a key` });
    if (this.verify(token) !== undefined) return;
    const [row] = await this.#state.query<Row>(
      `with made as (insert into millrace.api_keys (id, name, scopes, token_sha256) values ($1, 'admin', $2, $3)
                     on conflict (id) do nothing returning *)
       select * from made union all select * from millrace.api_keys where id = $1`,
      [id, [...SCOPES], sha256(token)],
    );
    // Somebody else's insert of this moment is seen with the next statement.
    if (row !== undefined && !row.token_sha256.equals(sha256(token)))
      throw new MillraceError("KEY_INVALID", { reason: `${source} has the id of another key` });
    await this.#load();
    await this.#tell(id);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelLook();
    await this.#unlisten?.();
    await this.#loading;
  }

  /** One secret, also when two ask for it at once. */
  #ensuring: Promise<string> | undefined;
  #ensureAwsSecret(): Promise<string> {
    this.#ensuring ??= (async () => {
      if (this.#awsSecret !== undefined) return this.#awsSecret;
      const { awsSecretFile, shared = false } = this.#o;
      if (shared)
        throw new MillraceError("KEY_INVALID", {
          reason: "access keys of several processes need awsSecret, the same for all of them",
        });
      if (awsSecretFile === undefined)
        throw new MillraceError("KEY_INVALID", {
          reason: "there is no data folder to keep the secret of access keys in",
        });
      const secret = randomBytes(32).toString("base64url");
      await writePrivately(awsSecretFile, `${secret}\n`);
      this.#awsSecret = secret;
      return secret;
    })().finally(() => {
      this.#ensuring = undefined;
    });
    return this.#ensuring;
  }

  async #insert(token: string, name: string, scopes: Scope[], aws = false): Promise<ApiKey> {
    const id = TOKEN.exec(token)![1]!;
    const [row] = await this.#state.query<Row>(
      "insert into millrace.api_keys (id, name, scopes, token_sha256, aws) values ($1, $2, $3, $4, $5) returning *",
      [id, name, scopes, sha256(token), aws],
    );
    this.#changes += 1;
    know(this.#known, row!);
    await this.#tell(id);
    return toKey(row!);
  }

  async #tell(id: string): Promise<void> {
    await this.#state.query("select pg_notify($1, $2)", [CHANNEL, id]);
  }

  async #load(): Promise<void> {
    for (;;) {
      const changes = this.#changes;
      const askedMs = this.#ticker.now();
      const rows = await this.#state.query<Row>("select * from millrace.api_keys where revoked_at is null");
      if (changes !== this.#changes) continue;
      const known: KnownKeys = new Map();
      for (const row of rows) know(known, row);
      this.#known = known;
      this.#readAtMs = askedMs;
      return;
    }
  }

  problem(): string | undefined {
    const { cacheMs = Number.POSITIVE_INFINITY } = this.#o;
    if (this.#ticker.now() - this.#readAtMs <= cacheMs) return undefined;
    return "API keys have not been read for longer than keyCacheMs";
  }

  #checkAge(): void {
    const reason = this.problem();
    if (reason !== undefined) throw new MillraceError("STATE_UNAVAILABLE", { reason }, { retryAfterS: 5 });
  }

  #planLook(): void {
    const { cacheMs = Number.POSITIVE_INFINITY } = this.#o;
    this.#cancelLook = this.#ticker.after(Math.min(LOOK_EVERY_MS, cacheMs / LOOKS_WHILE_THEY_HOLD), () => {
      this.#refresh();
      this.#planLook();
    });
  }

  /** One load at a time, and one more when something changed during it. */
  #refresh(): void {
    this.#loadAgain = true;
    this.#loading ??= (async () => {
      while (this.#loadAgain && !this.#closed) {
        this.#loadAgain = false;
        try {
          await this.#load();
        } catch {
          // The keys in memory go on to hold until the records can be read again.
          this.#loadAgain = true;
          await sleep(RELOAD_PAUSE_MS, undefined, { ref: false });
        }
      }
      this.#loading = undefined;
    })();
  }
}

function know(known: KnownKeys, row: Row): void {
  const principal = Object.freeze({ id: row.id, name: row.name, scopes: new Set(row.scopes) });
  known.set(row.id, { sha256: row.token_sha256, principal, aws: row.aws });
}

function accessKeyIdOf(id: string): string {
  return `MILLRACE${id.toUpperCase()}`;
}

function derived(secret: string, accessKeyId: string): string {
  return createHmac("sha256", secret).update(accessKeyId).digest("base64").slice(0, 40);
}

async function readAwsSecret(path: string): Promise<string | undefined> {
  const secret = await readIfThere(path);
  return secret === undefined ? undefined : checkedAwsSecret(secret, path);
}

function checkedAwsSecret(secret: string, source: string): string {
  if (AWS_SECRET.test(secret)) return secret;
  throw new MillraceError("KEY_INVALID", { reason: `${source} does not hold the secret of access keys` });
}

function newToken(): string {
  return `mk_${randomId()}_${randomBytes(32).toString("base64url")}`;
}

function sha256(token: string): Buffer {
  return hash("sha256", token, "buffer");
}

function randomId(): string {
  // 36 divides 252: bytes above would make some characters likelier than others.
  let id = "";
  while (id.length < 12)
    for (const byte of randomBytes(16)) if (byte < 252 && id.length < 12) id += (byte % 36).toString(36);
  return id;
}

function toKey(row: Row): ApiKey {
  return {
    id: row.id,
    name: row.name,
    scopes: row.scopes,
    createdAt: row.created_at,
    revokedAt: row.revoked_at ?? undefined,
    accessKeyId: row.aws ? accessKeyIdOf(row.id) : undefined,
  };
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Temporary file, write, fsync, rename, fsync the folder: nobody ever reads half a key. */
async function writePrivately(path: string, text: string): Promise<void> {
  const file = await open(`${path}.new`, "w", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
