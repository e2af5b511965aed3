/** Appends to a log as fast as it can and writes each acknowledgement to standard output, until it is killed. */
import { writeSync } from "node:fs";
import { openEmbeddedLog } from "../../src/log/embedded-log.ts";

const [dir = "", segmentBytes = "", seed = ""] = process.argv.slice(2);
const log = await openEmbeddedLog({ dir, segmentBytes: Number(segmentBytes) });
await log.open("s", { partitions: 2 });
writeSync(1, `ready ${log.ends("s", 0).end} ${log.ends("s", 1).end}\n`);

async function append(caller: number): Promise<void> {
  for (let i = 0; ; i++) {
    const partition = (caller + i) % 2;
    const lines = Array.from({ length: 1 + ((caller * 7 + i) % 20) }, (_, n) => `{"id":"${seed}-${caller}-${i}-${n}"}`);
    const payload = Buffer.from(lines.map((line) => `${line}\n`).join(""));
    const { from, to } = await log.append("s", partition, {
      payload,
      count: lines.length,
      source: `caller ${caller % 3}`,
    });
    writeSync(1, `${partition} ${from} ${to} ${caller} ${i}\n`);
  }
}
await Promise.all(Array.from({ length: 24 }, (_, caller) => append(caller)));
