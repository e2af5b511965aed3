import type { Migration } from "./migration.ts";

export const aws: Migration = {
  version: 3,
  name: "access keys and tags of streams, as AWS's clients know them",
  sql: `
    alter table millrace.api_keys add column aws boolean not null default false;

    create table millrace.stream_tags (
      stream text not null,
      key text not null,
      value text not null,
      primary key (stream, key)
    )`,
};
