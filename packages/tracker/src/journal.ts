/**
 * The queue on Node: one append-only file, written by one process.
 *
 *     <CRC-32 of the text, 8 hex digits> {"k":1,"i":"…","s":"clicks","e":"{…}","b":123}     an event
 *     <CRC-32 of the text, 8 hex digits> {"x":[1,2]}                                        those events are sent
 *
 * Events are fsynced before `add` resolves, all that wait in one write; what says that they are sent is not, for an event that is sent
 * again is the same event. On opening, a line cut off at the end is the write that a crash interrupted: nobody was told that it was
 * stored. A damaged line elsewhere is passed over and told to `onError`. The file is emptied when nothing waits, and written
 * anew (temporary file, fsync, rename, fsync of the folder) when most of it is sent.
 */
import { open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import { fitting, type QueuedEvent, type Store } from "./store.ts";

/** Smaller files are not worth writing anew. */
const COMPACT_BYTES = 4 * 1024 * 1024;

interface Waiting {
  readonly events: readonly QueuedEvent[];
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export async function openJournal(path: string, onError: (error: Error) => void): Promise<Store> {
  const { events, wholeBytes, lastKey } = await readJournal(path, onError);
  let file = await open(path, "a", 0o600);
  await file.truncate(wholeBytes);
  await syncFolder(dirname(path));
  let size = wholeBytes;
  let liveBytes = [...events.values()].reduce((sum, { b }) => sum + b, 0);
  let key = lastKey;
  let waiting: Waiting[] = [];
  let last: Promise<unknown> = Promise.resolve();

  /** One after the other, whatever became of the one before. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const done = last.then(work, work);
    last = done.catch(() => undefined);
    return done;
  };

  /** Half a line stands at the end, and must not stand in front of what comes next. */
  let torn = false;

  const append = async (lines: string, sync: boolean): Promise<void> => {
    if (torn) await file.truncate(size);
    torn = true;
    const bytes = Buffer.from(lines);
    try {
      for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
      if (sync) await file.datasync();
      size += bytes.length;
      torn = false;
    } catch (error) {
      await file.truncate(size);
      torn = false;
      throw error;
    }
  };

  const writeWaiting = async (): Promise<void> => {
    const group = waiting;
    waiting = [];
    if (group.length === 0) return;
    const all = group.flatMap((one) => one.events);
    for (const event of all) event.k = ++key;
    try {
      await append(all.map((event) => line(event)).join(""), true);
    } catch (error) {
      for (const { reject } of group) reject(error);
      return;
    }
    for (const event of all) {
      events.set(event.k as number, event);
      liveBytes += event.b;
    }
    for (const { resolve } of group) resolve();
  };

  const forget = async (gone: readonly QueuedEvent[]): Promise<void> => {
    const keys = gone.map(({ k }) => k as number).filter((k) => events.has(k));
    if (keys.length === 0) return;
    await append(line({ x: keys }), false);
    for (const k of keys) {
      liveBytes -= (events.get(k) as QueuedEvent).b;
      events.delete(k);
    }
    if (events.size === 0) await empty(false);
    else if (size > COMPACT_BYTES && liveBytes < size / 4) await compact();
  };

  const empty = async (sync: boolean): Promise<void> => {
    await file.truncate(0);
    size = 0;
    liveBytes = 0;
    if (sync) await file.datasync();
  };

  const compact = async (): Promise<void> => {
    const text = [...events.values()].map((event) => line(event)).join("");
    await rm(`${path}.new`, { force: true });
    const fresh = await open(`${path}.new`, "a", 0o600);
    try {
      await fresh.writeFile(text);
      await fresh.sync();
      await rename(`${path}.new`, path);
    } catch (error) {
      await fresh.close();
      throw error;
    }
    const old = file;
    file = fresh;
    size = Buffer.byteLength(text);
    await old.close();
    await syncFolder(dirname(path));
  };

  return {
    add: (added) =>
      new Promise((resolve, reject) => {
        waiting.push({ events: added, resolve, reject });
        // Whatever else comes until its turn goes with it.
        if (waiting.length === 1) inTurn(writeWaiting).catch(reject);
      }),
    async peek(count, bytes) {
      const oldest: QueuedEvent[] = [];
      let left = bytes;
      for (const event of events.values()) {
        oldest.push(event);
        left -= event.b + 1;
        if (oldest.length === count || left < 0) break;
      }
      return fitting(oldest, count, bytes);
    },
    remove: (gone) => inTurn(() => forget(gone)),
    size: async () => events.size,
    cut: (count, newest) =>
      inTurn(async () => {
        const gone = [...events.values()].splice(newest ? -count : 0, count);
        await forget(gone);
        return gone;
      }),
    clear: () =>
      inTurn(async () => {
        events.clear();
        await empty(true);
      }),
    close: () => inTurn(() => file.close()),
  };
}

/** The events that wait in a file, in their order, and how much of it is whole. A file that is not there is an empty one. */
export async function readJournal(
  path: string,
  onError: (error: Error) => void,
): Promise<{ events: Map<number, QueuedEvent>; wholeBytes: number; lastKey: number }> {
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return Buffer.alloc(0);
    throw error;
  });
  const events = new Map<number, QueuedEvent>();
  let wholeBytes = 0;
  let lastKey = 0;
  const damaged: number[] = [];
  for (let at = 0; at < bytes.length; ) {
    const feed = bytes.indexOf(0x0a, at);
    if (feed < 0) break;
    const entry = parse(bytes.subarray(at, feed));
    if (entry === undefined) damaged.push(at);
    else {
      wholeBytes = feed + 1;
      if ("x" in entry) for (const k of entry.x) events.delete(k);
      else {
        events.set(entry.k, entry);
        lastKey = entry.k;
      }
    }
    at = feed + 1;
  }
  // Behind the last whole line there is only what a crash left.
  const lost = damaged.filter((at) => at < wholeBytes);
  if (lost.length > 0) {
    onError(new Error(`${path} has ${lost.length} damaged lines, the first at byte ${lost[0]}: passed over`));
  }
  return { events, wholeBytes, lastKey };
}

type Entry = (QueuedEvent & { k: number }) | { readonly x: readonly number[] };

function line(entry: object): string {
  const text = JSON.stringify(entry);
  return `${crc32(text).toString(16).padStart(8, "0")} ${text}\n`;
}

function parse(bytes: Buffer): Entry | undefined {
  const text = bytes.subarray(9);
  if (bytes.length < 10 || bytes.toString("latin1", 0, 8) !== crc32(text).toString(16).padStart(8, "0"))
    return undefined;
  return JSON.parse(text.toString()) as Entry;
}

export async function syncFolder(path: string): Promise<void> {
  // Windows has no way to sync a folder, and its file system keeps names by itself.
  if (process.platform === "win32") return;
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
