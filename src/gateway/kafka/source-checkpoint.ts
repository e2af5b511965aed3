/**
 * Where reading of a topic goes on after a crash, as far as it need not be searched:
 *
 *     <stream>/<group and topic, hashed>/topic.json          {"version": 1, "topic", "group", "id", "partitions": <when it was begun>}
 *     <stream>/<group and topic, hashed>/<partition>.json    {"version": 1, "position", "ends": [<of each partition of the stream>]}
 *
 * Everything below `position` is in the stream's log or among the dead letters. What is there beyond lies behind `ends`, where its marks are found
 * (`source-mark.ts`). So a checkpoint may be as old as it likes, and one that a process writes that was taken for dead does no harm.
 */
import { createHash } from "node:crypto";
import { MillraceError } from "../../errors.ts";

/** What checkpoints are kept in; a part of `ObjectStore` of the lake. */
export interface CheckpointStore {
  /** @throws OBJECT_NOT_FOUND */
  get(key: string): Promise<Uint8Array>;
  put(key: string, bytes: Uint8Array): Promise<void>;
  putIfAbsent(key: string, bytes: Uint8Array): Promise<boolean>;
  list(prefix: string): Promise<readonly { readonly key: string }[]>;
}

export interface TopicBegun {
  readonly id: string;
  readonly partitions: number;
}

export interface SourceCheckpoint {
  readonly position: number;
  readonly ends: readonly number[];
}

const VERSION = 1;

export class SourceCheckpoints {
  readonly #store: CheckpointStore;
  readonly #folder: string;
  readonly #names: { readonly topic: string; readonly group: string };

  /** `prefix`: ends with `/`, or is empty. */
  constructor(store: CheckpointStore, prefix: string, stream: string, names: { topic: string; group: string }) {
    this.#store = store;
    this.#names = names;
    const digest = createHash("sha256").update(`${names.topic}\0${names.group}`).digest("hex").slice(0, 16);
    this.#folder = `${prefix}${stream}/${digest}/`;
  }

  /** What the topic was when it was begun: as given, when nobody has begun it before. */
  async begin(facts: TopicBegun): Promise<TopicBegun> {
    const key = `${this.#folder}topic.json`;
    await this.#store.putIfAbsent(key, encode({ version: VERSION, ...this.#names, ...facts }));
    const { id, partitions } = decode(await this.#store.get(key)) as unknown as TopicBegun;
    return { id, partitions };
  }

  async read(partition: number): Promise<SourceCheckpoint | undefined> {
    try {
      const { position, ends } = decode(await this.#store.get(this.#key(partition))) as unknown as SourceCheckpoint;
      return { position, ends };
    } catch (error) {
      if (error instanceof MillraceError && error.code === "OBJECT_NOT_FOUND") return undefined;
      throw error;
    }
  }

  /** Every one that there is, by partition. */
  async all(): Promise<Map<number, SourceCheckpoint>> {
    const found = new Map<number, SourceCheckpoint>();
    for (const { key } of await this.#store.list(this.#folder)) {
      const partition = /\/(\d+)\.json$/.exec(key)?.[1];
      const checkpoint = partition === undefined ? undefined : await this.read(Number(partition));
      if (checkpoint) found.set(Number(partition), checkpoint);
    }
    return found;
  }

  async write(partition: number, checkpoint: SourceCheckpoint): Promise<void> {
    await this.#store.put(this.#key(partition), encode({ version: VERSION, ...checkpoint }));
  }

  #key(partition: number): string {
    return `${this.#folder}${partition}.json`;
  }
}

function encode(value: object): Uint8Array {
  return Buffer.from(`${JSON.stringify(value)}\n`);
}

function decode(bytes: Uint8Array): Record<string, unknown> {
  const value = JSON.parse(Buffer.from(bytes).toString("utf8")) as Record<string, unknown>;
  if (value["version"] !== VERSION)
    throw new Error(`a checkpoint of a source has version ${String(value["version"])}, not ${VERSION}`);
  return value;
}
