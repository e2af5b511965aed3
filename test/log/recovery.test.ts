import assert from "node:assert/strict";
import { appendFile, cp, mkdir, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { type EmbeddedLogOptions, openEmbeddedLog } from "../../src/log/embedded-log.ts";
import type { EventLog } from "../../src/log/event-log.ts";
import type { LogFinding } from "../../src/log/recovery.ts";
import { batchOf, numbered, readAll } from "./batches.ts";
import { scratchFolder } from "./scratch-folder.ts";

const FIRST = "00000000000000000000";

describe("recovery of an unfinished write", () => {
  it("cuts to the last whole batch when the data ends anywhere within the last one", async (test) => {
    const log = await prepared(test, [3, 3, 3]);
    const [, , last] = log.batches;
    for (let size = last!.at; size < log.dataBytes; size++) {
      const { events, findings } = await log.reopened(async (folder) =>
        truncate(join(folder, `${FIRST}.ndjson`), size),
      );
      assert.deepEqual(events, log.lines.slice(0, 6), `data of ${size} bytes`);
      assert.deepEqual(kinds(findings), ["cut"]);
    }
  });

  it("cuts to the last whole batch when the index ends anywhere within its last line", async (test) => {
    const log = await prepared(test, [3, 3, 3]);
    const [, , last] = log.batches;
    for (let size = last!.indexAt; size < log.indexBytes; size++) {
      const { events, findings } = await log.reopened(async (folder) =>
        truncate(join(folder, `${FIRST}.index.ndjson`), size),
      );
      // Without its line break the line still says everything.
      const whole = size === log.indexBytes - 1;
      assert.deepEqual(events, whole ? log.lines : log.lines.slice(0, 6), `index of ${size} bytes`);
      assert.deepEqual(kinds(findings), whole ? [] : ["cut"]);
    }
  });

  it("cuts what the disk never got: zeros in the data or in the index", async (test) => {
    const log = await prepared(test, [3, 3, 40]);
    const [, , last] = log.batches;
    for (const [file, from] of [
      [`${FIRST}.ndjson`, last!.at],
      [`${FIRST}.index.ndjson`, last!.indexAt],
    ] as const) {
      const { events, findings } = await log.reopened(async (folder) => {
        const bytes = await readFile(join(folder, file));
        await writeFile(join(folder, file), bytes.fill(0, from));
      });
      assert.deepEqual(events, log.lines.slice(0, 6), file);
      assert.deepEqual(kinds(findings), ["cut"]);
    }
  });

  it("cuts bytes behind the last batch that no index line speaks of", async (test) => {
    const log = await prepared(test, [3, 3]);
    for (const junk of ['{"n":99}\n', '{"n":9', "\n\n"]) {
      const { events, findings } = await log.reopened((folder) => appendFile(join(folder, `${FIRST}.ndjson`), junk));
      assert.deepEqual(events, log.lines);
      assert.deepEqual(
        findings.map(({ kind, from, bytes }) => [kind, from, bytes]),
        [["cut", 6, junk.length]],
      );
    }
  });

  it("takes up a segment that was begun and never written to", async (test) => {
    const log = await prepared(test, [3]);
    const { events, findings } = await log.reopened((folder) =>
      writeFile(join(folder, "00000000000000000003.ndjson"), ""),
    );
    assert.deepEqual(events, log.lines);
    assert.deepEqual(findings, []);
  });

  it("finishes a removal that was interrupted, and an index rewrite that was", async (test) => {
    const log = await prepared(test, [3, 3, 3], { segmentBytes: 1 });
    const { events, ends } = await log.reopened(async (folder) => {
      await rm(join(folder, `${FIRST}.ndjson`));
      await writeFile(join(folder, `${FIRST}.index.ndjson.tmp`), "half");
    });
    assert.deepEqual(ends, { start: 3, end: 9 });
    assert.deepEqual(events, log.lines.slice(3));
    assert.deepEqual(
      (await readdir(log.lastFolder())).filter((name) => name.startsWith(FIRST)),
      [],
    );
  });
});

describe("recovery from damage", () => {
  it("notices a flipped bit anywhere in the data, reports its range, and reads everything else", async (test) => {
    for (const segmentBytes of [1 << 20, 1]) {
      const log = await prepared(test, [3, 3, 3], { segmentBytes });
      for (let position = 0; position < log.dataBytes; position += 7) {
        const hit = log.batches.findLastIndex(({ at }) => at <= position) as number;
        const batch = log.batches[hit]!;
        const file = segmentBytes === 1 ? segmentName(batch.from) : FIRST;
        const { log: open } = await log.reopenedLog((folder) =>
          flip(join(folder, `${file}.ndjson`), segmentBytes === 1 ? position - batch.at : position, position % 8),
        );
        await assertOnlyLost(open, log.lines, batch.from, batch.from + 2);
        await open.close();
      }
    }
  });

  it("loses no event to a flipped bit anywhere in the index, and rebuilds the line", async (test) => {
    for (const segmentBytes of [1 << 20, 1]) {
      const log = await prepared(test, [3, 3, 3], { segmentBytes });
      // Every byte of the last line, which is the delicate one, and some of the others.
      const delicate = segmentBytes === 1 ? log.indexBytes - 3 : log.batches[2]!.indexAt;
      for (let position = 0; position < log.indexBytes; position += position < delicate ? 23 : 1) {
        const hit = log.batches.findLastIndex(({ indexAt }) => indexAt <= position) as number;
        const batch = log.batches[hit]!;
        const file = segmentBytes === 1 ? segmentName(batch.from) : FIRST;
        const damage = (folder: string): Promise<void> =>
          flip(
            join(folder, `${file}.index.ndjson`),
            segmentBytes === 1 ? position - batch.indexAt : position,
            position % 8,
          );
        const { events, sources, times, findings } = await log.reopened(damage);
        assert.deepEqual(events, log.lines, `bit ${position % 8} of index byte ${position}`);
        assert.deepEqual(
          times,
          times.toSorted((a, b) => a - b),
        );
        const rebuilt = findings.filter(({ kind }) => kind === "rebuilt");
        assert.equal(rebuilt.length, findings.length);
        const recovered = sources.filter((source) => source === "recovered").length;
        assert.equal(
          recovered,
          rebuilt.reduce((sum, { count }) => sum + count, 0),
        );
        assert.ok(recovered <= 6);
        // What was rebuilt was written down: nothing is left to be found.
        assert.deepEqual(await log.findingsOfNextOpen(), []);
      }
    }
  });

  it("rebuilds a lost index from the data", async (test) => {
    for (const segmentBytes of [1 << 20, 100]) {
      const log = await prepared(test, [3, 3, 3, 40, 3], { segmentBytes });
      const { events, sources, findings } = await log.reopened(async (folder) => {
        for (const name of await readdir(folder)) if (name.endsWith(".index.ndjson")) await rm(join(folder, name));
      });
      assert.deepEqual(events, log.lines);
      assert.ok(sources.every((source) => source === "recovered"));
      assert.ok(findings.length > 0 && findings.every(({ kind }) => kind === "rebuilt"));
      assert.deepEqual(await log.findingsOfNextOpen(), []);
    }
  });

  it("rebuilds a lost index of lines longer than what is read at once", async (test) => {
    const dir = await scratchFolder(test);
    const lines = [`{"a":"${"x".repeat(700_000)}"}`, ...numbered(0, 5000, 100), `{"b":"${"y".repeat(300_000)}"}`];
    const log = await openEmbeddedLog({ dir });
    await log.open("orders");
    await log.append("orders", 0, batchOf(lines));
    await log.close();
    await rm(join(dir, "orders", "0", `${FIRST}.index.ndjson`));
    const again = await openEmbeddedLog({ dir, report: () => undefined });
    await again.open("orders");
    assert.deepEqual(
      (await readAll(again, "orders")).map(({ line }) => line),
      lines,
    );
    await again.close();
  });

  it("keeps the offsets of acknowledged events whose data is gone, and appends behind them", async (test) => {
    const log = await prepared(test, [3, 3, 3]);
    const [, second] = log.batches;
    const { log: open } = await log.reopenedLog((folder) => truncate(join(folder, `${FIRST}.ndjson`), second!.at + 5));
    // The last group may not have been acknowledged; the one before it was.
    assert.deepEqual(open.ends("orders", 0), { start: 0, end: 6 });
    await assertOnlyLost(open, log.lines.slice(0, 6), 3, 5);
    assert.equal((await open.append("orders", 0, batchOf(["{}"]))).from, 6);
    assert.equal((await readAll(open, "orders", { from: 6 })).length, 1);
    await open.close();
  });

  it("keeps the offsets of a segment whose data file is gone", async (test) => {
    for (const gone of [3, 6]) {
      const log = await prepared(test, [3, 3, 3], { segmentBytes: 1 });
      const { log: open } = await log.reopenedLog((folder) => rm(join(folder, `${segmentName(gone)}.ndjson`)));
      assert.deepEqual(open.ends("orders", 0), { start: 0, end: 9 });
      await assertOnlyLost(open, log.lines, gone, gone + 2);
      assert.equal((await open.append("orders", 0, batchOf(["{}"]))).from, 9);
      await open.close();
    }
  });

  it("reports events that neither index nor data explain, and keeps the rest", async (test) => {
    const log = await prepared(test, [3, 3, 3]);
    const { log: open, findings } = await log.reopenedLog(async (folder) => {
      await flip(join(folder, `${FIRST}.index.ndjson`), log.batches[1]!.indexAt + 10, 0);
      const data = await readFile(join(folder, `${FIRST}.ndjson`));
      data[data.indexOf(10, log.batches[1]!.at)] = 32; // two events run into one line
      await writeFile(join(folder, `${FIRST}.ndjson`), data);
    });
    assert.deepEqual(kinds(findings), ["damaged"]);
    await assertOnlyLost(open, log.lines, 3, 5);
    await open.append("orders", 0, batchOf(["{}"]));
    await open.close();
  });
});

/** Every event can be read but those of the range, which are refused with exactly that range. */
async function assertOnlyLost(log: EventLog, lines: readonly string[], from: number, to: number): Promise<void> {
  const read: (string | undefined)[] = [];
  while (read.length < lines.length) {
    const run = await log.read("orders", 0, read.length, 1 << 20).catch((error) => {
      assert.equal(error.code, "LOG_CORRUPT");
      assert.deepEqual([error.details.from, error.details.to], [from, to]);
      assert.equal(read.length, from);
      assert.match(error.details.file, /\d{20}\.ndjson$/);
      return undefined;
    });
    if (run) read.push(...Buffer.from(run.bytes).toString().trimEnd().split("\n"));
    else read.push(...new Array<undefined>(to - from + 1).fill(undefined));
  }
  assert.deepEqual(
    read,
    lines.map((line, offset) => (offset >= from && offset <= to ? undefined : line)),
  );
}

interface Prepared {
  readonly lines: string[];
  /** Where each batch, which was a group commit of its own, begins. */
  readonly batches: { from: number; at: number; indexAt: number }[];
  readonly dataBytes: number;
  readonly indexBytes: number;
  /** Opens a copy with damage done to it. */
  reopenedLog(damage: (folder: string) => Promise<void>): Promise<{ log: EventLog; findings: LogFinding[] }>;
  /** The same, read to its end, written to, and closed. */
  reopened(damage: (folder: string) => Promise<void>): Promise<{
    events: string[];
    sources: string[];
    times: number[];
    ends: { start: number; end: number };
    findings: LogFinding[];
  }>;
  findingsOfNextOpen(): Promise<LogFinding[]>;
  lastFolder(): string;
}

async function prepared(
  test: TestContext,
  counts: number[],
  options: Partial<EmbeddedLogOptions> = {},
): Promise<Prepared> {
  const root = await scratchFolder(test);
  const original = join(root, "original");
  const log = await openEmbeddedLog({ dir: original, ...options });
  await log.open("orders");
  const lines: string[] = [];
  for (const count of counts) {
    const batch = numbered(lines.length, count, 15);
    lines.push(...batch);
    await log.append("orders", 0, batchOf(batch));
  }
  await log.close();
  const batches: Prepared["batches"] = [];
  let at = 0;
  let indexAt = 0;
  for (const name of (await readdir(join(original, "orders", "0")))
    .filter((name) => name.endsWith(".index.ndjson"))
    .sort()) {
    for (const line of (await readFile(join(original, "orders", "0", name), "utf8")).trimEnd().split("\n")) {
      const { from, bytes } = JSON.parse(line);
      batches.push({ from, at, indexAt });
      at += bytes;
      indexAt += line.length + 1;
    }
  }
  let copies = 0;
  let copy = original;
  const open = async (dir: string): Promise<{ log: EventLog; findings: LogFinding[] }> => {
    const findings: LogFinding[] = [];
    const log = await openEmbeddedLog({ dir, ...options, report: (finding) => findings.push(finding) });
    await log.open("orders");
    return { log, findings };
  };
  const reopenedLog: Prepared["reopenedLog"] = async (damage) => {
    if (copy !== original) await rm(copy, { recursive: true });
    copy = join(root, String(copies++));
    await mkdir(copy);
    await cp(original, copy, { recursive: true });
    await damage(join(copy, "orders", "0"));
    return open(copy);
  };
  return {
    lines,
    batches,
    dataBytes: at,
    indexBytes: indexAt,
    reopenedLog,
    reopened: async (damage) => {
      const { log, findings } = await reopenedLog(damage);
      const ends = log.ends("orders", 0);
      const events = await readAll(log, "orders");
      const { from } = await log.append("orders", 0, batchOf(['{"after":true}']));
      assert.equal(from, ends.end, "appends go on where the log ends");
      assert.deepEqual(
        (await readAll(log, "orders", { from })).map(({ line }) => line),
        ['{"after":true}'],
      );
      await log.close();
      return {
        events: events.map(({ line }) => line),
        sources: events.map(({ source }) => source),
        times: events.map(({ receivedAtMs }) => receivedAtMs),
        ends,
        findings,
      };
    },
    findingsOfNextOpen: async () => {
      const { log, findings } = await open(copy);
      const events = await readAll(log, "orders");
      assert.deepEqual(
        events.map(({ line }) => line),
        [...lines, '{"after":true}'],
      );
      await log.close();
      return findings;
    },
    lastFolder: () => join(copy, "orders", "0"),
  };
}

async function flip(file: string, position: number, bit: number): Promise<void> {
  const bytes = await readFile(file);
  bytes[position]! ^= 1 << bit;
  await writeFile(file, bytes);
}

function segmentName(first: number): string {
  return String(first).padStart(20, "0");
}

function kinds(findings: readonly LogFinding[]): string[] {
  return findings.map(({ kind }) => kind);
}
