import assert from "node:assert/strict";
import type { Batch, EventLog } from "../../src/log/event-log.ts";

/** A batch of the given lines. */
export function batchOf(lines: readonly string[], source = "test"): Batch {
  return { payload: Buffer.from(lines.map((line) => `${line}\n`).join("")), count: lines.length, source };
}

/** Lines that differ in content and length, numbered from `first`. */
export function numbered(first: number, count: number, width = 0): string[] {
  return Array.from({ length: count }, (_, i) =>
    JSON.stringify({ n: first + i, pad: "x".repeat(width + ((first + i) % 7)) }),
  );
}

export interface ReadEvent {
  readonly offset: number;
  readonly line: string;
  readonly source: string;
  readonly receivedAtMs: number;
}

/** Reads a partition from `from` to its end and checks on the way that every run is what the port says. */
export async function readAll(
  log: EventLog,
  stream: string,
  { partition = 0, from = log.ends(stream, partition).start, maxBytes = 1 << 20 } = {},
): Promise<ReadEvent[]> {
  const events: ReadEvent[] = [];
  for (let next = from; ; ) {
    const run = await log.read(stream, partition, next, maxBytes);
    if (!run) {
      assert.equal(next, log.ends(stream, partition).end, "undefined says that the end is reached");
      return events;
    }
    assert.equal(run.from, next, "a run begins where it was asked to");
    const lines = Buffer.from(run.bytes).toString().split("\n");
    assert.equal(lines.pop(), "", "a run ends with a line break");
    assert.equal(lines.length, run.to - run.from + 1, "one line per offset");
    assert.ok(run.bytes.length <= maxBytes || lines.length === 1, "a run stays within maxBytes unless it is one event");
    let spanFrom = run.from;
    for (const span of run.spans) {
      assert.equal(span.from, spanFrom, "spans are consecutive");
      for (let offset = span.from; offset <= span.to; offset++) {
        events.push({
          offset,
          line: lines[offset - run.from] as string,
          source: span.source,
          receivedAtMs: span.receivedAtMs,
        });
      }
      spanFrom = span.to + 1;
    }
    assert.equal(spanFrom, run.to + 1, "spans cover the run");
    next = run.to + 1;
  }
}

export async function readLines(
  log: EventLog,
  stream: string,
  options: Parameters<typeof readAll>[2] = {},
): Promise<string[]> {
  return (await readAll(log, stream, options)).map(({ line }) => line);
}
