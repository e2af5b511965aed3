/** What the commits of a lane say. */
import type { Commit, OperatorRecord, TargetRecord } from "./checkpoint-store.ts";
import { type DoneSet, isDone, lowest } from "./done-set.ts";
import type { LaneStart, OperatorStart } from "./lane-start.ts";
import type { TakenState } from "./messages.ts";

/** Operator -> offset -> why it is left out. */
export type LeftOut = ReadonlyMap<string, ReadonlyMap<number, { readonly code: string; readonly message: string }>>;

/** With which a lane's file begins. */
export function firstCommit(start: LaneStart, targets: readonly TargetRecord[]): Commit {
  return {
    ...{ format: 1, takes: { to: 0, without: [] }, done: start.done, nowMs: start.nowMs },
    ...{ begun: start.begun, epoch: start.epoch, counts: start.counts },
    targets: targets.map(({ stream, partition, from, former }) => ({ stream, partition, from, former })),
    operators: start.operators.map(({ plan, done, muted, leftOut, retried, versions }) => ({
      ...{ name: plan.name, stateHash: plan.stateHash, versions },
      ...(done && { done }),
      ...(muted && { muted }),
      ...(leftOut.length > 0 && { leftOut }),
      ...(retried.length > 0 && { retried }),
    })),
  };
}

/** The operators as of a state. */
export function operatorRecords(
  operators: readonly OperatorStart[],
  before: Commit,
  { done, versions }: TakenState,
  leftOut: LeftOut,
  retried: ReadonlyMap<string, readonly number[]>,
): OperatorRecord[] {
  return operators.map(({ plan: { name, stateHash }, muted }) => {
    const again = retried.get(name) ?? [];
    const record: OperatorRecord = {
      ...{ name, stateHash, versions: versions[name] ?? {} },
      ...stillAhead("done", before.operators.find((known) => known.name === name)?.done, done),
      ...stillAhead("muted", muted, done),
      ...(again.length > 0 && { retried: again }),
    };
    return withLeftOut(record, leftOut, done);
  });
}

/** The record with the events left out that are not done yet. */
export function withLeftOut(record: OperatorRecord, leftOut: LeftOut, done: DoneSet): OperatorRecord {
  const open = [...(leftOut.get(record.name) ?? [])].filter(([offset]) => !isDone(done, offset));
  const { leftOut: _, ...rest } = record;
  if (open.length === 0) return rest;
  return { ...rest, leftOut: open.map(([offset, { code, message }]) => [offset, code, message] as const) };
}

/** Those of `all` that `known` does not have. */
export function newTargets(known: readonly TargetRecord[], all: readonly TargetRecord[]): TargetRecord[] {
  const names = new Set(known.map(({ stream, partition }) => `${stream}/${partition}`));
  return all.filter(({ stream, partition }) => !names.has(`${stream}/${partition}`));
}

/** As long as the lane has not come that far. */
function stillAhead<K extends string>(key: K, of: DoneSet | undefined, lane: DoneSet): Partial<Record<K, DoneSet>> {
  return of && of.next > lowest(lane) ? ({ [key]: of } as Record<K, DoneSet>) : {};
}
