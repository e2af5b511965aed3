import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { on, z } from "millrace";
import { notes, readings, totals } from "./streams.ts";

/** The sum so far, of each sensor. */
export const summing = on(readings, { state: z.object({ sum: z.int() }), emits: [totals] }, ({ sensor, n }, ctx) => {
  const sum = (ctx.state.get()?.sum ?? 0) + n;
  ctx.state.set({ sum });
  ctx.emit(totals, { total_id: ctx.id, sensor, n, sum });
});

/** Waits a moment, so that events of many sensors are under way at once. */
export const noting = on(readings, { emits: [notes], concurrency: 16 }, async ({ sensor, n }, ctx) => {
  await sleep(n % 3);
  ctx.emit(notes, { sensor, n });
});

export const batching = on(
  readings,
  { batch: { size: 20 }, state: z.object({ last: z.int() }), retry: { attempts: 1 } },
  async (batch) => {
    for (const { event, state, emit, id } of batch) {
      if (event.mode === "bad batch") throw new Error("one of these is bad");
      const last = state.get()?.last ?? -1;
      state.set({ last: event.n });
      if (event.mode === "batched") emit(totals, { total_id: id, sensor: event.sensor, n: event.n, sum: last });
    }
  },
);

/** Does whatever an event asks for. */
export const failing = on(
  readings,
  { timeout: "500ms", retry: { attempts: 2, delay: "1ms" }, emits: [totals, notes] },
  ({ mode, sensor, n }, ctx) => {
    switch (mode) {
      case "throw":
        ctx.emit(notes, { sensor: "never", n });
        throw new Error("as it was asked to");
      case "throw while broken":
        if (existsSync(process.env["BROKEN_FILE"] ?? "")) throw new Error("still broken");
        ctx.emit(totals, { total_id: ctx.id, sensor: "mended", n, sum: n });
        return undefined;
      case "hang":
        return new Promise<void>(() => undefined);
      case "spin":
        for (;;);
      case "nonsense":
        return 17 as never;
      case "refused":
        ctx.emit("totals", { sensor, n, sum: "not a number" });
        return undefined;
      case "slow":
        return sleep(100);
      default:
        return undefined;
    }
  },
);
