/** A file system whose faults a test decides. */
import { type LogFile, type LogFs, nodeFs } from "../../src/log/file-system.ts";

export interface Operation {
  readonly name: "open" | "write" | "datasync" | "truncate" | "syncDir" | "remove" | "rename" | "read";
  /** Name of the file without its folder. */
  readonly file: string;
}

/** Decides an operation's fate: undefined lets it pass; a write that fails may first write some of its bytes. */
export type Fate = (operation: Operation) => { code: string; writtenBytes?: number } | undefined;

export class FaultyFs implements LogFs {
  fate: Fate = () => undefined;
  readonly operations: Operation[] = [];

  list(dir: string): Promise<string[]> {
    return nodeFs.list(dir);
  }

  makeDir(dir: string): Promise<void> {
    return nodeFs.makeDir(dir);
  }

  async syncDir(dir: string): Promise<void> {
    this.meet("syncDir", dir);
    await nodeFs.syncDir(dir);
  }

  async open(path: string, mode: "read" | "write" | "create"): Promise<LogFile> {
    this.meet("open", path);
    return new FaultyFile(this, path, await nodeFs.open(path, mode));
  }

  async remove(path: string): Promise<void> {
    this.meet("remove", path);
    await nodeFs.remove(path);
  }

  async rename(from: string, to: string): Promise<void> {
    this.meet("rename", to);
    await nodeFs.rename(from, to);
  }

  meet(name: Operation["name"], path: string, partly?: (bytes: number) => Promise<void>): void | Promise<void> {
    const operation = { name, file: path.slice(path.lastIndexOf("/") + 1) };
    this.operations.push(operation);
    const fault = this.fate(operation);
    if (!fault) return;
    const error = Object.assign(new Error(`${fault.code}: injected, ${name} ${operation.file}`), { code: fault.code });
    if (!partly || !fault.writtenBytes) throw error;
    return partly(fault.writtenBytes).then(() => Promise.reject(error));
  }
}

class FaultyFile implements LogFile {
  readonly #fs: FaultyFs;
  readonly #path: string;
  readonly #file: LogFile;

  constructor(fs: FaultyFs, path: string, file: LogFile) {
    this.#fs = fs;
    this.#path = path;
    this.#file = file;
  }

  async write(chunks: readonly Uint8Array[], at: number): Promise<void> {
    await this.#fs.meet("write", this.#path, (bytes) =>
      this.#file.write([Buffer.concat(chunks).subarray(0, bytes)], at),
    );
    await this.#file.write(chunks, at);
  }

  async read(into: Uint8Array, at: number): Promise<number> {
    await this.#fs.meet("read", this.#path);
    return this.#file.read(into, at);
  }

  async datasync(): Promise<void> {
    await this.#fs.meet("datasync", this.#path);
    await this.#file.datasync();
  }

  async truncate(size: number): Promise<void> {
    await this.#fs.meet("truncate", this.#path);
    await this.#file.truncate(size);
  }

  stat(): Promise<{ size: number; modifiedMs: number }> {
    return this.#file.stat();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
