import { alerts } from "./alerts.ts";
import { backup } from "./backup.ts";
import { biUsers } from "./bi-users.ts";
import type { Command } from "./command.ts";
import { config } from "./config.ts";
import { deadLetters } from "./dead-letters.ts";
import { destinations } from "./destinations.ts";
import { features } from "./features.ts";
import { importCommand } from "./import.ts";
import { init } from "./init.ts";
import { keys } from "./keys.ts";
import { ledger } from "./ledger.ts";
import { refresh } from "./refresh.ts";
import { replay } from "./replay.ts";
import { restore } from "./restore.ts";
import { runs } from "./runs.ts";
import { sql } from "./sql.ts";
import { start } from "./start.ts";
import { status } from "./status.ts";
import { tables } from "./tables.ts";
import { where } from "./where.ts";
import { workers } from "./workers.ts";

/** Every command, in the order in which a newcomer meets them. */
export const COMMANDS: readonly Command[] = [
  init,
  start,
  sql,
  importCommand,
  tables,
  status,
  workers,
  ledger,
  where,
  deadLetters,
  refresh,
  replay,
  runs,
  alerts,
  destinations,
  features,
  backup,
  restore,
  keys,
  biUsers,
  config,
];
