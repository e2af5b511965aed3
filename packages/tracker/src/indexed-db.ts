/**
 * The queue in IndexedDB, shared by the tabs of an origin: database `millrace.{name}`, object store `q`, keys counted up by the
 * browser, values `{i, s, e, b}` (store.ts). A commit is in the system's hands when it is reported, so it survives the end of the
 * tab and of the browser.
 */
import { fitting, type QueuedEvent, type Store } from "./store.ts";

/** @throws where the browser has, or lets the page have, no IndexedDB */
export async function indexedDbStore(name: string): Promise<Store> {
  let opened: Promise<IDBDatabase> | undefined;
  const open = (): Promise<IDBDatabase> => {
    opened ??= new Promise((resolve, reject) => {
      const request = indexedDB.open(name, 1);
      request.onupgradeneeded = () => request.result.createObjectStore("q", { autoIncrement: true });
      request.onsuccess = () => {
        const database = request.result;
        // The user may delete the site's data at any time; what comes then begins a new database.
        database.onclose = database.onversionchange = () => {
          database.close();
          opened = undefined;
        };
        resolve(database);
      };
      request.onerror = () => reject(request.error);
    });
    return opened;
  };
  const run = async <T>(mode: IDBTransactionMode, work: (queue: IDBObjectStore) => T): Promise<T> => {
    const transaction = (await open()).transaction("q", mode);
    return new Promise((resolve, reject) => {
      const result = work(transaction.objectStore("q"));
      transaction.oncomplete = () => resolve(result);
      transaction.onabort = () => reject(transaction.error);
    });
  };
  /** From one end, until `take` has enough. */
  const walk = (
    mode: IDBTransactionMode,
    direction: IDBCursorDirection,
    take: (event: QueuedEvent, cursor: IDBCursor) => boolean,
  ): Promise<QueuedEvent[]> =>
    run(mode, (queue) => {
      const events: QueuedEvent[] = [];
      const request = queue.openCursor(null, direction);
      request.onsuccess = () => {
        const cursor = request.result;
        if (!cursor) return;
        const event = { ...(cursor.value as QueuedEvent), k: cursor.primaryKey as number };
        events.push(event);
        if (take(event, cursor)) cursor.continue();
      };
      return events;
    });
  await open();
  return {
    add: (events) =>
      run("readwrite", (queue) => {
        for (const event of events) {
          const request = queue.add(event);
          request.onsuccess = () => {
            event.k = request.result as number;
          };
        }
        // The page may go before the browser would commit by itself.
        queue.transaction.commit?.();
      }),
    async peek(count, bytes) {
      let left = bytes;
      const events = await walk("readonly", "next", ({ b }) => {
        left -= b + 1;
        return --count > 0 && left > 0;
      });
      return fitting(events, events.length, bytes);
    },
    remove: (events) =>
      run("readwrite", (queue) => {
        for (const { k } of events) if (k) queue.delete(k);
      }),
    size: async () => (await run("readonly", (queue) => queue.count())).result,
    cut: (count, newest) =>
      walk("readwrite", newest ? "prev" : "next", (_, cursor) => {
        (cursor as IDBCursorWithValue).delete();
        return --count > 0;
      }),
    clear: () => run("readwrite", (queue) => void queue.clear()),
  };
}
