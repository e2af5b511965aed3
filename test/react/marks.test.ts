import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type DoneSet, isDone, union } from "../../src/react/done-set.ts";
import { doneMark, markPrefix } from "../../src/react/emission-mark.ts";
import { findMarks } from "../../src/react/find-marks.ts";
import { MemoryLog } from "./memory-log.ts";

const PREFIX = markPrefix({ lane: "count", stream: "events", partition: 0 });
const EVENTS = 40;

/** Each owner goes on from what the log holds when it begins, and its last batch may come late, behind those of the owners after it. */
test("marks of several owners in any order say exactly which emissions the log holds", async () => {
  const owner = fc.record({
    steps: fc.array(fc.record({ by: fc.integer({ min: 1, max: 6 }), pending: fc.nat(3) }), { maxLength: 4 }),
    /** So many owners later its last batch comes. */
    late: fc.nat(3),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(owner, { minLength: 1, maxLength: 6 }), async (owners) => {
      const log = new MemoryLog();
      await log.open("results");
      const held = new Set<number>();
      const append = (offsets: readonly number[], source: string) => {
        for (const offset of offsets) held.add(offset);
        log.add("results", 0, [JSON.stringify({ offsets })], source);
      };
      const read = async () => {
        const found = await findMarks(log, { stream: "results", partition: 0, from: 0 }, [PREFIX]);
        return found.get(PREFIX)?.done as DoneSet;
      };
      const late: { at: number; come: () => void }[] = [];
      for (const [number, { steps, late: later }] of owners.entries()) {
        for (const one of late) if (one.at === number) one.come();
        let done = await read();
        for (const [step, { by, pending }] of steps.entries()) {
          const next = Math.min(EVENTS, done.next + by);
          const open = Array.from({ length: Math.min(pending, by) }, (_, i) => next - 1 - i).reverse();
          const covered = union(done, { next, pending: open });
          const { source, done: said } = doneMark(PREFIX, 0, covered);
          const before = done;
          const offsets = Array.from({ length: EVENTS }, (_, i) => i).filter(
            (i) => isDone(said, i) && !isDone(before, i),
          );
          done = said;
          if (step < steps.length - 1 || later === 0) append(offsets, source);
          else late.push({ at: number + later, come: () => append(offsets, source) });
        }
      }
      const done = await read();
      for (let offset = 0; offset < EVENTS; offset++)
        assert.equal(isDone(done, offset), held.has(offset), `event ${offset}`);
    }),
  );
});
