import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openEmbeddedLog } from "../../src/log/embedded-log.ts";
import { readAll } from "./batches.ts";
import { scratchFolder } from "./scratch-folder.ts";

const CALLERS = 24;

it("has every acknowledged event, in order and byte for byte, after kill -9 at any moment", async (test) => {
  const dir = await scratchFolder(test);
  const promised: Map<number, string>[] = [new Map(), new Map()];
  let ends = [0, 0];
  for (let round = 0; round < 5; round++) {
    const afterMs = 150 + Math.random() * 250;
    test.diagnostic(`round ${round}: killed ${afterMs} ms after it was ready`);
    const output = await runAndKill(dir, round, afterMs);
    const [ready, ...acknowledgements] = output;
    assert.match(ready ?? "", /^ready \d+ \d+$/);
    assert.ok(acknowledgements.length > CALLERS, "it was killed at work");
    for (const acknowledgement of acknowledgements) {
      const [partition, from, to, caller, i] = acknowledgement.split(" ").map(Number) as [
        number,
        number,
        number,
        number,
        number,
      ];
      assert.ok(from >= ends[partition]!, "no offset is given twice");
      for (let offset = from; offset <= to; offset++)
        promised[partition]!.set(offset, `{"id":"${round}-${caller}-${i}-${offset - from}"}`);
    }
    // The judge is another process than the one that was killed, as the next start would be.
    const log = await openEmbeddedLog({ dir, segmentBytes: 20_000, report: ({ kind }) => assert.equal(kind, "cut") });
    await log.open("s", { partitions: 2 });
    ends = [log.ends("s", 0).end, log.ends("s", 1).end];
    for (const partition of [0, 1]) {
      const events = await readAll(log, "s", { partition });
      assert.equal(events.length, ends[partition]);
      for (const [offset, line] of promised[partition]!) assert.equal(events[offset]?.line, line);
      assertWholeBatches(events.map(({ line }) => line));
    }
    await log.close();
  }
});

/** Batches that nobody heard of may be there, but never half of one. */
function assertWholeBatches(lines: readonly string[]): void {
  const seen = new Map<string, number>();
  for (const line of lines) {
    const [, batch, n] = /^\{"id":"(.+)-(\d+)"\}$/.exec(line) as unknown as [string, string, string];
    assert.equal(Number(n), seen.get(batch) ?? 0, "events of a batch stand in their order");
    seen.set(batch, Number(n) + 1);
  }
  for (const [batch, count] of seen) {
    const [, caller, i] = batch.split("-").map(Number) as [number, number, number];
    assert.equal(count, 1 + ((caller * 7 + i) % 20), `batch ${batch} is whole`);
  }
}

/** What the process wrote before it was killed, whole lines only. */
async function runAndKill(dir: string, round: number, afterMs: number): Promise<string[]> {
  const script = new URL("appending-process.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [script, dir, "20000", String(round)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const ended = once(child, "close");
  await Promise.race([once(child.stdout, "data"), ended]);
  await sleep(afterMs);
  child.kill("SIGKILL");
  const [, signal] = await ended;
  assert.equal(signal, "SIGKILL", "it ran until it was killed");
  return output.split("\n").slice(0, -1);
}
