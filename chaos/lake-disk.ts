/** The lake's disk, with named points and faults. */
import { closeSync, fstatSync, ftruncateSync, openSync } from "node:fs";
import { type FileSystem, nodeFileSystem } from "../src/lake/file-system.ts";
import { shownAt } from "./clock.ts";
import { endsAt, losesUnsynced, meet, pass } from "./faults.ts";

/** What each temporary file will become, and whose folder is synced for it. */
const written = new Map<string, string>();
const linked = new Map<string, string>();

export const lakeDisk: FileSystem = {
  async writeNew(path, bytes) {
    const what = nature(bytes);
    written.set(path, what);
    pass(`lake ${what} write: before`);
    meet("lake", "write", path);
    if (endsAt(`lake ${what} write: middle`)) await nodeFileSystem.writeNew(path, bytes.subarray(0, bytes.length >> 1));
    pass(`lake ${what} write: middle`);
    await nodeFileSystem.writeNew(path, bytes);
    pass(`lake ${what} write: after`);
  },
  async syncFile(path) {
    // What the engine wrote and nobody synced need not be on the disk.
    pass("lake data file fsync: before", () => losesUnsynced && cutInHalf(path));
    meet("lake", "sync", path);
    await nodeFileSystem.syncFile(path);
    pass("lake data file fsync: after");
  },
  async syncDirectory(path) {
    meet("lake", "sync", path);
    await nodeFileSystem.syncDirectory(path);
    const what = linked.get(path);
    linked.delete(path);
    if (what !== undefined) pass(`lake ${what} fsync folder: after`);
  },
  readFile: (path) => nodeFileSystem.readFile(path),
  checksum: (path) => nodeFileSystem.checksum(path),
  readDirectory: (path) => nodeFileSystem.readDirectory(path),
  async stat(path) {
    const facts = await nodeFileSystem.stat(path);
    return { ...facts, modifiedAtMs: shownAt(facts.modifiedAtMs) };
  },
  async rename(from, to) {
    const what = written.get(from) ?? "other";
    written.delete(from);
    pass(`lake ${what} rename: before`);
    meet("lake", "write", to);
    await nodeFileSystem.rename(from, to);
    pass(`lake ${what} rename: after`);
  },
  async link(from, to) {
    const what = written.get(from) ?? "other";
    written.delete(from);
    pass(`lake ${what} link: before`);
    meet("lake", "write", to);
    await nodeFileSystem.link(from, to);
    linked.set(to.slice(0, to.lastIndexOf("/")), what);
    pass(`lake ${what} link: after`);
  },
  async unlink(path) {
    const what = path.includes("/.tmp/") ? undefined : path.includes("/_delta_log/") ? "log clean" : "vacuum";
    if (what) pass(`lake ${what} remove: before`);
    await nodeFileSystem.unlink(path);
    if (what) pass(`lake ${what} remove: after`);
  },
  async makeDirectory(path) {
    if (!path.includes("_delta_log") && !path.endsWith(".tmp")) pass("lake data file: named");
    meet("lake", "write", path);
    await nodeFileSystem.makeDirectory(path);
  },
};

/** What a file of the lake's log is, from its content. */
function nature(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.subarray(0, 4096)).toString("latin1");
  if (text.startsWith("PAR1")) return "checkpoint";
  const operation = /"commitInfo":\{[^}]*"operation":"(\w+)"/.exec(text)?.[1];
  return operation === undefined ? "checkpoint hint" : `commit ${operation}`;
}

function cutInHalf(path: string): void {
  const fd = openSync(path, "r+");
  ftruncateSync(fd, fstatSync(fd).size >> 1);
  closeSync(fd);
}
