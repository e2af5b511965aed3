/** Looks through the logs of targets for what lanes have appended there. */
import { MillraceError } from "../errors.ts";
import type { EventLog, Span } from "../log/event-log.ts";
import { type DoneSet, NOTHING_DONE, union } from "./done-set.ts";
import { readMark } from "./emission-mark.ts";

export interface LogPlace {
  readonly stream: string;
  readonly partition: number;
  readonly from: number;
}

export interface FoundMarks {
  /** Of the highest epoch; `epoch` is -1 when there is none. */
  epoch: number;
  /** What the log holds by any of them. */
  done: DoneSet;
  /** `operator.offset` of events that were tried again. */
  readonly retried: Set<string>;
}

const READ_BYTES = 1024 * 1024;

/** The marks of lanes, by prefix, in a partition from an offset on. */
export async function findMarks(
  log: EventLog,
  place: LogPlace,
  prefixes: readonly string[],
): Promise<Map<string, FoundMarks>> {
  const found = new Map<string, FoundMarks>(
    prefixes.map((prefix) => [prefix, { epoch: -1, done: NOTHING_DONE, retried: new Set<string>() }]),
  );
  await eachSpan(log, place, ({ source }) => {
    if (!source.startsWith("react:")) return false;
    for (const [prefix, marks] of found) {
      const mark = readMark(prefix, source);
      if (mark?.kind === "retried") marks.retried.add(`${mark.operator}.${mark.offset}`);
      if (mark?.kind !== "done" || mark.epoch < marks.epoch) continue;
      marks.done = mark.epoch === marks.epoch ? union(marks.done, mark.done) : mark.done;
      marks.epoch = mark.epoch;
    }
    return false;
  });
  return found;
}

/** True when a batch of this source stands from an offset on. */
export async function findSource(log: EventLog, place: LogPlace, wanted: string): Promise<boolean> {
  return eachSpan(log, place, ({ source }) => source === wanted);
}

/** Gives every span up to the end, until `take` says true. */
async function eachSpan(
  log: EventLog,
  { stream, partition, from }: LogPlace,
  take: (span: Span) => boolean,
): Promise<boolean> {
  const { start, end } = log.ends(stream, partition);
  for (let at = Math.max(from, start); at < end; ) {
    try {
      const run = await log.read(stream, partition, at, READ_BYTES);
      if (!run) return false;
      if (run.spans.some(take)) return true;
      at = run.to + 1;
    } catch (error) {
      if (error instanceof MillraceError && error.code === "LOG_CORRUPT") {
        // The events are damaged, and their source is known all the same.
        const damaged = error.details as Span;
        if (take(damaged)) return true;
        at = damaged.to + 1;
      } else if (error instanceof MillraceError && error.code === "LOG_OFFSET_GONE")
        at = log.ends(stream, partition).start;
      else throw error;
    }
  }
  return false;
}
