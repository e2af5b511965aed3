/**
 * Which events of a partition are done: all below `next` but for those in `pending`, ascending. Events of different keys may be done out of
 * their order, so one offset does not say it; few are ever pending.
 */
export interface DoneSet {
  readonly next: number;
  readonly pending: readonly number[];
}

export const NOTHING_DONE: DoneSet = { next: 0, pending: [] };

export function doneBelow(next: number): DoneSet {
  return { next, pending: [] };
}

export function isDone({ next, pending }: DoneSet, offset: number): boolean {
  return offset < next && (pending.length === 0 || !pending.includes(offset));
}

/** Every event below it is done. */
export function lowest({ next, pending }: DoneSet): number {
  return pending[0] ?? next;
}

/** What is done in one of them at least. */
export function union(a: DoneSet, b: DoneSet): DoneSet {
  const [low, high] = a.next < b.next ? [a, b] : [b, a];
  return { next: high.next, pending: high.pending.filter((offset) => !isDone(low, offset)) };
}
