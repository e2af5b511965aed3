import type { Migration } from "./migration.ts";

export const workers: Migration = {
  version: 4,
  name: "processes that share the work, and what only one of them may do",
  sql: `
    create table millrace.leases (
      name text primary key,
      holder text not null,
      -- Counts up with each holder. Being part of a key, its change waits for whoever has checked it in a transaction; a renewal does not.
      token integer not null,
      -- By the server's clock.
      expires_at timestamptz not null,
      -- Counts up with each renewal, for those who watch and trust no clock but their own.
      renewals bigint not null default 0,
      unique (name, token)
    );

    create table millrace.workers (
      id text primary key,
      -- A process; another one with the same id has taken its place.
      incarnation uuid not null,
      roles text[] not null,
      url text not null,
      version text not null,
      format integer not null,
      -- Group of consumers -> stream -> partitions that are its own.
      owns jsonb not null default '{}',
      started_at timestamptz not null default now(),
      heartbeat_at timestamptz not null default now()
    )`,
};
