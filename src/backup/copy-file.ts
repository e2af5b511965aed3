import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";

/** A file that is being written. */
export interface NewFile {
  write(bytes: Uint8Array): Promise<void>;
  /** Makes the content durable. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** Makes a file that is not there yet, for its owner only; the disk a backup or a restore is written to. */
export type CreateFile = (path: string) => Promise<NewFile>;

export interface Copied {
  readonly bytes: number;
  readonly sha256: string;
}

/** Small enough that hashing one, about a fifth of a millisecond, holds up no request. */
const PIECE_BYTES = 256 * 1024;

export const createFile: CreateFile = async (path) => {
  const file = await open(path, "wx", 0o600);
  return {
    write: async (bytes) => {
      for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
    },
    sync: () => file.sync(),
    close: () => file.close(),
  };
};

/** Copies the first `bytes` bytes of a file, durably. The copy is shorter only where the file is. */
export async function copyFile(
  from: string,
  to: string,
  bytes: number,
  { create, signal }: { create: CreateFile; signal: AbortSignal | undefined },
): Promise<Copied> {
  return writeFile(to, create, (write) => read(from, bytes, signal, write));
}

/** Makes a file of what `produce` writes, durably. */
export async function writeFile(
  to: string,
  create: CreateFile,
  produce: (write: (bytes: Uint8Array) => Promise<void>) => Promise<void>,
): Promise<Copied> {
  const file = await create(to);
  const hash = createHash("sha256");
  let length = 0;
  try {
    await produce(async (piece) => {
      hash.update(piece);
      length += piece.length;
      await file.write(piece);
    });
    await file.sync();
  } finally {
    await file.close();
  }
  return outcome(hash, length);
}

/** What the first `bytes` bytes of a file are, read from it. */
export async function readBack(path: string, bytes = Number.POSITIVE_INFINITY, signal?: AbortSignal): Promise<Copied> {
  const hash = createHash("sha256");
  let length = 0;
  await read(path, bytes, signal, async (piece) => {
    hash.update(piece);
    length += piece.length;
  });
  return outcome(hash, length);
}

export async function syncFolder(path: string): Promise<void> {
  await using(path, (folder) => folder.sync());
}

async function read(
  path: string,
  bytes: number,
  signal: AbortSignal | undefined,
  take: (piece: Uint8Array) => Promise<void>,
): Promise<void> {
  await using(path, async (file) => {
    const buffer = Buffer.allocUnsafe(PIECE_BYTES);
    for (let at = 0; at < bytes; ) {
      signal?.throwIfAborted();
      const { bytesRead } = await file.read(buffer, 0, Math.min(PIECE_BYTES, bytes - at), at);
      if (bytesRead === 0) break;
      at += bytesRead;
      await take(buffer.subarray(0, bytesRead));
    }
  });
}

async function using(path: string, work: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, "r");
  try {
    await work(file);
  } finally {
    await file.close();
  }
}

function outcome(hash: Hash, bytes: number): Copied {
  return { bytes, sha256: hash.digest("hex") };
}
