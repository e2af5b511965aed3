import { type BackupSource, makeBackup } from "../backup/backup.ts";
import { MillraceError } from "../errors.ts";
import type { EventLog } from "../log/event-log.ts";
import type { Backups } from "../serve/backup-route.ts";

export type BackupsParts = Omit<BackupSource, "log" | "state"> & {
  readonly log: EventLog;
  readonly state: Promise<BackupSource["state"]>;
  /** Where the tables are, when that is not the data folder. */
  readonly remotePlace: string | undefined;
};

/** Backups of the running platform, one at a time. */
export function backups({ log, state, remotePlace, ...parts }: BackupsParts): Backups {
  let underWay: string | undefined;
  return {
    async make({ dir, keep, signal }) {
      if (underWay !== undefined) throw new MillraceError("BACKUP_UNDER_WAY", { dir: underWay }, { retryAfterS: 10 });
      if (!log.hold) {
        const reason = "the events of this platform are kept by another log, which has its own ways";
        throw new MillraceError("BACKUP_TARGET_REFUSED", { dir, reason });
      }
      if (remotePlace !== undefined) {
        const reason = `the tables of this platform are in ${remotePlace}, which has its own ways (versioning, replication)`;
        throw new MillraceError("BACKUP_TARGET_REFUSED", { dir, reason });
      }
      underWay = dir;
      try {
        const held = { hold: () => log.hold!() };
        return await makeBackup({ ...parts, log: held, state: await state }, { dir, keep, signal });
      } finally {
        underWay = undefined;
      }
    },
  };
}
