import type { IndexFiles } from "../../../src/flow/dedupe/index-files.ts";

export interface MemoryFiles extends IndexFiles {
  /** Path -> content. What is in here is what a restart finds. */
  readonly content: Map<string, Buffer>;
  /** Files with bytes that were not synced yet. */
  readonly unsynced: Set<string>;
  /** Called before each operation that changes something or reads; throws to let it fail. */
  before: (operation: keyof IndexFiles, path: string) => void;
}

/** A disk in memory: quick, and its bytes can be looked at, damaged and put back. */
export function memoryFiles(content = new Map<string, Buffer>()): MemoryFiles {
  const open = new Map<number, string>();
  const unsynced = new Set<string>();
  let lastFd = 0;
  const pathOf = (fd: number) => {
    const path = open.get(fd);
    if (path === undefined) throw new Error(`EBADF: file ${fd} is not open`);
    return path;
  };
  const bytesOf = (path: string) => {
    const bytes = content.get(path);
    if (!bytes) throw diskError("ENOENT");
    return bytes;
  };
  const files: MemoryFiles = {
    content,
    unsynced,
    before: () => undefined,
    makeDir: () => undefined,
    list: (dir) =>
      [...content.keys()].filter((path) => path.startsWith(`${dir}/`)).map((path) => path.slice(dir.length + 1)),
    readWhole(path) {
      files.before("readWhole", path);
      return bytesOf(path);
    },
    open(path, mode) {
      files.before("open", path);
      if (mode === "create") content.set(path, Buffer.alloc(0));
      else bytesOf(path);
      open.set(++lastFd, path);
      return lastFd;
    },
    size: (fd) => bytesOf(pathOf(fd)).byteLength,
    read(fd, into, position) {
      files.before("read", pathOf(fd));
      return bytesOf(pathOf(fd)).copy(into, 0, position);
    },
    write(fd, bytes, position) {
      const path = pathOf(fd);
      files.before("write", path);
      const old = bytesOf(path);
      const grown = Buffer.alloc(Math.max(old.byteLength, position + bytes.byteLength));
      old.copy(grown);
      grown.set(bytes, position);
      content.set(path, grown);
      unsynced.add(path);
    },
    async sync(fd) {
      files.before("sync", pathOf(fd));
      unsynced.delete(pathOf(fd));
    },
    close(fd) {
      pathOf(fd);
      open.delete(fd);
    },
    replace(dir, name, text) {
      files.before("replace", `${dir}/${name}`);
      content.set(`${dir}/${name}`, Buffer.from(text));
    },
    remove(path) {
      files.before("remove", path);
      content.delete(path);
    },
  };
  return files;
}

export function diskError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: the test's disk`), { code });
}
