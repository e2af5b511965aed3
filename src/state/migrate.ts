import { MillraceError } from "../errors.ts";
import type { Migration } from "./migrations/migration.ts";

/** Anything that runs one statement: a connection inside a transaction. */
export interface Session {
  query<Row = Record<string, unknown>>(sql: string, params?: readonly unknown[]): Promise<Row[]>;
}

/** Any number, the same in every release: two processes that start at once take turns by it. */
const LOCK = 7_241_863;

/**
 * Brings the schema to the newest version inside the caller's transaction: all steps or none. Returns the versions applied.
 * @throws STATE_NEWER when a newer release has been here; STATE_MIGRATION_FAILED with the step and the reason.
 */
export async function migrate(session: Session, migrations: readonly Migration[]): Promise<number[]> {
  await session.query("select pg_advisory_xact_lock($1)", [LOCK]);
  await session.query("create schema if not exists millrace");
  await session.query(
    `create table if not exists millrace.schema_version (
       version integer primary key, name text not null, applied_at timestamptz not null default now())`,
  );
  const [row] = await session.query<{ version: number }>(
    "select coalesce(max(version), 0) as version from millrace.schema_version",
  );
  const current = row!.version;
  const known = migrations.at(-1)?.version ?? 0;
  if (current > known) throw new MillraceError("STATE_NEWER", { got: current, known });
  const applied: number[] = [];
  for (const { version, name, sql } of migrations) {
    if (version <= current) continue;
    try {
      await session.query(sql);
    } catch (cause) {
      throw new MillraceError("STATE_MIGRATION_FAILED", { version, name, reason: (cause as Error).message }, { cause });
    }
    await session.query("insert into millrace.schema_version (version, name) values ($1, $2)", [version, name]);
    applied.push(version);
  }
  return applied;
}
