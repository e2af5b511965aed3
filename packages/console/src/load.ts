/** What a page asks the platform for, with its ways to be: on its way, there, or refused. */
import { useCallback, useEffect, useRef, useState } from "react";
import { useStamp } from "./live.ts";

export interface Loaded<T> {
  readonly value: T | undefined;
  readonly error: Error | undefined;
  readonly loading: boolean;
  /** Asks again and keeps what is shown until the answer comes. */
  readonly reload: () => void;
}

/**
 * Loads when `key` changes, and again when the platform says that something in `on` has changed (`stamps` of a pulse: `runs`, `alerts`,
 * `stream:NAME` …), while the page is looked at and at most once per `paceMs`. `everyMs` is for what is shown at a pace that somebody chose. What
 * comes late for a former key is dropped.
 */
export function useLoad<T>(
  key: string,
  load: (signal: AbortSignal) => Promise<T>,
  {
    on = NOTHING,
    paceMs = 1_000,
    everyMs,
  }: { on?: readonly string[]; paceMs?: number; everyMs?: number | undefined } = {},
): Loaded<T> {
  const [state, setState] = useState<{ key: string; value?: T; error?: Error; loading: boolean }>({
    key,
    loading: true,
  });
  const [turn, setTurn] = useState(0);
  const latest = useRef(load);
  latest.current = load;

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new turn is what asks again
  useEffect(() => {
    const controller = new AbortController();
    setState((before) => (before.key === key ? { ...before, loading: true } : { key, loading: true }));
    latest
      .current(controller.signal)
      .then((value) => setState({ key, value, loading: false }))
      .catch((error: unknown) => {
        if (controller.signal.aborted) return;
        const shown = error instanceof Error ? error : new Error(String(error));
        setState((before) => ({ ...before, key, error: shown, loading: false }));
      });
    return () => controller.abort();
  }, [key, turn]);

  const reload = useCallback(() => setTurn((before) => before + 1), []);
  useReloadOn(useStamp(on.length === 0 ? BACK : on), reload, paceMs);
  useEffect(() => {
    if (everyMs === undefined) return undefined;
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") reload();
    }, everyMs);
    return () => clearInterval(timer);
  }, [everyMs, reload]);

  const current = state.key === key ? state : { loading: true };
  return {
    value: (current as { value?: T }).value,
    error: (current as { error?: Error }).error,
    loading: current.loading,
    reload,
  };
}

const NOTHING: readonly string[] = [];
/** Nothing changes it but that the platform was away and is back. */
const BACK: readonly string[] = ["back"];

/** Calls `reload` after the stamp has become another one, once per pace, and not while nobody looks. */
function useReloadOn(stamp: string | undefined, reload: () => void, paceMs: number): void {
  // Undefined where the first pulse has not come yet: what was asked for before it may be older than what it tells of.
  const shown = useRef(stamp);
  const lastMs = useRef(Number.NEGATIVE_INFINITY);
  useEffect(() => {
    if (stamp === undefined || stamp === shown.current) return undefined;
    const go = () => {
      if (document.visibilityState !== "visible") return;
      shown.current = stamp;
      lastMs.current = performance.now();
      reload();
    };
    const timer = setTimeout(go, Math.max(0, lastMs.current + paceMs - performance.now()));
    document.addEventListener("visibilitychange", go);
    return () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", go);
    };
  }, [stamp, reload, paceMs]);
}
