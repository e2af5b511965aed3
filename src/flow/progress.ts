/**
 * Progress and ledger counters of a table, kept as Delta `txn` actions so that they are committed with the rows they describe
 * and survive checkpoints. Per stream and partition there are, each named after the stream and partition:
 *
 *     millrace:orders:0              last offset the table reflects
 *     millrace:orders:0:stored       events stored by it since the beginning
 *     millrace:orders:0:duplicate    …found to be second arrivals
 *     millrace:orders:0:filtered     …for which the SQL gave no row
 *     millrace:orders:0:dead         …dead-lettered on the way to it
 *
 *     millrace:orders:0:retried      the newest batch of retried dead letters it took (dead-letter-actions.ts)
 *
 * The four counts add up to the last offset plus one. A refreshed table names its inputs instead:
 *
 *     millrace:input:silver.orders   version of the input it was computed from
 */
import type { Snapshot } from "../lake/delta-table.ts";

export interface Counts {
  readonly stored: number;
  readonly duplicate: number;
  readonly filtered: number;
  readonly dead: number;
}

const COUNTERS = ["stored", "duplicate", "filtered", "dead"] as const;

/** Last offset of the partition that the snapshot reflects; -1 when none. */
export function committedTo(snapshot: Snapshot, stream: string, partition: number): number {
  return snapshot.txn.get(`millrace:${stream}:${partition}`) ?? -1;
}

export function counts(snapshot: Snapshot, stream: string, partition: number): Counts {
  const read = (name: string) => snapshot.txn.get(`millrace:${stream}:${partition}:${name}`) ?? 0;
  return { stored: read("stored"), duplicate: read("duplicate"), filtered: read("filtered"), dead: read("dead") };
}

/** Partitions of the stream of which the snapshot reflects events: one more than the highest. */
export function committedPartitions(snapshot: Snapshot, stream: string): number {
  let count = 0;
  for (const name of snapshot.txn.keys()) {
    const [, application, of, partition, ...more] = /^(millrace):(\w+):(\d+)(:.*)?$/.exec(name) ?? [];
    if (application && of === stream && more[0] === undefined) count = Math.max(count, Number(partition) + 1);
  }
  return count;
}

/** The `txn` entries that advance a table to `to`, with what became of the events since. */
export function advance(
  snapshot: Snapshot,
  stream: string,
  partition: number,
  to: number,
  added: Counts,
): Map<string, number> {
  const name = `millrace:${stream}:${partition}`;
  const before = counts(snapshot, stream, partition);
  const txn = new Map([[name, to]]);
  for (const counter of COUNTERS) txn.set(`${name}:${counter}`, before[counter] + added[counter]);
  return txn;
}

/** Names the `txn` entry that says which batch of retried dead letters a table took last. */
export function retriedMark(stream: string, partition: number): string {
  return `millrace:${stream}:${partition}:retried`;
}

/** Version of an input that a refreshed table reflects; -1 when never. */
export function inputVersion(snapshot: Snapshot, input: string): number {
  return snapshot.txn.get(`millrace:input:${input}`) ?? -1;
}

export function inputVersions(versions: Iterable<readonly [string, number]>): Map<string, number> {
  return new Map([...versions].map(([input, version]) => [`millrace:input:${input}`, version]));
}
