import type { Migration } from "./migration.ts";

export const ledgerMinutes: Migration = {
  version: 8,
  name: "the ledger over time",
  sql: `
    -- How a hop stood in a minute in which it had changed; between two rows it stood as in the first.
    create table millrace.ledger_minutes (
      stream text not null,
      hop text not null,
      minute timestamptz not null,
      accepted bigint not null,
      stored bigint not null,
      duplicate bigint not null,
      filtered bigint not null,
      dead_lettered bigint not null,
      pending bigint not null,
      balanced boolean not null,
      primary key (stream, hop, minute)
    )`,
};
