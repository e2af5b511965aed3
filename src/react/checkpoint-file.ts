/**
 * The checkpoint of a lane on the disk: a copy of its state, and behind it what has changed since.
 *
 *     DIR/react/<stream>/<partition>/<lane>/<generation>.checkpoint
 *
 *     records (checkpoint-records.ts): entries, and commits. Entries of the takes that a commit names count from there on
 *
 * The lane is where the last commit says that is whole, with the entries of all takes that count by it, in the order of the
 * file. What lies behind is of a crash. A file is made as `<generation>.building` and gets its name with its first commit; of several the one of the
 * highest generation counts.
 *
 * Commits behind damaged bytes are looked for: they say how far the lane had come, and so what must not be emitted again while its state is built anew
 * from the log.
 */
import { dirname, join } from "node:path";
import { isMissing, type LogFile, type LogFs, withFile } from "../log/file-system.ts";
import {
  type CheckpointRecord,
  COMMIT,
  ENTRIES,
  HEADER_BYTES,
  jsonOf,
  MAGIC,
  readRecord,
  recordBytes,
  recordHeader,
} from "./checkpoint-records.ts";
import type {
  CheckpointStore,
  CheckpointWriter,
  Commit,
  FoundCheckpoint,
  LaneCheckpoints,
  ReadCheckpoint,
  TakeBlock,
} from "./checkpoint-store.ts";
import type { LaneName } from "./emission-mark.ts";

const SUFFIX = ".checkpoint";
const BUILDING = ".building";
const READ_BYTES = 1024 * 1024;
/** Those above a lane's folder: partition, stream, `react` and the data folder. */
const FOLDERS = 4;

/** Checkpoints in files of this machine, which one process has to itself. `dir`: created when missing. */
export class FileCheckpoints implements CheckpointStore {
  readonly #fs: LogFs;
  readonly #dir: string;

  constructor(fs: LogFs, dir: string) {
    this.#fs = fs;
    this.#dir = dir;
  }

  of(lane: LaneName): LaneCheckpoints {
    const [fs, dir] = [this.#fs, this.#dirOf(lane)];
    return {
      place: dir,
      owner: 0,
      take: () => findCheckpoint(fs, dir),
      read: (checkpoint, take) => readEntryBlocks(fs, dir, checkpoint, take),
      resume: (checkpoint) => CheckpointFile.resume(fs, dir, checkpoint),
      create: (generation) => CheckpointFile.create(fs, dir, generation),
    };
  }

  async isLater(lane: LaneName, partitions: number): Promise<boolean> {
    for (let partition = 0; partition < partitions; partition++) {
      if (partition === lane.partition) continue;
      if ((await generationsIn(this.#fs, this.#dirOf({ ...lane, partition }), SUFFIX)).length > 0) return true;
    }
    return false;
  }

  #dirOf({ lane, stream, partition }: LaneName): string {
    return join(this.#dir, stream, String(partition), encodeURIComponent(lane));
  }
}

class CheckpointFile implements CheckpointWriter {
  readonly generation: number;
  readonly #fs: LogFs;
  readonly #dir: string;
  readonly #file: LogFile;
  #named: boolean;
  #end: number;
  /** End of the last commit. */
  #durable: number;
  #tail: Promise<void> = Promise.resolve();

  private constructor(fs: LogFs, dir: string, generation: number, file: LogFile, end: number | undefined) {
    this.#fs = fs;
    this.#dir = dir;
    this.generation = generation;
    this.#file = file;
    this.#named = end !== undefined;
    this.#end = end ?? 0;
    this.#durable = this.#end;
  }

  /** Begins a file, which replaces those before it with its first commit. */
  static async create(fs: LogFs, dir: string, generation: number): Promise<CheckpointFile> {
    await fs.makeDir(dir);
    const path = join(dir, `${fileName(generation)}${BUILDING}`);
    await fs.remove(path);
    return new CheckpointFile(fs, dir, generation, await fs.open(path, "create"), undefined);
  }

  /** Goes on behind what was read of it, which is made durable: the process before may have died between writing it and saying so to the disk. */
  static async resume(fs: LogFs, dir: string, { generation, end }: ReadCheckpoint): Promise<CheckpointFile> {
    const file = await fs.open(join(dir, fileName(generation)), "write");
    try {
      await file.truncate(end);
      await file.datasync();
      await fs.syncDir(dir);
    } catch (error) {
      await file.close();
      throw error;
    }
    return new CheckpointFile(fs, dir, generation, file, end);
  }

  /** A file takes changes for as long as they do not outgrow the state. */
  readonly worn = false;

  get bytes(): number {
    return this.#end;
  }

  entries(take: number, block: Uint8Array): Promise<void> {
    return this.#append(ENTRIES, take, block, false).then(() => undefined);
  }

  async commit(commit: Commit): Promise<void> {
    const end = await this.#append(COMMIT, 0, Buffer.from(JSON.stringify(commit)), true);
    if (!this.#named) await this.#name();
    this.#durable = end;
  }

  read(commit: Commit, take: TakeBlock): Promise<void> {
    return readEntryBlocks(this.#fs, this.#dir, { generation: this.generation, end: this.#durable, commit }, take);
  }

  async recover(): Promise<void> {
    await this.#tail.catch(() => undefined); // that is why this is called
    await this.#file.truncate(this.#durable);
    this.#end = this.#durable;
    this.#tail = Promise.resolve();
  }

  async #name(): Promise<void> {
    const path = join(this.#dir, fileName(this.generation));
    await this.#fs.rename(`${path}${BUILDING}`, path);
    await this.#fs.syncDir(this.#dir);
    // The lane's folders are as new as its first file.
    let folder = this.#dir;
    for (let level = 0; this.generation === 1 && level < FOLDERS; level++) {
      folder = dirname(folder);
      await this.#fs.syncDir(folder);
    }
    this.#named = true;
    for (const generation of await generationsIn(this.#fs, this.#dir, SUFFIX))
      if (generation < this.generation) await this.#fs.remove(join(this.#dir, fileName(generation)));
  }

  async close(): Promise<void> {
    await this.#tail.catch(() => undefined); // whoever wrote was told
    await this.#file.close();
  }

  #append(kind: number, take: number, body: Uint8Array, sync: boolean): Promise<number> {
    const at = this.#end;
    const header = recordHeader(kind, take, body);
    const end = at + header.length + body.length;
    this.#end = end;
    const written = this.#tail.then(async () => {
      await this.#file.write([header, body], at);
      if (sync) await this.#file.datasync();
    });
    this.#tail = written;
    written.catch(() => undefined); // told to the caller, and to all who write later
    return written.then(() => end);
  }
}

/** Looks through a lane's folder. */
async function findCheckpoint(fs: LogFs, dir: string): Promise<FoundCheckpoint> {
  for (const generation of await generationsIn(fs, dir, BUILDING))
    await fs.remove(join(dir, `${fileName(generation)}${BUILDING}`));
  const generations = await generationsIn(fs, dir, SUFFIX);
  const newest = generations.at(-1);
  return newest === undefined ? { kind: "none" } : readFile(fs, dir, newest);
}

async function readEntryBlocks(
  fs: LogFs,
  dir: string,
  { generation, end, commit }: Pick<ReadCheckpoint, "generation" | "end" | "commit">,
  take: TakeBlock,
): Promise<void> {
  const without = new Set(commit.takes.without);
  await withFile(fs, join(dir, fileName(generation)), async (file) => {
    const reader = new RecordReader(file, end);
    for (let record = await reader.next(); record; record = await reader.next())
      if (record.kind === ENTRIES && record.take <= commit.takes.to && !without.has(record.take))
        await take(new Uint8Array(record.body));
  });
}

async function readFile(fs: LogFs, dir: string, generation: number): Promise<FoundCheckpoint> {
  const path = join(dir, fileName(generation));
  const found = await withFile(fs, path, async (file): Promise<FoundCheckpoint> => {
    const { size } = await file.stat();
    const reader = new RecordReader(file, size);
    let last: { commit: Commit; end: number } | undefined;
    let lastTake = 0;
    for (let record = await reader.next(); record; record = await reader.next()) {
      lastTake = Math.max(lastTake, record.take);
      if (record.kind === COMMIT) last = { commit: jsonOf<Commit>(record), end: reader.at };
    }
    if (last) {
      const behind = await lastCommitBehind(file, reader.at, size);
      const checkpoint = { generation, ...last, lastTake, behind, path };
      return { kind: "whole", checkpoint };
    }
    const known = await lastCommitBehind(file, reader.at, size);
    return { kind: "damaged", generation, path, at: reader.at, known };
  });
  return found ?? { kind: "none" };
}

/** Reads records up to the first that is not whole. */
class RecordReader {
  /** End of the last whole record. */
  at = 0;
  readonly #file: LogFile;
  readonly #size: number;
  #buffer: Buffer = Buffer.alloc(0);
  #bufferAt = 0;

  constructor(file: LogFile, size: number) {
    this.#file = file;
    this.#size = size;
  }

  async next(): Promise<CheckpointRecord | undefined> {
    const header = await this.#bytes(this.at, HEADER_BYTES);
    const length = header && recordBytes(header);
    const whole = length === undefined ? undefined : await this.#bytes(this.at, length);
    const record = whole && readRecord(whole);
    if (record) this.at += whole.length;
    return record;
  }

  async #bytes(at: number, length: number): Promise<Buffer | undefined> {
    if (at + length > this.#size) return undefined;
    if (at < this.#bufferAt || at + length > this.#bufferAt + this.#buffer.length) {
      const buffer = Buffer.allocUnsafeSlow(Math.min(this.#size - at, Math.max(READ_BYTES, length)));
      const got = await this.#file.read(buffer, at);
      this.#buffer = buffer.subarray(0, got);
      this.#bufferAt = at;
      if (got < length) return undefined;
    }
    return this.#buffer.subarray(at - this.#bufferAt, at - this.#bufferAt + length);
  }
}

/** The last commit behind bytes that are no record. */
async function lastCommitBehind(file: LogFile, from: number, size: number): Promise<Commit | undefined> {
  let last: Commit | undefined;
  for (let at = from + 1; at < size; ) {
    const buffer = Buffer.alloc(Math.min(size - at, READ_BYTES));
    await file.read(buffer, at);
    const place = buffer.indexOf(MAGIC);
    if (place === -1) {
      at += Math.max(1, buffer.length - MAGIC.length + 1);
      continue;
    }
    const reader = new RecordReader(file, size);
    reader.at = at + place;
    for (let record = await reader.next(); record; record = await reader.next())
      if (record.kind === COMMIT) last = jsonOf<Commit>(record);
    at = Math.max(reader.at, at + place + 1);
  }
  return last;
}

function fileName(generation: number): string {
  return `${String(generation).padStart(10, "0")}${SUFFIX}`;
}

async function generationsIn(fs: LogFs, dir: string, ending: string): Promise<number[]> {
  const names = await fs.list(dir).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
  return names
    .filter((name) => name.endsWith(ending))
    .map((name) => Number.parseInt(name, 10))
    .sort((a, b) => a - b);
}
