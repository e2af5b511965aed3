import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { openFlow, temporaryFolder } from "./open-flow.ts";

const STREAMS = ["scans", "readings"] as const;

function event(stream: string, id: number, n: number): object {
  if (stream === "readings") return id === 0 ? { n } : { value: id / 8 - 0.5, n };
  const vehicle = [null, "a", 'b"\u0001', "ü", "0-3"][id % 5];
  return id === 0 ? { n } : { vehicle, at: id < 6 ? null : `2025-06-30T12:00:0${id % 2}.${id}Z`, n };
}

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ ids: fc.array(fc.nat(9), { minLength: 1, maxLength: 12 }), passMs: fc.nat(4000) }),
  },
  { weight: 3, arbitrary: fc.record({ ask: fc.nat(100), most: fc.integer({ min: 1, max: 4000 }) }) },
  { weight: 1, arbitrary: fc.constantFrom("flush", "query", "restart") },
);

test("what repeats an earlier event is known before it is stored, whenever and in whatever pieces it is asked", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...STREAMS),
      fc.array(step, { minLength: 5, maxLength: 30 }),
      async (stream, steps) => {
        await using dir = await temporaryFolder();
        let nowMs = Date.UTC(2025, 5, 30);
        const open = () => openFlow(dir.path, { project: "repeated", clock: () => nowMs });
        let flow = await open();
        const told = new Map<number, boolean>();
        const ask = async (from: number, most: number) => {
          const run = await flow.log.read(stream, 0, from, most);
          if (run === undefined) return from;
          const repeated = new Set(await flow.flow.repetitions(stream, 0, run));
          for (let offset = run.from; offset <= run.to; offset++) {
            assert.equal(
              told.get(offset) ?? repeated.has(offset),
              repeated.has(offset),
              `offset ${offset} was told otherwise`,
            );
            told.set(offset, repeated.has(offset));
          }
          return run.to + 1;
        };
        let n = 0;
        for (const one of steps) {
          if (typeof one === "string") {
            if (one === "flush") await flow.flow.flush([stream]);
            else if (one === "query") await (await flow.flow.resolve([{ name: stream }])).release();
            else {
              await flow.crash();
              flow = await open();
            }
          } else if ("ids" in one) {
            nowMs += one.passMs;
            await flow.append(
              stream,
              one.ids.map((id) => event(stream, id, n++)),
            );
          } else if (n > 0) await ask(one.ask % n, one.most);
        }
        for (let next = 0; n > 0 && next < n; ) next = await ask(next, 200);
        await flow.flow.flush([stream]);
        const rows = await flow.query(
          `select _offset, _duplicate_of is not null from bronze.${stream} order by _offset`,
          [`bronze.${stream}`],
        );
        assert.deepEqual(
          rows.map(([offset, repeated]) => [Number(offset), repeated]),
          [...told].sort((a, b) => a[0] - b[0]),
        );
        await flow.close();
      },
    ),
    { numRuns: 10, interruptAfterTimeLimit: 40_000 },
  );
});
