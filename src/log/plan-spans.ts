/** Turns the batches of one group commit into the spans of the index and the chunks of one write. */
import { crc32 } from "node:zlib";
import type { Batch } from "./event-log.ts";
import type { SpanFacts } from "./span-index.ts";

/** Neighbours of one source share a span, which keeps the index small when many send single events. */
export function planSpans(batches: readonly Batch[], receivedAtMs: number): SpanFacts[] {
  const spans: SpanFacts[] = [];
  let open: { count: number; bytes: number; crc: number; receivedAtMs: number; source: string } | undefined;
  for (const { payload, count, source } of batches) {
    if (open && open.source === source && open.bytes + payload.length <= SPAN_BYTES) {
      open.count += count;
      open.bytes += payload.length;
      open.crc = crc32(payload, open.crc);
    } else {
      open = { count, bytes: payload.length, crc: crc32(payload), receivedAtMs, source };
      spans.push(open);
    }
  }
  return spans;
}

/** A reader that wants one event has its whole span read and verified: this bounds the price. */
const SPAN_BYTES = 256 * 1024;
