import type { Migration } from "./migration.ts";

export const sessions: Migration = {
  version: 6,
  name: "sessions of people at the console",
  sql: `
    create table millrace.sessions (
      sha256 text primary key,
      key_id text not null references millrace.api_keys (id),
      expires_at timestamptz not null
    )`,
};
