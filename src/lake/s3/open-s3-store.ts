import { randomUUID } from "node:crypto";
import { type FileHandle, mkdir, open, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import { MillraceError } from "../../errors.ts";
import { checkKey } from "../object-key.ts";
import type { ObjectInfo, ObjectStore, PublishedObject } from "../object-store.ts";
import { checkService, NOTHING } from "./check-service.ts";
import { LocalCopies, syncFile } from "./local-copies.ts";
import { encryptionOf, encryptionText, s3Client } from "./s3-client.ts";
import { locate, type S3Options } from "./s3-location.ts";
import { type S3Access, S3Objects } from "./s3-objects.ts";
import { S3Requests } from "./s3-requests.ts";
import { uploadFile } from "./upload-file.ts";

export interface S3StoreOptions extends S3Options {
  /** Folder for copies of objects and for files on their way; nothing in it is needed after a start. */
  readonly cacheDir: string;
  readonly cacheBytes: number;
  /** How long an operation is tried again before it fails. */
  readonly timeoutMs: number;
  /** Milliseconds since the epoch. */
  readonly clock?: () => number;
  readonly newId?: () => string;
  /** 0 to 1; draws the pauses between tries. */
  readonly random?: () => number;
  /** Size from which files go in parts, and of each part. */
  readonly partBytes?: number;
}

export interface S3Store extends ObjectStore {
  /** The folder below which all local paths lie. */
  readonly copiesRoot: string;
  /** Attempts so far by operation, and what was fetched into local copies. */
  readonly counts: {
    readonly requests: ReadonlyMap<string, number>;
    readonly fetched: { readonly files: number; readonly bytes: number };
    readonly copiesBytes: number;
  };
  /** What is wrong with the store just now; undefined when it answers. It is asked at most every few seconds. */
  problem(): Promise<MillraceError | undefined>;
  close(): void;
}

/**
 * The lake in a bucket of any S3-compatible service. Objects are whole or absent by S3's own nature; `putIfAbsent` is a conditional PUT,
 * and the service is asked at the opening whether it honours one. Objects that an engine reads are copied to the local disk, once for
 * all who ask at the time, and kept while there is room; a file that was written here is its own copy.
 * @throws STORE_UNSUPPORTED for a service without conditional writes; STORE_BUCKET_MISSING, STORE_ACCESS_DENIED, STORE_CREDENTIALS,
 * STORE_REGION, STORE_ENCRYPTION, STORE_CLOCK_SKEW, STORE_UNAVAILABLE, also from every method; SETTING_INVALID
 */
export async function openS3Store(options: S3StoreOptions): Promise<S3Store> {
  const { clock = Date.now, newId = randomUUID, encryption } = options;
  const at = { ...locate(options), encryption: encryptionText(options) };
  const requests = new S3Requests({
    at,
    timeoutMs: options.timeoutMs,
    ...(options.random && { random: options.random }),
  });
  const client = s3Client(options, at);
  const access: S3Access = { client, requests, at, extra: encryptionOf(options) };
  try {
    await checkService(access, { encryption, clock, newId });
    const objects = new S3Objects(access);
    const copies = await LocalCopies.open({
      dir: options.cacheDir,
      maxBytes: options.cacheBytes,
      fetch: (key, path) => fetchFile(objects, key, path),
    });
    return new BucketStore(access, objects, copies, options, clock);
  } catch (error) {
    client.destroy();
    throw error;
  }
}

/** Whoever watches asks every few seconds, and several may. */
const PROBLEM_KNOWN_MS = 2_000;
/** A watcher waits no longer than this: so much silence is a problem as well. */
const PROBLEM_ASKED_MS = 3_000;

class BucketStore implements S3Store {
  readonly remote = true;
  readonly #access: S3Access;
  readonly #objects: S3Objects;
  readonly #copies: LocalCopies;
  readonly #o: S3StoreOptions;
  readonly #clock: () => number;
  #asked: { readonly at: number; readonly answer: Promise<MillraceError | undefined> } | undefined;

  constructor(access: S3Access, objects: S3Objects, copies: LocalCopies, o: S3StoreOptions, clock: () => number) {
    this.#access = access;
    this.#objects = objects;
    this.#copies = copies;
    this.#o = o;
    this.#clock = clock;
  }

  get copiesRoot(): string {
    return this.#copies.root;
  }

  get counts() {
    return { requests: this.#access.requests.counts, fetched: this.#copies.fetched, copiesBytes: this.#copies.bytes };
  }

  async get(key: string): Promise<Uint8Array> {
    checkKey(key);
    return this.#objects.get(key);
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    checkKey(key);
    await this.#objects.put(key, bytes);
  }

  async putIfAbsent(key: string, bytes: Uint8Array): Promise<boolean> {
    checkKey(key);
    return this.#objects.putIfAbsent(key, bytes);
  }

  async list(prefix: string, options: { after?: string } = {}): Promise<ObjectInfo[]> {
    return this.#objects.list(prefix, options.after);
  }

  async delete(key: string): Promise<void> {
    checkKey(key);
    await this.#objects.delete(key);
    await this.#copies.drop(key);
  }

  async stage(key: string): Promise<string> {
    checkKey(key);
    const path = this.#copies.stagedPath(key);
    await this.#onDisk("write", key, () => mkdir(dirname(path), { recursive: true }));
    return path;
  }

  async publish(key: string): Promise<PublishedObject> {
    checkKey(key);
    const path = this.#copies.stagedPath(key);
    try {
      return await this.#onDisk("write", key, async () => {
        const { size: sizeBytes } = await stat(path);
        const { partBytes } = this.#o;
        const uploaded = uploadFile(this.#objects, this.#access, key, path, sizeBytes, partBytes ? { partBytes } : {});
        // The local copy may outlive a power failure, and nobody looks at it again.
        const [sum] = await Promise.all([uploaded, syncFile(path)]);
        await this.#copies.adopt(key, sizeBytes);
        return { key, sizeBytes, modifiedAtMs: this.#clock(), checksum: sumText(sum) };
      });
    } catch (error) {
      // Whoever tries again writes another file, and a store that is away for hours must not fill the disk.
      await rm(path, { force: true }).catch(() => undefined);
      throw error;
    }
  }

  async checksum(key: string): Promise<string> {
    checkKey(key);
    const stored = await this.#objects.read(key, async () => {
      let sum = 0;
      return {
        take: (piece) => {
          sum = crc32(piece, sum);
        },
        end: async () => sum,
        drop: async () => undefined,
      };
    });
    const local = await this.#onDisk("read", key, () => this.#copies.checksum(key));
    if (local !== undefined && local !== stored) await this.#copies.replace(key);
    return sumText(stored);
  }

  localPath(key: string): string {
    checkKey(key);
    return this.#copies.path(key);
  }

  async hold(keys: readonly string[], signal?: AbortSignal): Promise<() => void> {
    for (const key of keys) checkKey(key);
    return this.#copies.hold(keys, signal);
  }

  uri(key: string): string {
    return `s3://${this.#access.at.bucket}/${this.#access.at.prefix}${key}`;
  }

  problem(): Promise<MillraceError | undefined> {
    const now = performance.now();
    if (this.#asked === undefined || now - this.#asked.at > PROBLEM_KNOWN_MS) {
      this.#asked = { at: now, answer: this.#ask() };
    }
    return this.#asked.answer;
  }

  close(): void {
    this.#access.client.destroy();
  }

  async #ask(): Promise<MillraceError | undefined> {
    try {
      await this.#objects.read(NOTHING, async () => NO_SINK, { timeoutMs: PROBLEM_ASKED_MS });
      return undefined;
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      return error.code === "OBJECT_NOT_FOUND" ? undefined : error;
    }
  }

  /** Does work on local files; what the disk says becomes an error of the platform. */
  async #onDisk<T>(operation: string, key: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      if (cause instanceof MillraceError) throw cause;
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new MillraceError("LAKE_UNAVAILABLE", { operation, key, reason }, { cause, retryAfterS: 1 });
    }
  }
}

const NO_SINK = { take: () => undefined, end: async () => undefined, drop: async () => undefined };

/** Copies an object into a new file, synced, and gives its size. */
async function fetchFile(objects: S3Objects, key: string, path: string): Promise<number> {
  return objects.read(key, async () => {
    // A try that was given up may still be writing into the file it began: this one gets another.
    await rm(path, { force: true });
    const file: FileHandle = await open(path, "wx");
    let sizeBytes = 0;
    return {
      async take(piece) {
        sizeBytes += piece.byteLength;
        await file.writeFile(piece);
      },
      async end() {
        await file.sync();
        await file.close();
        return sizeBytes;
      },
      drop: () => file.close(),
    };
  });
}

function sumText(sum: number): string {
  return sum.toString(16).padStart(8, "0");
}
