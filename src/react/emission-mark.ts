/**
 * What a lane writes as the source of a batch that it appends to a target's log, so that the target's log itself says what of the lane it holds:
 *
 *     react:<lane>:<stream>:<partition>:<to>            all that the lane emits to this partition for offsets up to <to>
 *     react:<lane>:<stream>:<partition>:<to>~a.b        … but for those of offsets <to>-a and <to>-b, in base 36, which were not done yet
 *     react:<lane>:<stream>:<partition>:!<operator>.<offset>   what a dead-lettered event gave when it was tried again
 *     react:<lane>:<stream>:<partition>:-               previews, which no order counts
 *
 * A lane that began anew counts anew: `2@<to>` is of its second beginning after the first. The log keeps 200 characters of a source.
 *
 * A mark is true of the log before it: whoever writes one has read those of the owners before, or written all of it. So what any mark of a beginning says
 * holds, and together they say what is there, in whatever order batches of an owner and of the one after it came to the log.
 */
import { createHash } from "node:crypto";
import type { DoneSet } from "./done-set.ts";

const MOST_SOURCE = 200;
/** Leaves room for some twenty offsets that are not done. */
const MOST_PREFIX = 100;

export interface LaneName {
  readonly lane: string;
  readonly stream: string;
  readonly partition: number;
}

export type Mark =
  | { readonly kind: "done"; readonly epoch: number; readonly done: DoneSet }
  | { readonly kind: "retried"; readonly operator: string; readonly offset: number }
  | { readonly kind: "preview" };

/** What the sources of all batches of a lane begin with. */
export function markPrefix({ lane, stream, partition }: LaneName): string {
  const place = `:${stream}:${partition}:`;
  const whole = `react:${lane}${place}`;
  if (whole.length <= MOST_PREFIX) return whole;
  const digest = createHash("sha256").update(whole).digest("hex").slice(0, 16);
  return `react:${lane.slice(0, 60)}#${digest}:`;
}

/** The mark of all that is done, or of as much of it as one source can say. */
export function doneMark(prefix: string, epoch: number, { next, pending }: DoneSet): { source: string; done: DoneSet } {
  const head = epoch === 0 ? prefix : `${prefix}${epoch}@`;
  const room = MOST_SOURCE - head.length;
  for (let count = Math.min(pending.length, room); ; count--) {
    const cut = count === pending.length ? next : (pending[count] as number);
    const kept = pending.slice(0, count);
    const text = `${cut - 1}${kept.map((offset, i) => (i === 0 ? "~" : ".") + (cut - 1 - offset).toString(36)).join("")}`;
    if (text.length <= room) return { source: head + text, done: { next: cut, pending: kept } };
  }
}

export function retriedMark(prefix: string, operator: string, offset: number): string {
  return `${prefix}!${operatorDigest(operator)}.${offset}`;
}

export function previewMark(prefix: string): string {
  return `${prefix}-`;
}

/** What a source says of the lane of this prefix; undefined when it is another's. */
export function readMark(prefix: string, source: string): Mark | undefined {
  if (!source.startsWith(prefix)) return undefined;
  const text = source.slice(prefix.length);
  if (text === "-") return { kind: "preview" };
  const retried = /^!([0-9a-f]+)\.(\d+)$/.exec(text);
  if (retried) return { kind: "retried", operator: retried[1] as string, offset: Number(retried[2]) };
  const done = /^(?:(\d+)@)?(-?\d+)(?:~([0-9a-z.]+))?$/.exec(text);
  if (!done) return undefined;
  const to = Number(done[2]);
  const pending = done[3] === undefined ? [] : done[3].split(".").map((delta) => to - Number.parseInt(delta, 36));
  return { kind: "done", epoch: Number(done[1] ?? 0), done: { next: to + 1, pending } };
}

/** Short and of no characters that mean something in a mark. */
export function operatorDigest(operator: string): string {
  return createHash("sha256").update(operator).digest("hex").slice(0, 12);
}
