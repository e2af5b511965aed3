/** Restoring needs no running platform; the command line reaches it through here. */
export { checkBackup, type RestoreOptions, type RestoreReport, restoreBackup } from "../backup/restore.ts";
