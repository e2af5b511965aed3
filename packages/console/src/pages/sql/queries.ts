/**
 * What the platform computes for anybody whom this viewer may see. It is asked for while there is something to see and not otherwise: often while a
 * statement of this page runs, and with the pulse of the platform while that says that others do.
 */
import { useEffect, useSyncExternalStore } from "react";
import type { QueryView } from "../../../../../src/serve/running-queries.ts";
import { api } from "../../api.ts";
import { useLive } from "../../live.ts";

const EVERY_MS = 400;

class QueriesStore {
  #queries: readonly QueryView[] = [];
  /** The ids of statements of this page. */
  readonly #own = new Map<string, number>();
  readonly #listeners = new Set<() => void>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #asking = false;

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  queries = (): readonly QueryView[] => this.#queries;

  isOwn(id: string): boolean {
    return this.#own.has(id);
  }

  watch(id: string): () => void {
    this.#own.set(id, 1);
    this.#timer ??= setInterval(() => void this.ask(), EVERY_MS);
    return () => {
      this.#own.delete(id);
      if (this.#own.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    };
  }

  /** That it cannot be told says less than what already is: the statement itself gets the error. */
  async ask(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    try {
      this.#queries = await api.queries();
    } catch {
      this.#queries = [];
    } finally {
      this.#asking = false;
    }
    for (const listener of this.#listeners) listener();
  }
}

const store = new QueriesStore();

/** The query of that id as the platform sees it; undefined while it has not said so. */
export function useQuery(id: string | undefined): QueryView | undefined {
  const queries = useSyncExternalStore(store.subscribe, store.queries);
  useEffect(() => (id === undefined ? undefined : store.watch(id)), [id]);
  return queries.find((one) => one.id === id);
}

/** Queries of other pages and other clients that have run for a second. */
export function useOthers(): { others: readonly QueryView[]; reload: () => void } {
  const live = useLive();
  const queries = useSyncExternalStore(store.subscribe, store.queries);
  const beat = live.kind === "live" ? live.beat : undefined;
  const atMs = beat?.atMs;
  const some = (beat?.queries ?? 0) > 0 || queries.length > 0;
  // biome-ignore lint/correctness/useExhaustiveDependencies: once with every pulse
  useEffect(() => {
    if (some && document.visibilityState === "visible") void store.ask();
  }, [atMs, some]);
  const others = queries.filter(({ id, elapsedMs }) => elapsedMs >= 1_000 && !store.isOwn(id));
  return { others, reload: () => void store.ask() };
}
