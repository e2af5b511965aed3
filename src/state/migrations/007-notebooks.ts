import type { Migration } from "./migration.ts";

export const notebooks: Migration = {
  version: 7,
  name: "notebooks of the console",
  sql: `
    create table millrace.notebooks (
      id uuid primary key,
      name text not null,
      cells jsonb not null,
      refresh_s integer,
      version integer not null default 1,
      changed_by text not null,
      changed_at timestamptz not null default now()
    )`,
};
