import { apiKeys } from "./001-api-keys.ts";
import { runs } from "./002-runs.ts";
import { aws } from "./003-aws.ts";
import { workers } from "./004-workers.ts";
import { lanes } from "./005-lanes.ts";
import { sessions } from "./006-sessions.ts";
import { notebooks } from "./007-notebooks.ts";
import { ledgerMinutes } from "./008-ledger-minutes.ts";
import type { Migration } from "./migration.ts";

/** Every step in its order. */
export const MIGRATIONS: readonly Migration[] = [
  apiKeys,
  runs,
  aws,
  workers,
  lanes,
  sessions,
  notebooks,
  ledgerMinutes,
];
