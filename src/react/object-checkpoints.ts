/**
 * Checkpoints as objects of the store that processes share. Objects cannot be appended to, so each commit is one of its own:
 *
 *     _react/<stream>/<partition>/<lane>/commits/<number, 16 digits>   records (checkpoint-records.ts): entries, if few; the commit; the head
 *     _react/<stream>/<partition>/<lane>/entries/<owner>-<count>       records: entries that are too many for a commit's object
 *     _react/<stream>/lanes/<lane>                                     {"format": 1, "partitions": N, "id"}: of the stream when the lane was first begun
 *
 *     head   {"format": 1, "number", "owner", "writer", "generation", "lastTake", "state": "whole" | "none" | "lost", "parts": [[name, bytes], …]}
 *            parts: where the entries are, in their order: "c<number>" in the object of a commit, else a name under entries/. The bytes are those of entries
 *
 * Commits are numbered without gaps, and each is put where there is none yet: that is the fence. Who takes a lane puts the next number with what the last commit
 * says and an owner one higher; whoever had it before finds his next number taken, and has lost the lane. The last number counts. Objects that it
 * does not name go when a generation ends, but for the last hundred commits: a process that was away for long must still find a number of his successor.
 */
import { randomUUID } from "node:crypto";
import { MillraceError } from "../errors.ts";
import type { ObjectStore } from "../lake/object-store.ts";
import { COMMIT, ENTRIES, HEAD, jsonOf, readRecords, recordHeader } from "./checkpoint-records.ts";
import {
  type CheckpointStore,
  type CheckpointWriter,
  type Commit,
  EntriesDamaged,
  type FoundCheckpoint,
  type LaneCheckpoints,
  type ReadCheckpoint,
  type TakeBlock,
} from "./checkpoint-store.ts";
import type { LaneName } from "./emission-mark.ts";

export interface ObjectCheckpointsOptions {
  readonly store: Pick<ObjectStore, "get" | "putIfAbsent" | "list" | "delete">;
  /** Identifies who takes lanes: no two processes have the same. */
  readonly newId?: () => string;
  /** Milliseconds of a clock that is never set. */
  readonly monotonicMs?: () => number;
}

interface Head {
  readonly format: 1;
  readonly number: number;
  readonly owner: number;
  readonly writer: string;
  readonly generation: number;
  /** Takes used up to here, also those that do not count. */
  readonly lastTake: number;
  /** `none`: the lane was taken and has no checkpoint yet; `lost`: it had one, and no commit of it could be read. */
  readonly state: "whole" | "none" | "lost";
  readonly parts: readonly Part[];
}

type Part = readonly [name: string, bytes: number];

const ROOT = "_react";
/** Few requests for much state, and soon on its way. */
const PIECE_BYTES = 4 * 1024 * 1024;
/** Goes with the commit, and spares a request. */
const MOST_INLINE_BYTES = 256 * 1024;
const MOST_UPLOADS = 4;
const READS_AT_ONCE = 8;
/** Of a generation; a restore reads them all. */
const MOST_PARTS = 200;
const KEPT_COMMITS = 100;
/** Who has committed nothing for so long looks first whether somebody else has. */
const LONG_AGO_MS = 30_000;

export class ObjectCheckpoints implements CheckpointStore {
  readonly #o: ObjectCheckpointsOptions;

  constructor(options: ObjectCheckpointsOptions) {
    this.#o = options;
  }

  of(lane: LaneName): LaneCheckpoints {
    return new LaneObjects(this.#o, lane);
  }

  async isLater({ lane, stream, partition }: LaneName, partitions: number): Promise<boolean> {
    const { store, newId = randomUUID } = this.#o;
    const key = `${ROOT}/${stream}/lanes/${encodeURIComponent(lane)}`;
    const mine = JSON.stringify({ format: 1, partitions, id: newId() });
    if (await store.putIfAbsent(key, Buffer.from(mine, "utf8"))) return false;
    const known = JSON.parse(Buffer.from(await store.get(key)).toString("utf8")) as { partitions: number };
    return partition >= known.partitions;
  }
}

/** The objects of one lane, as one process has it. */
class LaneObjects implements LaneCheckpoints {
  readonly place: string;
  owner = 0;
  readonly #store: ObjectCheckpointsOptions["store"];
  readonly #lane: LaneName;
  readonly #monotonicMs: () => number;
  readonly #writer: string;
  /** Of the last commit. */
  #number = 0;
  #parts: readonly Part[] = [];
  #putMs = 0;
  #pieces = 0;
  /** Pieces that no commit names yet. */
  readonly open = new Set<string>();
  #sweeping: Promise<void> = Promise.resolve();

  constructor(
    { store, newId = randomUUID, monotonicMs = () => performance.now() }: ObjectCheckpointsOptions,
    lane: LaneName,
  ) {
    this.#store = store;
    this.#lane = lane;
    this.#monotonicMs = monotonicMs;
    this.#writer = newId();
    this.place = `${ROOT}/${lane.stream}/${lane.partition}/${encodeURIComponent(lane.lane)}`;
  }

  async take(): Promise<FoundCheckpoint> {
    for (;;) {
      const keys = await this.#store.list(`${this.place}/commits/`);
      const numbers = keys.map(({ key }) => numberOf(key)).sort((a, b) => b - a);
      const newest = numbers[0] ?? 0;
      const found = await this.#newestOf(numbers);
      // An owner takes one number at least, so that none of those that cannot be read has a higher one.
      this.owner = found ? found.head.owner + newest - found.head.number + 1 : newest + 1;
      const state = found ? found.head.state : newest === 0 ? "none" : "lost";
      const { generation = 0, lastTake = 0, parts = [] } = found?.head ?? {};
      this.#number = newest;
      this.#parts = parts;
      if (!(await this.#claim({ generation, lastTake, parts, state }, found?.commit))) continue;
      if (state === "none") return { kind: "none" };
      const path = `${this.place}/commits/${nameOf(found?.head.number ?? newest)}`;
      if (!found?.commit) return { kind: "damaged", generation, path, at: 0, known: undefined };
      const end = parts.reduce((sum, [, bytes]) => sum + bytes, 0);
      return {
        kind: "whole",
        checkpoint: { generation, end, commit: found.commit, lastTake, behind: undefined, path },
      };
    }
  }

  read({ commit }: ReadCheckpoint, take: TakeBlock): Promise<void> {
    return this.readParts(this.#parts, commit, take);
  }

  async resume({ generation, lastTake }: ReadCheckpoint): Promise<CheckpointWriter> {
    return new ObjectWriter(this, generation, this.#parts, lastTake);
  }

  async create(generation: number): Promise<CheckpointWriter> {
    return new ObjectWriter(this, generation, [], 0);
  }

  /** Puts the next commit. Resolves to its number. @throws REACT_LANE_TAKEN */
  async put(commit: Commit, entries: Buffer, facts: Pick<Head, "generation" | "lastTake" | "parts">): Promise<Part[]> {
    if (this.#monotonicMs() - this.#putMs > LONG_AGO_MS) await this.#lookAhead();
    for (;;) {
      const number = this.#number + 1;
      const parts = [...facts.parts, ...(entries.length > 0 ? [[`c${number}`, entries.length] as const] : [])];
      const head: Head = {
        ...{ format: 1, number, owner: this.owner, writer: this.#writer },
        ...{ generation: facts.generation, lastTake: facts.lastTake, state: "whole", parts },
      };
      const bytes = Buffer.concat([entries, record(COMMIT, commit), record(HEAD, head)]);
      if (await this.#store.putIfAbsent(this.#key(number), bytes)) {
        this.#put(number);
        return parts;
      }
      // Perhaps it is one of ours, which was there though its call had failed. It counts as little as if it were not.
      if ((await this.#read(number))?.head.writer !== this.#writer) throw this.#taken();
      this.#put(number);
    }
  }

  async putPiece(bytes: Buffer): Promise<Part> {
    const name = `${this.owner}-${++this.#pieces}`;
    this.open.add(name);
    if (!(await this.#store.putIfAbsent(`${this.place}/entries/${name}`, bytes))) throw this.#taken();
    return [name, bytes.length];
  }

  /** Gives the blocks of the parts that count. */
  async readParts(parts: readonly Part[], { takes }: Commit, take: TakeBlock): Promise<void> {
    const without = new Set(takes.without);
    const reading: Promise<Buffer>[] = [];
    let next = 0;
    for (const part of parts) {
      while (next < parts.length && reading.length < READS_AT_ONCE) {
        const ahead = this.#entriesOf(parts[next++] as Part);
        ahead.catch(() => undefined); // told when its turn comes
        reading.push(ahead);
      }
      const bytes = await (reading.shift() as Promise<Buffer>);
      const { records, end } = readRecords(bytes);
      if (end < bytes.length) throw new EntriesDamaged(this.#keyOf(part), end);
      for (const { kind, take: number, body } of records)
        if (kind === ENTRIES && number <= takes.to && !without.has(number)) await take(new Uint8Array(body));
    }
  }

  /** Removes what the last commit does not name. What fails is removed by the next time. */
  sweep(parts: readonly Part[]): void {
    const number = this.#number;
    const named = new Set(parts.map(([name]) => name));
    const isNeeded = (key: string): boolean => {
      const name = key.slice(key.lastIndexOf("/") + 1);
      if (key.startsWith(`${this.place}/commits/`)) {
        return numberOf(key) > number - KEPT_COMMITS || named.has(`c${numberOf(key)}`);
      }
      // Those of a later owner are none of ours.
      return named.has(name) || this.open.has(name) || Number.parseInt(name, 10) > this.owner;
    };
    this.#sweeping = this.#sweeping
      .then(async () => {
        for (const { key } of await this.#store.list(`${this.place}/`)) {
          if (!isNeeded(key)) await this.#store.delete(key);
        }
      })
      .catch(() => undefined);
  }

  swept(): Promise<void> {
    return this.#sweeping;
  }

  async #claim(facts: Pick<Head, "generation" | "lastTake" | "state" | "parts">, commit: Commit | undefined) {
    const number = this.#number + 1;
    const head: Head = { format: 1, number, owner: this.owner, writer: this.#writer, ...facts };
    const bytes = Buffer.concat([...(commit ? [record(COMMIT, commit)] : []), record(HEAD, head)]);
    if (!(await this.#store.putIfAbsent(this.#key(number), bytes))) return false;
    this.#put(number);
    return true;
  }

  #put(number: number): void {
    this.#number = number;
    this.#putMs = this.#monotonicMs();
  }

  /** The newest commit that can be read. */
  async #newestOf(numbers: readonly number[]) {
    for (const number of numbers) {
      const found = await this.#read(number);
      if (found) return found;
    }
    return undefined;
  }

  /** A commit; undefined when there is none that can be read. */
  async #read(number: number): Promise<{ readonly head: Head; readonly commit: Commit | undefined } | undefined> {
    const bytes = await this.#get(this.#key(number));
    const records = bytes ? readRecords(bytes).records : [];
    const head = records.at(-1);
    if (head?.kind !== HEAD) return undefined;
    const commit = records.find(({ kind }) => kind === COMMIT);
    return { head: jsonOf<Head>(head), commit: commit && jsonOf<Commit>(commit) };
  }

  async #lookAhead(): Promise<void> {
    const keys = await this.#store.list(`${this.place}/commits/`, { after: this.#key(this.#number) });
    if (keys.some(({ key }) => numberOf(key) > this.#number + 1)) throw this.#taken();
  }

  async #entriesOf(part: Part): Promise<Buffer> {
    const key = this.#keyOf(part);
    const bytes = await this.#get(key);
    if (!bytes || bytes.length < part[1]) throw new EntriesDamaged(key, bytes?.length ?? 0);
    return bytes.subarray(0, part[1]);
  }

  async #get(key: string): Promise<Buffer | undefined> {
    try {
      const bytes = await this.#store.get(key);
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    } catch (error) {
      if (error instanceof MillraceError && error.code === "OBJECT_NOT_FOUND") return undefined;
      throw error;
    }
  }

  #keyOf([name]: Part): string {
    return name.startsWith("c") ? this.#key(Number(name.slice(1))) : `${this.place}/entries/${name}`;
  }

  #key(number: number): string {
    return `${this.place}/commits/${nameOf(number)}`;
  }

  #taken(): MillraceError {
    return new MillraceError("REACT_LANE_TAKEN", { ...this.#lane });
  }
}

class ObjectWriter implements CheckpointWriter {
  readonly generation: number;
  readonly #lane: LaneObjects;
  #parts: readonly Part[];
  /** Of the parts. */
  #committedBytes: number;
  /** Pieces behind the last commit, in their order. */
  #pieces: Promise<Part>[] = [];
  #pieceBytes = 0;
  #buffer: Uint8Array[] = [];
  #buffered = 0;
  #lastTake: number;
  #first: boolean;
  #failed = false;
  /** Pieces of a commit that failed. */
  #lost: Promise<Part>[] = [];

  constructor(lane: LaneObjects, generation: number, parts: readonly Part[], lastTake: number) {
    this.#lane = lane;
    this.generation = generation;
    this.#parts = parts;
    this.#committedBytes = sizeOf(parts);
    this.#lastTake = lastTake;
    this.#first = parts.length === 0;
  }

  get bytes(): number {
    return this.#committedBytes + this.#pieceBytes + this.#buffered;
  }

  get worn(): boolean {
    return this.#parts.length >= MOST_PARTS;
  }

  async entries(take: number, block: Uint8Array): Promise<void> {
    this.#lastTake = Math.max(this.#lastTake, take);
    const header = recordHeader(ENTRIES, take, block);
    this.#buffer.push(header, block);
    this.#buffered += header.length + block.length;
    if (this.#buffered >= PIECE_BYTES) this.#upload();
    await this.#pieces.at(-MOST_UPLOADS);
  }

  async commit(commit: Commit): Promise<void> {
    if (this.#failed) throw new MillraceError("INTERNAL", { what: "writing behind a commit that failed" });
    if (this.#buffered > MOST_INLINE_BYTES) this.#upload();
    const uploading = this.#pieces;
    const inline = Buffer.concat(this.#buffer);
    // What comes while this is under way belongs to the next one.
    this.#drop();
    try {
      const pieces = await Promise.all(uploading);
      const facts = { generation: this.generation, lastTake: this.#lastTake, parts: [...this.#parts, ...pieces] };
      this.#parts = await this.#lane.put(commit, inline, facts);
      for (const [name] of pieces) this.#lane.open.delete(name);
    } catch (error) {
      this.#failed = true;
      this.#lost.push(...uploading);
      throw error;
    }
    this.#committedBytes = sizeOf(this.#parts);
    if (this.#first) this.#lane.sweep(this.#parts);
    this.#first = false;
  }

  read(commit: Commit, take: TakeBlock): Promise<void> {
    return this.#lane.readParts(this.#parts, commit, take);
  }

  async recover(): Promise<void> {
    const pieces = await Promise.allSettled([...this.#lost, ...this.#pieces]);
    this.#lost = [];
    this.#drop();
    for (const piece of pieces) if (piece.status === "fulfilled") this.#lane.open.delete(piece.value[0]);
    this.#failed = false;
  }

  async close(): Promise<void> {
    await this.recover();
    await this.#lane.swept();
  }

  #upload(): void {
    const piece = this.#lane.putPiece(Buffer.concat(this.#buffer));
    piece.catch(() => undefined); // told to the commit
    this.#pieces.push(piece);
    this.#pieceBytes += this.#buffered;
    this.#buffer = [];
    this.#buffered = 0;
  }

  #drop(): void {
    this.#pieces = [];
    this.#pieceBytes = 0;
    this.#buffer = [];
    this.#buffered = 0;
  }
}

function record(kind: number, value: unknown): Buffer {
  const body = Buffer.from(JSON.stringify(value), "utf8");
  return Buffer.concat([recordHeader(kind, 0, body), body]);
}

function sizeOf(parts: readonly Part[]): number {
  return parts.reduce((sum, [, bytes]) => sum + bytes, 0);
}

function nameOf(number: number): string {
  return String(number).padStart(16, "0");
}

function numberOf(key: string): number {
  return Number.parseInt(key.slice(key.lastIndexOf("/") + 1), 10);
}
