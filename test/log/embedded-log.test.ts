import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { type EmbeddedLogOptions, openEmbeddedLog } from "../../src/log/embedded-log.ts";
import type { EventLog } from "../../src/log/event-log.ts";
import { batchOf, numbered, readAll, readLines } from "./batches.ts";
import { describeEventLog } from "./contract.ts";
import { scratchFolder } from "./scratch-folder.ts";

describeEventLog("embedded", (test) => {
  const dir = scratchFolder(test);
  return async () => openEmbeddedLog({ dir: await dir });
});

describeEventLog("embedded, with segments of one batch", (test) => {
  const dir = scratchFolder(test);
  return async () => openEmbeddedLog({ dir: await dir, segmentBytes: 1 });
});

describe("embedded log", () => {
  it("writes events as they came into plain NDJSON files named by their first offset", async (test) => {
    const { dir, log } = await opened(test, { segmentBytes: 100 });
    const lines = numbered(0, 12, 10);
    for (let i = 0; i < 12; i += 3) await log.append("orders", 0, batchOf(lines.slice(i, i + 3)));
    await log.close();
    const folder = join(dir, "orders", "0");
    const names = (await readdir(folder)).sort();
    assert.deepEqual(names, [
      "00000000000000000000.index.ndjson",
      "00000000000000000000.ndjson",
      "00000000000000000006.index.ndjson",
      "00000000000000000006.ndjson",
    ]);
    const data = await Promise.all(
      names.filter((name) => !name.includes("index")).map((name) => readFile(join(folder, name), "utf8")),
    );
    assert.equal(data.join(""), lines.map((line) => `${line}\n`).join(""));
    const index = await readFile(join(folder, names[2] as string), "utf8");
    const [line] = index.split("\n");
    assert.deepEqual(Object.keys(JSON.parse(line as string)), [
      "from",
      "count",
      "at",
      "bytes",
      "crc",
      "receivedAt",
      "source",
      "group",
      "check",
    ]);
  });

  it("never lets time run backwards, whatever the clock does and across a restart", async (test) => {
    let now = 5000;
    const { dir, log } = await opened(test, { clock: () => now });
    const times: number[] = [];
    for (const tick of [5000, 7000, 6000, 100, 8000]) {
      now = tick;
      times.push((await log.append("orders", 0, batchOf(["{}"]))).receivedAtMs);
    }
    await log.close();
    now = 10;
    const again = await openEmbeddedLog({ dir, clock: () => now });
    await again.open("orders");
    times.push((await again.append("orders", 0, batchOf(["{}"]))).receivedAtMs);
    assert.deepEqual(times, [5000, 7000, 7000, 7000, 8000, 8000]);
    assert.deepEqual(
      (await readAll(again, "orders")).map(({ receivedAtMs }) => receivedAtMs),
      times,
    );
    await again.close();
  });

  it("removes whole segments that are released and old enough, never the last one", async (test) => {
    let now = 1000;
    const { dir, log } = await opened(test, { segmentBytes: 1, retentionMs: 500, clock: () => now });
    for (let i = 0; i < 5; i++) {
      now = 1000 + i * 100;
      await log.append("orders", 0, batchOf(numbered(i * 2, 2)));
    }
    now = 1750; // the first three are older than 500 ms
    await log.release("orders", 0, 3);
    assert.deepEqual(log.ends("orders", 0), { start: 2, end: 10 }, "offset 3 is still needed, so its segment stays");
    await log.release("orders", 0, 10);
    assert.deepEqual(log.ends("orders", 0), { start: 6, end: 10 }, "younger segments stay");
    await log.release("orders", 0, 0);
    now = 10_000;
    await log.append("orders", 0, batchOf(numbered(10, 2)));
    await log.release("orders", 0, 0);
    assert.deepEqual(
      log.ends("orders", 0),
      { start: 10, end: 12 },
      "a new segment makes room, a lower release takes nothing back",
    );
    await log.release("orders", 0, 12);
    assert.deepEqual(log.ends("orders", 0), { start: 10, end: 12 });
    await assert.rejects(log.read("orders", 0, 9, 100), { code: "LOG_OFFSET_GONE" });
    assert.deepEqual(await readLines(log, "orders"), numbered(10, 2));
    await log.close();
    assert.deepEqual((await readdir(join(dir, "orders", "0"))).length, 2);
    const again = await openEmbeddedLog({ dir });
    await again.open("orders");
    assert.deepEqual(again.ends("orders", 0), { start: 10, end: 12 });
    await again.close();
  });

  it("reads on while segments are sealed, dropped from memory and removed", async (test) => {
    const { log } = await opened(test, { segmentBytes: 300, retentionMs: 0, clock: ticking() });
    const lines = numbered(0, 400, 10);
    let read = 0;
    const reader = (async () => {
      while (read < lines.length) {
        const run = await log.read("orders", 0, read, 200);
        if (run === undefined) {
          await log.wait("orders", 0, read, new AbortController().signal);
          continue;
        }
        assert.equal(
          Buffer.from(run.bytes).toString(),
          lines
            .slice(run.from, run.to + 1)
            .map((line) => `${line}\n`)
            .join(""),
        );
        read = run.to + 1;
        await log.release("orders", 0, read);
      }
    })();
    for (let i = 0; i < lines.length; i += 4) await log.append("orders", 0, batchOf(lines.slice(i, i + 4)));
    await reader;
    assert.ok(log.ends("orders", 0).start > 300, "most segments were removed on the way");
    await log.close();
  });

  it("merges neighbours of one source into one index line, and keeps sources apart", async (test) => {
    const { dir, log } = await opened(test);
    const sources = ["a", "a", "a", "b", "a"];
    await Promise.all(sources.map((source, i) => log.append("orders", 0, batchOf(numbered(i, 1), source))));
    await log.close();
    const index = await readFile(join(dir, "orders", "0", "00000000000000000000.index.ndjson"), "utf8");
    const spans = index
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      spans.map(({ source, count }) => [source, count]),
      [
        ["a", 3],
        ["b", 1],
        ["a", 1],
      ],
    );
  });

  it("opens a stream once, however often it is asked to at the same time", async (test) => {
    const log = await openEmbeddedLog({ dir: await scratchFolder(test) });
    await Promise.all([log.open("orders"), log.open("orders"), log.open("orders")]);
    await log.append("orders", 0, batchOf(["{}"]));
    await log.open("orders");
    assert.equal(log.ends("orders", 0).end, 1);
    await log.close();
  });
});

async function opened(
  test: TestContext,
  options: Partial<EmbeddedLogOptions> = {},
): Promise<{ dir: string; log: EventLog }> {
  const dir = await scratchFolder(test);
  const log = await openEmbeddedLog({ dir, ...options });
  await log.open("orders");
  return { dir, log };
}

function ticking(): () => number {
  let now = 1000;
  return () => ++now;
}
