/**
 * What a source writes as the source of a batch that it appends, so that the log itself says which records of the topic it holds:
 *
 *     kafka:<topic>/<partition>@<from>-<to>            every record at the offsets from..to whose event belongs into this partition of the stream
 *     kafka:<topic>+<group>/<partition>@<from>-<to>    the same of a consumer group that the definition names
 *
 * Batches of one partition of the topic follow each other in the log, so of these marks the last one says how far it is. A dead letter names its record
 * as `kafka:<topic>/<partition>@<offset>`. The log keeps 200 characters of a source: names that are too long are cut, and told apart by a hash.
 */
import { createHash } from "node:crypto";

/** Leaves room for a partition and two offsets of 16 digits. */
const MOST_NAME = 150;

export interface SourceName {
  readonly topic: string;
  /** Undefined for the one the platform names itself. */
  readonly group: string | undefined;
}

/** What the sources of everything out of a partition of the topic begin with. */
export function markPrefix({ topic, group }: SourceName, partition: number): string {
  const name = group === undefined ? topic : `${topic}+${group}`;
  if (name.length <= MOST_NAME) return `kafka:${name}/${partition}@`;
  const digest = createHash("sha256").update(name).digest("hex").slice(0, 16);
  return `kafka:${name.slice(0, MOST_NAME - 17)}#${digest}/${partition}@`;
}

export function batchMark(prefix: string, from: number, to: number): string {
  return `${prefix}${from}-${to}`;
}

export function recordMark(prefix: string, offset: number): string {
  return `${prefix}${offset}`;
}

/** The last offset that a batch's mark names; undefined when it is no mark of this prefix. */
export function markedTo(prefix: string, source: string): number | undefined {
  if (!source.startsWith(prefix)) return undefined;
  const to = /^\d+-(\d+)$/.exec(source.slice(prefix.length))?.[1];
  return to === undefined ? undefined : Number(to);
}
