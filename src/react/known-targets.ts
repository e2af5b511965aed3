import type { EventLog } from "../log/event-log.ts";
import type { TargetRecord } from "./checkpoint-store.ts";
import { NOTHING_DONE } from "./done-set.ts";
import { type LaneName, markPrefix } from "./emission-mark.ts";
import type { KnownTarget } from "./emitter.ts";
import { type FoundMarks, findMarks } from "./find-marks.ts";
import type { LaneStart } from "./lane-start.ts";

export interface StartingLane {
  readonly name: LaneName;
  readonly start: LaneStart;
}

/**
 * What the logs of targets hold of lanes that begin, by prefix of their marks. Each log is looked through once, from where the first of the lanes
 * left it.
 */
export async function findTargets(
  log: EventLog,
  lanes: readonly StartingLane[],
  streams: readonly string[],
): Promise<Map<string, KnownTarget[]>> {
  const everywhere = streams.flatMap((stream) =>
    Array.from(
      { length: log.partitions(stream) },
      (_, partition): TargetRecord => ({
        ...{ stream, partition, from: log.ends(stream, partition).start },
      }),
    ),
  );
  const asked = lanes.flatMap((lane) => {
    const records = lane.start.targetsLost ? everywhere : lane.start.targets;
    return records
      .filter(({ stream, partition }) => streams.includes(stream) && partition < log.partitions(stream))
      .map((record) => ({ lane, record }));
  });
  const known = new Map<string, KnownTarget[]>(lanes.map(({ name }) => [markPrefix(name), []]));
  for (const group of Map.groupBy(asked, ({ record }) => `${record.stream}/${record.partition}`).values()) {
    const { stream, partition } = (group[0] as (typeof group)[0]).record;
    const from = Math.min(...group.map(({ record }) => record.from));
    const prefixes = group.map(({ lane }) => markPrefix(lane.name));
    const marks = await findMarks(log, { stream, partition, from }, prefixes);
    for (const { lane, record } of group) {
      const prefix = markPrefix(lane.name);
      const target = knownTarget(lane.start, record, marks.get(prefix) as FoundMarks);
      if (target) known.get(prefix)?.push(target);
    }
  }
  return known;
}

function knownTarget(start: LaneStart, record: TargetRecord, marks: FoundMarks): KnownTarget | undefined {
  const { retried } = marks;
  if (start.targetsLost && marks.epoch === -1 && retried.size === 0) return undefined;
  if (marks.epoch === -1) return { ...record, done: NOTHING_DONE, retried };
  if (marks.epoch === start.epoch || start.targetsLost) return { ...record, done: marks.done, retried };
  // The lane has begun anew since: what is there holds for those of its operators that have not.
  const operators = start.operators.filter(({ restored, muted }) => restored || muted).map(({ plan }) => plan.name);
  return { ...record, done: NOTHING_DONE, retried, former: { operators, done: marks.done } };
}
