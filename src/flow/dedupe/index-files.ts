import {
  closeSync,
  fstatSync,
  fsync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { promisify } from "node:util";

/**
 * The file operations of a duplicate index. Reads and writes are synchronous because the index has a thread of its own;
 * only waiting for the disk (`sync`) lets look-ups in between.
 */
export interface IndexFiles {
  makeDir(dir: string): void;
  /** Names of the files in a folder. */
  list(dir: string): string[];
  readWhole(path: string): Uint8Array;
  open(path: string, mode: "read" | "create"): number;
  size(fd: number): number;
  /** Fills `into` from `position` on; the number of bytes read is smaller only at the end of the file. */
  read(fd: number, into: Uint8Array, position: number): number;
  write(fd: number, bytes: Uint8Array, position: number): void;
  /** Resolves when everything written is on the disk. */
  sync(fd: number): Promise<void>;
  close(fd: number): void;
  /** Makes `text` the content of `path`, whole or not at all, durably: temporary file, fsync, rename, fsync of the folder. */
  replace(dir: string, name: string, text: string): void;
  /** Removing what is not there is no error. */
  remove(path: string): void;
}

const fsyncAsync = promisify(fsync);

export const DISK: IndexFiles = {
  makeDir: (dir) => void mkdirSync(dir, { recursive: true }),
  list: (dir) => readdirSync(dir),
  readWhole: (path) => readFileSync(path),
  open: (path, mode) => openSync(path, mode === "read" ? "r" : "w+"),
  size: (fd) => fstatSync(fd).size,
  read(fd, into, position) {
    let done = 0;
    while (done < into.byteLength) {
      const count = readSync(fd, into, done, into.byteLength - done, position + done);
      if (count === 0) break;
      done += count;
    }
    return done;
  },
  write(fd, bytes, position) {
    let done = 0;
    while (done < bytes.byteLength) done += writeSync(fd, bytes, done, bytes.byteLength - done, position + done);
  },
  sync: (fd) => fsyncAsync(fd),
  close: (fd) => closeSync(fd),
  replace(dir, name, text) {
    const temporary = `${dir}/${name}.tmp`;
    writeFileSync(temporary, text, { flush: true });
    renameSync(temporary, `${dir}/${name}`);
    const folder = openSync(dir, "r");
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  },
  remove: (path) => rmSync(path, { force: true }),
};
