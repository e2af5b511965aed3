import type { Dirent } from "node:fs";
import { link, mkdir, open, readdir, readFile, rename, stat, unlink } from "node:fs/promises";
import { crc32 } from "node:zlib";

/**
 * What the local store asks of a disk, small enough that a disk which fails at any one of these steps can stand in for it.
 * All paths are absolute. Errors are those of the operating system, told apart by `code`.
 */
export interface FileSystem {
  /** Creates a file that must not exist yet; when this resolves its bytes are on disk (fsync). */
  writeNew(path: string, bytes: Uint8Array): Promise<void>;
  /** Makes a file that was written by somebody else durable. */
  syncFile(path: string): Promise<void>;
  /** Makes names that were added to, or removed from, a directory durable. */
  syncDirectory(path: string): Promise<void>;
  readFile(path: string): Promise<Uint8Array>;
  /** CRC-32 of a file's bytes, read piece by piece. */
  checksum(path: string): Promise<number>;
  readDirectory(path: string): Promise<Dirent[]>;
  stat(path: string): Promise<FileFacts>;
  rename(from: string, to: string): Promise<void>;
  /** Gives a file a second name; fails with EEXIST when the name is taken. */
  link(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Creates a directory and its parents where they are missing. */
  makeDirectory(path: string): Promise<void>;
}

export interface FileFacts {
  readonly sizeBytes: number;
  readonly modifiedAtMs: number;
  readonly isFile: boolean;
}

/** A quarter of a millisecond's work: whoever waits for the process hardly notices. */
const CHECKSUM_PIECE = 512 * 1024;

export const nodeFileSystem: FileSystem = {
  async writeNew(path, bytes) {
    const file = await open(path, "wx");
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
  },
  syncFile: sync,
  syncDirectory: sync,
  readFile: (path) => readFile(path),
  async checksum(path) {
    const file = await open(path, "r");
    try {
      const piece = Buffer.allocUnsafe(CHECKSUM_PIECE);
      let sum = 0;
      for (;;) {
        const { bytesRead } = await file.read(piece, 0, piece.length);
        if (bytesRead === 0) return sum;
        sum = crc32(piece.subarray(0, bytesRead), sum);
      }
    } finally {
      await file.close();
    }
  },
  readDirectory: (path) => readdir(path, { withFileTypes: true }),
  async stat(path) {
    const facts = await stat(path);
    return { sizeBytes: facts.size, modifiedAtMs: Math.trunc(facts.mtimeMs), isFile: facts.isFile() };
  },
  rename,
  link,
  unlink,
  async makeDirectory(path) {
    await mkdir(path, { recursive: true });
  },
};

async function sync(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
