/**
 * Two signals that come closer together than this are one: a terminal sends Ctrl-C to every process of its group, and those
 * that started us (npm, the hand-over to our own Node) send it on.
 */
const SAME_SIGNAL_MS = 500;

/** npm runs us in a shell, and both die of a signal without passing it on: that our parent is another is all we see of it. */
const PARENT_LOOK_MS = 250;

export interface StopSignal {
  /** Aborted by the first SIGINT, SIGTERM or SIGHUP, or when the process that started us is gone. */
  readonly signal: AbortSignal;
  /** Listens no more. */
  end(): void;
}

/** Listens for the wish to stop. The first asks; a second one, after half a second or more, forces: `force` is called. */
export function listenForStop(force: () => void): StopSignal {
  const controller = new AbortController();
  let firstMs = Number.POSITIVE_INFINITY;
  const heard = () => {
    const nowMs = performance.now();
    if (!controller.signal.aborted) firstMs = nowMs;
    else if (nowMs - firstMs >= SAME_SIGNAL_MS) force();
    controller.abort();
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, heard);
  // The channel to bin/millrace.js, when it handed over to this process.
  process.on("disconnect", heard);
  process.channel?.unref();
  const parent = process.ppid;
  const look = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(look);
    heard();
  }, PARENT_LOOK_MS).unref();
  // Started any other way we may be meant to outlive who started us.
  if (process.env.npm_command === undefined) clearInterval(look);
  return {
    signal: controller.signal,
    end() {
      clearInterval(look);
      for (const signal of signals) process.off(signal, heard);
      process.off("disconnect", heard);
    },
  };
}
