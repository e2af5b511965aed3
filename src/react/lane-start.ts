/** Where a lane begins, and with what: from its checkpoint, the definitions as they are now, and what the log still has. */
import { MillraceError } from "../errors.ts";
import type { Ends } from "../log/event-log.ts";
import type { FoundCheckpoint, LaneCounts, OperatorRecord, ReadCheckpoint, TargetRecord } from "./checkpoint-store.ts";
import { type DoneSet, doneBelow, lowest } from "./done-set.ts";
import type { LaneName } from "./emission-mark.ts";
import type { OperatorPlan } from "./operator.ts";

export interface LaneStart {
  readonly done: DoneSet;
  readonly nowMs: number;
  readonly begun: number;
  readonly epoch: number;
  readonly operators: readonly OperatorStart[];
  readonly targets: readonly TargetRecord[];
  /** True: where it has emitted to is not known, so it may be anywhere. */
  readonly targetsLost: boolean;
  readonly counts: LaneCounts;
  /** True when the checkpoint's entries are taken over. */
  readonly keepsFile: boolean;
  /** What is worth a report. */
  readonly findings: readonly MillraceError[];
}

export interface OperatorStart {
  readonly plan: OperatorPlan;
  /** True when its state is taken over. */
  readonly restored: boolean;
  readonly done: DoneSet | undefined;
  readonly muted: DoneSet | undefined;
  readonly leftOut: NonNullable<OperatorRecord["leftOut"]>;
  readonly retried: readonly number[];
  readonly versions: Readonly<Record<string, string>>;
}

export interface StartQuestion {
  readonly lane: LaneName;
  readonly plans: readonly OperatorPlan[];
  readonly found: FoundCheckpoint;
  readonly ends: Ends;
  /** The partition is newer than the lane: all of its events are. */
  readonly fresh: boolean;
  /** Operators whose state cannot be read as it was written. */
  readonly incompatible: ReadonlySet<string>;
}

const NO_COUNTS: LaneCounts = { handled: 0, dead: 0, emitted: 0 };

export function laneStart(question: StartQuestion): LaneStart {
  const { found } = question;
  if (found.kind === "none") return newLane(question, 0);
  if (found.kind === "whole") return continued(question, found.checkpoint);
  return rebuilt(question, found);
}

function newLane({ plans, ends, fresh }: StartQuestion, epoch: number): LaneStart {
  const at = (plan: OperatorPlan) => (plan.from === "beginning" || fresh ? ends.start : ends.end);
  const begun = Math.min(...plans.map(at));
  return {
    ...{ done: doneBelow(begun), nowMs: 0, begun, epoch, targets: [], targetsLost: false, counts: NO_COUNTS },
    operators: plans.map((plan) => newOperator(plan, at(plan) > begun ? doneBelow(at(plan)) : undefined)),
    ...{ keepsFile: false, findings: [] },
  };
}

function newOperator(plan: OperatorPlan, done: DoneSet | undefined): OperatorStart {
  return { plan, restored: false, done, muted: undefined, leftOut: [], retried: [], versions: {} };
}

function continued(question: StartQuestion, { commit, behind, path, end }: ReadCheckpoint): LaneStart {
  const { lane, plans, ends, incompatible } = question;
  const findings: MillraceError[] = [];
  if (behind) {
    const facts = { ...placeOf(lane), file: path, at: end, from: lowest(commit.done) };
    findings.push(new MillraceError("REACT_CHECKPOINT_DAMAGED", facts));
  }
  /** All that was emitted up to there is durable, though the state is of before. */
  const emitted = behind && behind.done.next <= ends.end ? behind.done : undefined;
  let { done, epoch } = commit;
  if (done.next > ends.end) {
    // The log has lost its end, or is an older one: offsets from here on are of other events.
    findings.push(new MillraceError("REACT_LOG_BEHIND", { ...placeOf(lane), position: done.next, end: ends.end }));
    done = doneBelow(ends.end);
    epoch++;
  }
  if (lowest(done) < ends.start) {
    findings.push(lost(lane, lowest(done), ends.start, "the log no longer has them"));
    done = { next: Math.max(done.next, ends.start), pending: done.pending.filter((offset) => offset >= ends.start) };
  }
  const records = new Map(commit.operators.map((record) => [record.name, record]));
  const known = (plan: OperatorPlan) => {
    const record = records.get(plan.name);
    return record?.stateHash === plan.stateHash && !incompatible.has(plan.name) ? record : undefined;
  };
  const begins = (plan: OperatorPlan) => !known(plan) && (plan.from === "beginning" || incompatible.has(plan.name));
  const again = plans.some(begins) && lowest(done) > ends.start;
  const kept: string[] = [];
  const operators = plans.map((plan): OperatorStart => {
    const record = known(plan);
    if (record) {
      kept.push(plan.name);
      return {
        ...{
          plan,
          restored: true,
          muted: emitted ?? record.muted,
          leftOut: record.leftOut ?? [],
          retried: record.retried ?? [],
        },
        ...{ done: again ? further(record.done, done) : record.done, versions: record.versions },
      };
    }
    const unread = records.get(plan.name);
    if (unread?.stateHash === plan.stateHash) {
      // The definition is the same: what it has emitted stays as it is.
      return {
        ...newOperator(plan, undefined),
        muted: done,
        retried: unread.retried ?? [],
        leftOut: unread.leftOut ?? [],
      };
    }
    if (plan.from === "beginning") return newOperator(plan, undefined);
    // One that is new begins behind the newest event; one that has changed goes on where it was.
    return newOperator(plan, records.has(plan.name) ? (again ? done : undefined) : doneBelow(ends.end));
  });
  const dropped = commit.operators.some(
    ({ name, versions }) => Object.keys(versions).length > 0 && !kept.includes(name),
  );
  return {
    ...{ operators, findings, nowMs: commit.nowMs, targetsLost: false, counts: commit.counts },
    done: again ? doneBelow(ends.start) : done,
    begun: again ? Math.min(ends.start, commit.begun) : commit.begun,
    epoch: again ? epoch + 1 : epoch,
    // What the targets hold by the marks so far is of the operators that go on; see `former`.
    targets: behind?.targets ?? commit.targets,
    keepsFile: !behind && !dropped && !again && epoch === commit.epoch,
  };
}

/** State is gone: it is built again from the log, and what was emitted is not emitted again. */
function rebuilt(question: StartQuestion, found: FoundCheckpoint & { kind: "damaged" }): LaneStart {
  const { lane, plans, ends } = question;
  const { known, path, at } = found;
  const findings = [
    new MillraceError("REACT_CHECKPOINT_DAMAGED", { ...placeOf(lane), file: path, at, from: ends.start }),
  ];
  const begun = known ? Math.min(known.begun, ends.end) : 0;
  const stateful = known?.operators.some(({ versions }) => Object.keys(versions).length > 0) ?? true;
  if (stateful && begun < ends.start)
    findings.push(lost(lane, begun, ends.start, "its checkpoint is damaged and the log no longer has them"));
  const before = known && (known.done.next > ends.end ? doneBelow(ends.end) : known.done);
  const records = new Map(known?.operators.map((record) => [record.name, record]));
  const operators = plans.map((plan): OperatorStart => {
    const record = records.get(plan.name);
    const same = record?.stateHash === plan.stateHash;
    if (known && !same)
      return newOperator(plan, plan.from === "now" ? (record ? before : doneBelow(ends.end)) : undefined);
    const stateless = record !== undefined && Object.keys(record.versions).length === 0;
    return {
      ...newOperator(plan, stateless ? before : undefined),
      ...{ muted: before, leftOut: record?.leftOut ?? [], retried: record?.retried ?? [] },
    };
  });
  return {
    ...{
      operators,
      findings,
      done: doneBelow(Math.max(begun, ends.start)),
      nowMs: 0,
      begun: Math.max(begun, ends.start),
    },
    ...{ epoch: known?.epoch ?? 0, targets: known?.targets ?? [], targetsLost: known === undefined },
    ...{ counts: NO_COUNTS, keepsFile: false },
  };
}

function further(a: DoneSet | undefined, b: DoneSet): DoneSet {
  return a && a.next > b.next ? a : b;
}

function lost(lane: LaneName, from: number, to: number, reason: string): MillraceError {
  return new MillraceError("REACT_STATE_LOST", { ...placeOf(lane), from, to: to - 1, reason });
}

function placeOf({ lane, stream, partition }: LaneName): Record<string, unknown> {
  return { lane, stream, partition };
}
