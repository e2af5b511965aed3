/**
 * Who owns which queue file, so that processes that are given one folder do not share a file.
 *
 *     DIR/state.json                 ids, session and consent of this installation
 *     DIR/queue-<id>/events.log      the queue of one process (journal.ts)
 *     DIR/queue-<id>/alive           a socket that the process listens at
 *
 * An id is never used again, so a process that does not answer at its socket is dead for good: its queue is whoever's renames the folder
 * first. The name of a folder appears when its socket already listens, so a queue that nobody answers for is not a young one.
 */
import { randomUUID } from "node:crypto";
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openJournal, readJournal, syncFolder } from "./journal.ts";
import type { Store } from "./store.ts";

/** Opens a queue of this process alone and takes over what dead processes left in the folder. */
export async function openQueueFolder(dir: string, onError: (error: Error) => void): Promise<Store> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const id = randomUUID();
  const draft = join(dir, `.queue-${id}`);
  const folder = join(dir, `queue-${id}`);
  await mkdir(draft, { mode: 0o700 });
  const alive = await listen(draft);
  await rename(draft, folder);
  await syncFolder(dir);
  const store = await openJournal(join(folder, "events.log"), onError);
  for (const entry of await readdir(dir)) {
    const theirs = join(dir, entry);
    try {
      if (entry.startsWith(".queue-")) await removeDraft(theirs);
      else if (entry.startsWith("queue-") && theirs !== folder) await takeOver(theirs, folder, store, onError);
    } catch (error) {
      // What could not be taken over stays where it is, for the next process.
      onError(error as Error);
    }
  }
  return {
    ...store,
    async close() {
      const left = await store.size();
      await store.close?.();
      await new Promise((resolve) => alive.close(resolve));
      const entries = await readdir(folder);
      if (left === 0 && !entries.some(isTaken)) await rm(folder, { recursive: true, force: true });
    },
  };
}

const isTaken = (entry: string): boolean => entry.startsWith("taken-");

/** The queue of a dead process, unless another process was faster. A crash on the way leaves it inside our folder, for whoever takes that. */
async function takeOver(theirs: string, ours: string, store: Store, onError: (error: Error) => void): Promise<void> {
  if (await answers(theirs)) return;
  const taken = join(ours, `taken-${randomUUID()}`);
  try {
    await rename(theirs, taken);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  await adopt(taken, store, onError);
  for (const path of socketPaths(theirs)) await rm(path, { force: true });
}

/** Copies what waits, durably, and then removes it. A crash between the two makes copies, which their ids make one event again. */
async function adopt(folder: string, store: Store, onError: (error: Error) => void): Promise<void> {
  for (const entry of (await readdir(folder)).filter(isTaken)) await adopt(join(folder, entry), store, onError);
  const { events } = await readJournal(join(folder, "events.log"), onError);
  if (events.size > 0) await store.add([...events.values()].map((event) => ({ ...event })));
  await rm(folder, { recursive: true, force: true });
}

/** A draft becomes a queue within milliseconds, or its process died before it had one. */
async function removeDraft(draft: string): Promise<void> {
  const { mtimeMs } = await stat(draft);
  if (Date.now() - mtimeMs > 3_600_000) await rm(draft, { recursive: true, force: true });
}

/** A socket's path may have about 100 characters; folders may be deeper. */
const LONGEST_SOCKET_PATH = 100;

/** Where the process of a folder may listen. */
function socketPaths(folder: string): string[] {
  const name = `millrace-tracker-${folder.slice(folder.lastIndexOf("queue-") + "queue-".length)}`;
  if (process.platform === "win32") return [`\\\\.\\pipe\\${name}`];
  return [join(folder, "alive"), join(tmpdir(), name)].filter((path) => Buffer.byteLength(path) <= LONGEST_SOCKET_PATH);
}

async function listen(draft: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  const [path] = socketPaths(draft);
  if (path === undefined) throw new Error(`neither ${draft} nor ${tmpdir()} is short enough for a socket`);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
  // Being there is no reason to stay.
  server.unref();
  return server;
}

async function answers(folder: string): Promise<boolean> {
  for (const path of socketPaths(folder)) if (await answersAt(path)) return true;
  return false;
}

function answersAt(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    // Only these two say that nobody is there; a full backlog, for one, does not.
    socket.once("error", ({ code }: NodeJS.ErrnoException) => resolve(code !== "ECONNREFUSED" && code !== "ENOENT"));
  });
}
