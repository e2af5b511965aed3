/** The disk of the duplicate indexes, with named points and faults. Loaded by name on the thread of the indexes. */
import { writeFileSync } from "node:fs";
import { DISK, type IndexFiles } from "../src/flow/dedupe/index-files.ts";
import { endsAt, meet, pass } from "./faults.ts";

export const indexFiles: IndexFiles = {
  ...DISK,
  open(path, mode) {
    if (mode === "create") meet("index", "write", path);
    return DISK.open(path, mode);
  },
  write(fd, bytes, position) {
    pass("index run write: before");
    meet("index", "write", `run ${fd}`);
    if (endsAt("index run write: middle")) DISK.write(fd, bytes.subarray(0, bytes.byteLength >> 1), position);
    pass("index run write: middle");
    DISK.write(fd, bytes, position);
    pass("index run write: after");
  },
  async sync(fd) {
    pass("index run fsync: before");
    meet("index", "sync", `run ${fd}`);
    await DISK.sync(fd);
    pass("index run fsync: after");
  },
  replace(dir, name, text) {
    pass("index manifest replace: before");
    meet("index", "write", `${dir}/${name}`);
    if (endsAt("index manifest replace: middle")) writeFileSync(`${dir}/${name}.tmp`, text.slice(0, text.length >> 1));
    pass("index manifest replace: middle");
    DISK.replace(dir, name, text);
    pass("index manifest replace: after");
  },
  remove(path) {
    pass("index remove: before");
    meet("index", "write", path);
    DISK.remove(path);
    pass("index remove: after");
  },
};
