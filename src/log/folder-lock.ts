/**
 * Keeps a second process out of a data folder, without a lock that the system could forget to free.
 *
 *     DIR/lock/<generation>   {"pid":4711,"started":"881234","realm":"…","host":"…","released":false}
 *
 * The file of the highest generation is the lock. It is held while its owner runs: a starter that finds its owner gone
 * creates the next generation, which only one can (link fails when the name exists); the loser looks again and finds a live
 * owner. Generations never go back while a file is there, and a released lock stays as a file, so a slow starter cannot
 * take a newer lock for the stale one it has seen. An owner in another container or on another machine cannot be looked
 * up: it counts as running as long as it touches its file.
 */
import { randomUUID } from "node:crypto";
import { link, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { currentProcess, isRunning, type ProcessIdentity } from "./process-identity.ts";

export interface FolderLock {
  release(): Promise<void>;
}

/** Takes the lock, or says who holds it. */
export async function acquireFolderLock(
  dir: string,
  options: { heartbeatMs?: number } = {},
): Promise<FolderLock | ProcessIdentity> {
  const heartbeatMs = options.heartbeatMs ?? 1000;
  const lockDir = join(dir, "lock");
  await mkdir(lockDir, { recursive: true, mode: 0o700 });
  const me = await currentProcess();
  const temporary = join(lockDir, `${randomUUID()}.tmp`);
  await writeFile(temporary, encode({ ...me, released: false }), { mode: 0o600, flush: true });
  try {
    for (;;) {
      const latest = await latestGeneration(lockDir);
      const holder = latest > 0 ? await holderOf(lockDir, latest, me, heartbeatMs) : undefined;
      if (holder) return holder;
      const mine = latest + 1;
      const path = join(lockDir, String(mine));
      if (!(await linkIfAbsent(temporary, path))) continue;
      // A listing made while others came and went may have missed a newer generation; by now it shows.
      if ((await latestGeneration(lockDir)) > mine) {
        await rm(path, { force: true });
        continue;
      }
      await removeOlder(lockDir, mine);
      return hold(path, me, heartbeatMs);
    }
  } finally {
    await rm(temporary, { force: true });
  }
}

interface LockRecord extends ProcessIdentity {
  readonly released: boolean;
}

function hold(path: string, me: ProcessIdentity, heartbeatMs: number): FolderLock {
  // A missed touch only matters to a starter that cannot see this process, and the next one makes up for it.
  const heart = setInterval(() => utimes(path, new Date(), new Date()).catch(() => undefined), heartbeatMs);
  heart.unref();
  return {
    release: async () => {
      clearInterval(heart);
      const temporary = `${path}.${randomUUID()}.tmp`;
      await writeFile(temporary, encode({ ...me, released: true }), { mode: 0o600 });
      await rename(temporary, path);
    },
  };
}

/** Who holds a generation; undefined when nobody does any more. */
async function holderOf(
  lockDir: string,
  generation: number,
  me: ProcessIdentity,
  heartbeatMs: number,
): Promise<ProcessIdentity | undefined> {
  const path = join(lockDir, String(generation));
  const record = await readRecord(path);
  if (record === undefined || record.released) return undefined;
  if (record.realm === me.realm) return (await isRunning(record)) ? record : undefined;
  // Its process cannot be looked up from here: watch whether it touches the file.
  const before = await modifiedMs(path);
  const seenAgoMs = Date.now() - before;
  if (seenAgoMs > LONG_SILENT_BEATS * heartbeatMs) return undefined;
  await sleep(SILENT_BEATS * heartbeatMs);
  return (await modifiedMs(path)) === before ? undefined : record;
}

/** Undefined when the file is gone, or its content is (a power cut may leave it empty). */
async function readRecord(path: string): Promise<LockRecord | undefined> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

async function modifiedMs(path: string): Promise<number> {
  return (await stat(path)).mtimeMs;
}

async function latestGeneration(lockDir: string): Promise<number> {
  return Math.max(0, ...(await generations(lockDir)));
}

async function generations(lockDir: string): Promise<number[]> {
  return (await readdir(lockDir)).filter((name) => /^\d+$/.test(name)).map(Number);
}

async function removeOlder(lockDir: string, mine: number): Promise<void> {
  for (const generation of await generations(lockDir)) {
    if (generation < mine) await rm(join(lockDir, String(generation)), { force: true });
  }
}

async function linkIfAbsent(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

function encode(record: LockRecord): string {
  return `${JSON.stringify(record)}\n`;
}

/** Several beats, so that one that comes late does not cost the lock. */
const SILENT_BEATS = 5;
/** So long that a difference between two machines' clocks does not matter; a reboot takes about as long. */
const LONG_SILENT_BEATS = 30;
