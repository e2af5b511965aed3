import type { Migration } from "./migration.ts";

export const lanes: Migration = {
  version: 5,
  name: "how far reactions are, told by the processes that have their lanes",
  sql: `
    create table millrace.lanes (
      stream text not null,
      partition integer not null,
      lane text not null,
      -- Counts up with each owner of the lane: what an earlier one says no longer counts.
      owner bigint not null,
      worker text not null,
      status jsonb not null,
      -- [{"stream", "partition", "offset"}]: the first offset that is needed of each partition.
      floors jsonb not null,
      published_at timestamptz not null default now(),
      primary key (stream, partition, lane)
    )`,
};
