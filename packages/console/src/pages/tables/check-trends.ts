/** How often each check failed in each commit: a flush says which events it took, and a dead letter which event it is. */
import type { TableView } from "../../api.ts";

export interface CheckTrend {
  readonly name: string;
  readonly condition: string;
  /** Oldest first; those of upkeep, which bring no events, are left out. */
  readonly commits: readonly {
    readonly version: number;
    readonly atMs: number;
    /** Events that all checks let through. */
    readonly passed: number;
    /** Events of which a row failed this check before any other. */
    readonly failed: number;
  }[];
  /** In these commits and all before. */
  readonly failed: number;
  readonly lastAt: string | undefined;
}

/** `letters`: partition, offset, name of the check, moment; newest first. */
export function trendsOf(
  checks: TableView["checks"],
  history: TableView["history"],
  letters: readonly (readonly unknown[])[],
): readonly CheckTrend[] {
  const flushes = history
    .flatMap(({ version, timestampMs, info }) => {
      const { partition, from, to, stored } = (info?.["millrace"] ?? {}) as Readonly<Record<string, unknown>>;
      if (![partition, from, to, stored].every((value) => typeof value === "number")) return [];
      return [
        {
          ...{ version, atMs: timestampMs, passed: stored as number },
          ...{ partition: partition as number, from: from as number, to: to as number },
        },
      ];
    })
    .reverse();
  return Object.entries(checks).map(([name, condition]) => {
    const own = letters.filter((letter) => letter[2] === name);
    const commits = flushes.map(({ version, atMs, passed, partition, from, to }) => {
      const failed = own.filter((letter) => {
        const offset = Number(letter[1]);
        return Number(letter[0]) === partition && offset >= from && offset <= to;
      }).length;
      return { version, atMs, passed, failed };
    });
    return { name, condition, commits, failed: own.length, lastAt: own[0]?.[3] as string | undefined };
  });
}
