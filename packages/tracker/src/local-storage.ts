/**
 * The queue in localStorage, where there is no IndexedDB: one entry per event, `millrace.{name}.q.{time}-{count}-{id}`, so that tabs do not
 * overwrite each other and the order of the keys is that of the events.
 */
import { fitting, type QueuedEvent, type Store } from "./store.ts";

/** @throws where the browser refuses */
export function localStore(name: string): Store {
  const prefix = `${name}.q.`;
  let count = 0;
  const keys = (): string[] =>
    Object.keys(localStorage)
      .filter((key) => key.startsWith(prefix))
      .sort();
  const read = (some: string[]): QueuedEvent[] =>
    some.flatMap((k) => {
      // Another tab may have sent it meanwhile.
      const text = localStorage.getItem(k);
      return text ? [{ ...(JSON.parse(text) as QueuedEvent), k }] : [];
    });
  const padded = (n: number): string => n.toString(36).padStart(9, "0");
  keys();
  return {
    async add(events) {
      for (const event of events) {
        const key = `${prefix}${padded(Date.now())}-${padded(count++)}-${event.i}`;
        localStorage.setItem(key, JSON.stringify(event));
        event.k = key;
      }
    },
    peek: async (most, bytes) => fitting(read(keys().slice(0, most)), most, bytes),
    async remove(events) {
      for (const { k } of events) if (k) localStorage.removeItem(k as string);
    },
    size: async () => keys().length,
    async cut(most, newest) {
      const cut = keys().splice(newest ? -most : 0, most);
      const events = read(cut);
      for (const key of cut) localStorage.removeItem(key);
      return events;
    },
    async clear() {
      for (const key of keys()) localStorage.removeItem(key);
    },
  };
}
