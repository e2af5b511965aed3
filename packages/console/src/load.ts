/** What a page asks the platform for, with its ways to be: on its way, there, or refused. */
import { useCallback, useEffect, useRef, useState } from "react";

export interface Loaded<T> {
  readonly value: T | undefined;
  readonly error: Error | undefined;
  readonly loading: boolean;
  /** Asks again and keeps what is shown until the answer comes. */
  readonly reload: () => void;
}

/**
 * Loads when `key` changes, and again every `everyMs` while the page is looked at. What comes late for a former key is dropped.
 */
export function useLoad<T>(
  key: string,
  load: (signal: AbortSignal) => Promise<T>,
  { everyMs }: { everyMs?: number } = {},
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
