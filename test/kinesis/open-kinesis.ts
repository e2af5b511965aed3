/** The door with a clock a test can turn, access keys of each scope, and AWS's own client on it. */
import { KinesisClient, type KinesisClientConfig } from "@aws-sdk/client-kinesis";
import type { Principal } from "../../src/gateway/auth.ts";
import type { AccessKeys } from "../../src/gateway/kinesis/signature.ts";
import type { StreamTags } from "../../src/gateway/kinesis/stream-tags.ts";
import { type Answer, type DoorOptions, KEYS, type OpenDoor, openDoor } from "../gateway/open-door.ts";
import { type Signing, signedHeaders } from "./sign.ts";

export const REGION = "eu-central-1";
export const SECRET = "secret-of-the-tests-0123456789+/abcdefgh";

/** `ADMIN`, `INGEST`, `QUERY`, `WRITE`: an access key with the scopes of `KEYS`. */
export const ACCESS_KEYS: AccessKeys = {
  accessKey(accessKeyId) {
    const token = `${accessKeyId.toLowerCase()}-key`;
    const scopes = KEYS[token];
    if (scopes === undefined) return undefined;
    const principal: Principal = { id: token, name: token, scopes: new Set(scopes) };
    return { principal, secretAccessKey: SECRET };
  },
};

export class OpenKinesis implements AsyncDisposable {
  readonly door: OpenDoor;
  readonly #clock: { offsetMs: number };
  readonly #clients: KinesisClient[] = [];

  private constructor(door: OpenDoor, clock: { offsetMs: number }) {
    this.door = door;
    this.#clock = clock;
  }

  static async open(options: Omit<DoorOptions, "kinesis">): Promise<OpenKinesis> {
    const clock = { offsetMs: 0 };
    const door = await openDoor({
      ...options,
      kinesis: {
        accessKeys: ACCESS_KEYS,
        tags: new MemoryTags(),
        createdAtMs: Date.parse("2026-01-01T00:00:00Z"),
        retentionMs: 7 * 86_400_000,
        clock: () => Date.now() + clock.offsetMs,
      },
    });
    return new OpenKinesis(door, clock);
  }

  /** Lets the platform's clock go on. */
  later(ms: number): void {
    this.#clock.offsetMs += ms;
  }

  /** Calls an operation over HTTP/1.1 with a signature of the tests' own. */
  call(operation: string, input: unknown, signing: Signing = {}): Promise<Answer> {
    const body = typeof input === "string" || input instanceof Uint8Array ? input : JSON.stringify(input);
    const headers = signedHeaders(operation, body, `127.0.0.1:${this.door.port}`, signing);
    const path = signing.query === undefined ? "/" : `/?${signing.query}`;
    return this.door.call("POST", path, { key: "", headers, body });
  }

  /** AWS's client, as it is but for where it calls. */
  client(accessKeyId = "ADMIN", more: KinesisClientConfig = {}): KinesisClient {
    const credentials = { accessKeyId, secretAccessKey: SECRET };
    const client = new KinesisClient({ endpoint: this.door.url, region: REGION, credentials, maxAttempts: 1, ...more });
    this.#clients.push(client);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.destroy();
    await this.door[Symbol.asyncDispose]();
  }
}

class MemoryTags implements StreamTags {
  readonly #tags = new Map<string, Map<string, string>>();

  async list(stream: string): Promise<[string, string][]> {
    return [...(this.#tags.get(stream) ?? [])].toSorted(([a], [b]) => (a < b ? -1 : 1));
  }

  async add(stream: string, tags: ReadonlyMap<string, string>, most: number): Promise<boolean> {
    const all = new Map([...(this.#tags.get(stream) ?? []), ...tags]);
    if (all.size > most) return false;
    this.#tags.set(stream, all);
    return true;
  }

  async remove(stream: string, keys: readonly string[]): Promise<void> {
    for (const key of keys) this.#tags.get(stream)?.delete(key);
  }
}
