/** The events of a stream as they come in, the newest last; what comes while it is paused is counted, and read again afterwards. */
import { useCallback, useEffect, useRef, useState } from "react";

export interface TailEvent {
  /** `partition-offset`. */
  readonly id: string;
  readonly text: string;
  readonly atMs: number;
}

export type Filter = (text: string) => boolean;

const KEPT = 500;
/** The screen is drawn so often at most, however fast events come. */
const DRAW_MS = 150;

export function useTail(
  stream: string,
  paused: boolean,
  passes: Filter,
): { events: readonly TailEvent[]; seen: number; failed: boolean; clear: () => void } {
  const [shown, setShown] = useState<{ events: readonly TailEvent[]; seen: number; failed: boolean }>({
    events: [],
    seen: 0,
    failed: false,
  });
  const filter = useRef(passes);
  filter.current = passes;
  const held = useRef<{ events: TailEvent[]; seen: number }>({ events: [], seen: 0 });
  const clear = useCallback(() => {
    held.current = { events: [], seen: 0 };
    setShown({ events: [], seen: 0, failed: false });
  }, []);

  useEffect(() => {
    clear();
  }, [clear]);

  useEffect(() => {
    if (paused) return undefined;
    let failed = false;
    let drawn = -1;
    const source = new EventSource(`/v1/streams/${encodeURIComponent(stream)}/events`);
    source.addEventListener("message", (message: MessageEvent<string>) => {
      held.current.seen += 1;
      failed = false;
      if (!filter.current(message.data)) return;
      // With several partitions an id has the last of each.
      held.current.events.push({
        id: `${message.lastEventId}#${held.current.seen}`,
        text: message.data,
        atMs: Date.now(),
      });
      if (held.current.events.length > 2 * KEPT) held.current.events = held.current.events.slice(-KEPT);
    });
    source.addEventListener("error", () => {
      failed = true;
    });
    const timer = setInterval(() => {
      const { events, seen } = held.current;
      if (seen === drawn && !failed) return;
      drawn = seen;
      setShown({ events: events.slice(-KEPT), seen, failed });
    }, DRAW_MS);
    return () => {
      source.close();
      clearInterval(timer);
    };
  }, [stream, paused]);
  return { ...shown, clear };
}
