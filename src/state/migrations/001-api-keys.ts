import type { Migration } from "./migration.ts";

export const apiKeys: Migration = {
  version: 1,
  name: "API keys",
  sql: `
    create table millrace.api_keys (
      id text primary key,
      name text not null,
      scopes text[] not null,
      token_sha256 bytea not null,
      created_at timestamptz not null default now(),
      revoked_at timestamptz
    )`,
};
