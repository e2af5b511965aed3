import type { Batch } from "./event-log.ts";

/**
 * What makes a batch unfit for the log. That each line is one event is for the door to see to: looking for every line
 * break once more would cost a tenth of the ingest.
 */
export function flawOf({ payload, count, source }: Batch): string | undefined {
  if (!Number.isSafeInteger(count) || count < 1) return `count is ${count}, at least 1 is needed`;
  if (payload.length < count || payload.at(-1) !== 10) return "the payload does not end with a line break";
  if (source.length > 200) return `source has ${source.length} characters, at most 200 are kept`;
  return undefined;
}
