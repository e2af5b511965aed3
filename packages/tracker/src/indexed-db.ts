/**
 * The queue in IndexedDB, shared by the tabs of an origin: database `millrace.{name}`, object store `q`, keys `k` counted up by
 * the browser, values `{k, i, s, e, b}` (store.ts). A commit is in the system's hands when it is reported, so it survives the end of the
 * tab and of the browser.
 */
import { fitting, type QueuedEvent, type Store } from "./store.ts";

/** @throws where the browser has, or lets the page have, no IndexedDB */
export async function indexedDbStore(name: string): Promise<Store> {
  let opened: Promise<IDBDatabase> | undefined;
  const open = (): Promise<IDBDatabase> => {
    opened ??= new Promise((resolve, reject) => {
      const request = indexedDB.open(name, 1);
      request.onupgradeneeded = () => request.result.createObjectStore("q", { keyPath: "k", autoIncrement: true });
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
      // All at once: a cursor costs the page a task per event.
      const { result } = await run("readonly", (queue) => queue.getAll(null, count));
      return fitting(result as QueuedEvent[], count, bytes);
    },
    remove: (events) =>
      run("readwrite", (queue) => {
        const keys = events.flatMap(({ k }) => (k ? [k as number] : []));
        const [first, last] = [Math.min(...keys), Math.max(...keys)];
        // Mostly they are neighbours.
        if (keys.length > 1 && last - first === keys.length - 1) queue.delete(IDBKeyRange.bound(first, last));
        else for (const key of keys) queue.delete(key);
      }),
    size: async () => (await run("readonly", (queue) => queue.count())).result,
    cut: (count, newest) =>
      run("readwrite", (queue) => {
        const events: QueuedEvent[] = [];
        const request = queue.openCursor(null, newest ? "prev" : "next");
        request.onsuccess = () => {
          const cursor = request.result;
          if (!cursor || events.length === count) return;
          events.push(cursor.value as QueuedEvent);
          cursor.delete();
          cursor.continue();
        };
        return events;
      }),
    clear: () => run("readwrite", (queue) => void queue.clear()),
  };
}
