/** Time that goes by while one looks: one clock for the whole page, and nothing is drawn again unless its words change. */
import { useSyncExternalStore } from "react";
import { ago } from "./format.ts";
import { isHeld } from "./live.ts";

const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => {
    if (!isHeld()) for (const tell of listeners) tell();
  }, 1_000);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
}

/** `12 s ago`; an empty text for no moment. */
export function useAgo(atMs: number | null | undefined): string {
  return useSyncExternalStore(subscribe, () => (atMs === null || atMs === undefined ? "" : ago(atMs)));
}
