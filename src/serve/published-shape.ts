/**
 * What a published table is in PostgreSQL: its columns, key, indexes and comments as statements, and a text that changes when they do.
 */
import { createHash } from "node:crypto";
import pg from "pg";
import type { Column } from "../define/project.ts";
import { POSTGRES_NAME_BYTES, publishedColumns, type Serving } from "../define/serving.ts";
import { postgresType } from "../define/types.ts";

export interface PublishedShape {
  readonly schema: string;
  readonly name: string;
  readonly columns: readonly Column[];
  readonly key: readonly string[];
  /** Changes when the table has to be made anew. */
  readonly hash: string;
  /** Quoted. */
  readonly qualified: string;
  /** The statement that makes it under another name (quoted), without key and indexes. */
  create(as: string, kind?: "temporary"): string;
  /** The statements that give it its key and indexes. */
  index(as: string): string[];
  /** The statements that say what it is. */
  comment(): string[];
}

export function publishedShape(table: string, serving: Serving, stored: readonly Column[]): PublishedShape {
  const { schema, key } = serving;
  const name = table.slice(table.indexOf(".") + 1);
  const columns = publishedColumns(serving, stored);
  const lines = columns.map(
    (c) => `${quoted(c.name)} ${postgresType(c.type)}${c.nullable && !key.includes(c.name) ? "" : " not null"}`,
  );
  const qualified = `${quoted(schema)}.${quoted(name)}`;
  const list = (names: readonly string[]) => names.map(quoted).join(", ");
  const indexes = serving.indexes.map((index) => ({
    name: shortened(`${name}_${index.join("_")}_idx`),
    columns: list(index),
  }));
  return {
    schema,
    name,
    columns,
    key,
    qualified,
    hash: createHash("sha256")
      .update(JSON.stringify([schema, name, lines, key, indexes]))
      .digest("hex")
      .slice(0, 16),
    create: (as, kind = undefined) => `create ${kind ?? ""} table ${as} (${lines.join(", ")})`,
    index: (as) => [
      ...(key.length > 0
        ? [`alter table ${as} add constraint ${quoted(shortened(`${name}_pkey`))} primary key (${list(key)})`]
        : []),
      ...indexes.map((index) => `create index ${quoted(index.name)} on ${as} (${index.columns})`),
    ],
    comment: () => [
      `comment on table ${qualified} is ${literal(serving.comment)}`,
      ...columns.map((c) => `comment on column ${qualified}.${quoted(c.name)} is ${literal(serving.comments[c.name])}`),
    ],
  };
}

export function quoted(name: string): string {
  return pg.escapeIdentifier(name);
}

function literal(text: string | undefined): string {
  return text === undefined ? "null" : pg.escapeLiteral(text);
}

/** A name that PostgreSQL does not cut off; what is lost to its length is told apart by a hash. */
function shortened(name: string): string {
  if (Buffer.byteLength(name) <= POSTGRES_NAME_BYTES) return name;
  const hash = createHash("sha256").update(name).digest("hex").slice(0, 8);
  let kept = name;
  while (Buffer.byteLength(kept) > POSTGRES_NAME_BYTES - 9) kept = kept.slice(0, -1);
  return `${kept}_${hash}`;
}
