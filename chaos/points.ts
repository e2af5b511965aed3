/** The named points at which a platform can be killed, each before or after one step that a crash must be able to divide. */

const around = (...steps: string[]): string[] => steps.flatMap((step) => [`${step}: before`, `${step}: after`]);

const LOG = [
  ...["data", "index"].flatMap((file) => [
    ...around(
      `log write ${file}`,
      `log fsync ${file}`,
      `log truncate ${file}`,
      `log create ${file}`,
      `log remove ${file}`,
    ),
    `log write ${file}: middle`,
  ]),
  ...around("log fsync folder", "log rename"),
];

/** Of reactions, on the log's disk. */
const CHECKPOINTS = [
  ...around("log write checkpoint", "log fsync checkpoint", "log create checkpoint", "log remove checkpoint"),
  "log write checkpoint: middle",
];

const COMMITS = ["CREATE", "FLUSH", "MERGE", "REFRESH", "COMPACT", "REPLAY"];

const LAKE = [
  "lake data file: named",
  ...around("lake data file fsync"),
  ...COMMITS.flatMap((operation) => [
    ...around(`lake commit ${operation} write`, `lake commit ${operation} link`),
    `lake commit ${operation} write: middle`,
    `lake commit ${operation} fsync folder: after`,
  ]),
  ...around("lake checkpoint write", "lake checkpoint rename", "lake checkpoint hint rename"),
  "lake checkpoint write: middle",
  ...around("lake vacuum remove", "lake log clean remove"),
];

const INDEX = [
  ...around("index run write", "index run fsync", "index manifest replace", "index remove"),
  "index run write: middle",
  "index manifest replace: middle",
];

export const POINTS: readonly string[] = [...LOG, ...CHECKPOINTS, ...LAKE, ...INDEX];

/** Points that a run comes by only when the clock jumps ahead (retention is an hour). */
export function needsOldFiles(point: string): boolean {
  return /vacuum|log clean|log remove/.test(point);
}

/** Points that only the first start of a data folder comes by. */
export function isFirstStart(point: string): boolean {
  return /CREATE/.test(point);
}

/** Points that a run comes by only when a table is replayed. */
export function needsReplay(point: string): boolean {
  return point.includes("REPLAY");
}

/** Points that only a disk which refuses a while brings about. */
export function needsFailingDisk(point: string): boolean {
  return point.includes("truncate");
}

/** The damage that a start must mend to come by a point. */
export function damageBefore(point: string): string | undefined {
  return point.includes("log rename") ? "lost index of the log" : undefined;
}
