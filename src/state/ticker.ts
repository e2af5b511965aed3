/** Time that only goes forward, whatever anybody does to the clocks on the walls. */
export interface Ticker {
  /** Milliseconds since some moment. */
  now(): number;
  /** Calls once, after that time. Returns what cancels it. Nothing waits for it to end a process. */
  after(ms: number, call: () => void): () => void;
}

export const machineTicker: Ticker = {
  now: () => performance.now(),
  after(ms, call) {
    const timer = setTimeout(call, ms).unref();
    return () => clearTimeout(timer);
  },
};
