import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { it } from "node:test";
import fc from "fast-check";
import type { MillraceError } from "../../src/errors.ts";
import { openEmbeddedLog } from "../../src/log/embedded-log.ts";
import { readAll } from "./batches.ts";
import { scratchFolder } from "./scratch-folder.ts";

const payload = fc.array(fc.json({ maxDepth: 1 }), { minLength: 1, maxLength: 6 });
const source = fc.oneof(fc.constantFrom("http", "sdk"), fc.string({ maxLength: 20, unit: "binary" }));
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      batches: fc.array(fc.tuple(payload, source), { minLength: 1, maxLength: 5 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("read" as const),
      from: fc.nat(),
      maxBytes: fc.integer({ min: 1, max: 400 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("reopen" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("release" as const), offset: fc.nat() }) },
);

it("behaves as a plain list under any history of appends, reads, releases and restarts", async (test) => {
  const root = await scratchFolder(test);
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 12 }),
      fc.integer({ min: 1, max: 300 }),
      async (steps, segmentBytes) => {
        const dir = `${root}/${runs++}`;
        const open = async () => {
          const log = await openEmbeddedLog({
            dir,
            segmentBytes,
            retentionMs: -1,
            report: (finding) => assert.fail(JSON.stringify(finding)),
          });
          await log.open("s");
          return log;
        };
        let log = await open();
        const model: { line: string; source: string; receivedAtMs: number }[] = [];
        let released = 0;
        for (const action of steps) {
          if (action.kind === "append") {
            const answers = await Promise.all(
              action.batches.map(([lines, source]) =>
                log.append("s", 0, {
                  payload: Buffer.from(lines.map((line) => `${line}\n`).join("")),
                  count: lines.length,
                  source,
                }),
              ),
            );
            for (const [i, [lines, source]] of action.batches.entries()) {
              const { from, to, receivedAtMs } = answers[i]!;
              assert.deepEqual([from, to], [model.length, model.length + lines.length - 1]);
              for (const line of lines) model.push({ line, source, receivedAtMs });
            }
          } else if (action.kind === "reopen") {
            await log.close();
            log = await open();
          } else if (action.kind === "release") {
            const offset = action.offset % (model.length + 1);
            await log.release("s", 0, offset);
            released = Math.max(released, offset);
            assert.ok(log.ends("s", 0).start <= released, "nothing that is still needed is removed");
          } else {
            const { start, end } = log.ends("s", 0);
            assert.equal(end, model.length);
            const from = start + (action.from % (end - start + 1));
            try {
              const events = await readAll(log, "s", { from, maxBytes: action.maxBytes });
              assert.deepEqual(
                events,
                model.slice(from).map((event, i) => ({ ...event, offset: from + i })),
              );
            } catch (error) {
              // What was released may go at any moment, in the middle of a read too; nothing else may.
              if ((error as MillraceError).code !== "LOG_OFFSET_GONE") throw error;
              const kept = log.ends("s", 0).start;
              assert.ok(from < kept && kept <= released, "only released events are gone");
            }
          }
        }
        await log.close();
        await rm(dir, { recursive: true });
      },
    ),
    { numRuns: 200, interruptAfterTimeLimit: 20_000, markInterruptAsFailure: true },
  );
});
