/** After a signal to stop, what is under way has this long to be answered. */
const STOP_WITHIN_MS = 3_000;

/**
 * `stop` aborts when the simulator should take no more: at SIGINT, at SIGTERM, and when the platform that started it has gone. `cut` aborts
 * some seconds later and ends what is still under way.
 */
export function stopping(): { readonly stop: AbortSignal; readonly cut: AbortSignal } {
  const stop = new AbortController();
  const cut = new AbortController();
  const finish = () => {
    stop.abort();
    setTimeout(() => cut.abort(), STOP_WITHIN_MS).unref();
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, finish);
  process.once("disconnect", finish);
  process.channel?.unref();
  return { stop: stop.signal, cut: cut.signal };
}
