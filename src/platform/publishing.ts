import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { Serving } from "../define/serving.ts";
import type { SqlEngine } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { Flow } from "../flow/flow.ts";
import type { LakeTable } from "../flow/lake-tables.ts";
import type { Published } from "../flow/ledger.ts";
import type { Snapshot } from "../lake/delta-table.ts";
import type { BiUsers } from "../serve/bi-users-route.ts";
import { publishedRecords, type ServedTable } from "../serve/publication.ts";
import { Publisher } from "../serve/publisher.ts";
import type { BiAddress } from "../state/embedded-postgres.ts";
import { type Lease, withToken } from "../state/leases.ts";
import type { State } from "../state/state.ts";

export interface PublishingParts {
  readonly flow: Flow;
  readonly engine: SqlEngine;
  readonly connection: pg.ClientConfig;
  readonly clock: () => number;
  readonly report: (error: unknown, what: string) => void;
  readonly retryPauseMs?: (failures: number) => number;
  /** Other processes publish as well, one at a time. */
  readonly shared?: boolean;
}

/** The tables of a project that are published, kept up with the lake from `start` on. */
export function publishing(parts: PublishingParts): Publisher {
  const { flow, engine, connection, clock, report, retryPauseMs, shared = false } = parts;
  const tables = [...flow.project.tables.values()].flatMap(({ name, serve }) =>
    serve === undefined ? [] : [servedTable(flow, name, serve)],
  );
  return new Publisher({
    ...{ tables, connection, engine, clock, report, shared },
    ...(retryPauseMs && { retryPauseMs }),
    refuse: (table, rows) => flow.publishLetters.open(table, rows),
    settle: (table, refused, gone) => flow.publishLetters.settle(table, refused, gone),
  });
}

/** What holds each publication to the lease: nobody else publishes before it has ended. */
export function fenceOf(lease: Lease): (client: pg.Client) => Promise<void> {
  return (client) =>
    withToken({ query: async (sql, params = []) => (await client.query(sql, [...params])).rows }, lease);
}

/** Looks now and then at what another process has published, until the signal aborts. */
export async function watchPublications(publisher: Publisher, state: State, signal: AbortSignal): Promise<void> {
  if (publisher.states().length === 0) return;
  const client = { query: async (sql: string) => ({ rows: await state.query(sql) }) };
  while (!signal.aborted) {
    // What cannot be read now is as it was.
    const records = await publishedRecords(client).catch(() => undefined);
    if (records !== undefined) publisher.told(records);
    await sleep(LOOK_MS, undefined, { signal, ref: false }).catch(() => undefined);
  }
}

const LOOK_MS = 3_000;

/** How tables stand, for the ledger. */
export function published(publisher: Publisher | undefined): Published[] {
  return (publisher?.states() ?? []).map(({ table, published: record, versionsBehind, behindMs }) => ({
    ...{ table, versionsBehind, behindMs, version: record?.version },
    ...{ stored: record?.rows ?? 0, deadLettered: record?.refused ?? 0 },
  }));
}

/** BI users with what they need to connect. */
export function biUsers(publisher: Publisher, at: { bi: BiAddress | undefined; url: string | undefined }): BiUsers {
  const address = at.bi ?? addressOf(at.url);
  const serving = (): Publisher => {
    if (publisher.states().length === 0)
      throw new MillraceError("BI_USERS_REFUSED", { reason: "no table of the project is served" });
    return publisher;
  };
  return {
    create: async (name) => ({ ...(await serving().createUser(name)), address }),
    list: async () => serving().listUsers(),
    revoke: async (name) => serving().revokeUser(name),
  };
}

function addressOf(url: string | undefined): BiAddress | undefined {
  if (url === undefined) return undefined;
  const { host, port, database } = new pg.Client(url);
  return { host, port, database: database ?? "postgres" };
}

function servedTable(flow: Flow, name: string, serving: Serving): ServedTable {
  const { lake } = flow;
  return {
    name,
    serving,
    newest() {
      lake.check(name);
      const table = lake.get(name);
      const { snapshot } = table;
      return {
        version: snapshot.version,
        tableId: snapshot.tableId,
        committedAtMs: snapshot.timestampMs,
        columns: snapshot.columns,
        get rows() {
          return rowsOf(snapshot);
        },
        get relation() {
          return lake.relation(table, snapshot);
        },
      };
    },
    async changes(after, to) {
      const table = lake.get(name);
      const found = await table.delta.changes(after, to);
      if (found === undefined) return undefined;
      // What came and went again is nothing to a reader of the two versions.
      const came = new Set(found.added.map(({ path }) => path));
      const went = new Set(found.removed.map(({ path }) => path));
      return {
        added: filesOf(
          table,
          found.added.filter(({ path }) => !went.has(path)),
        ),
        removed: filesOf(
          table,
          found.removed.filter(({ path }) => !came.has(path)),
        ),
      };
    },
  };

  function filesOf(table: LakeTable, files: Snapshot["files"]) {
    return lake.relation(table, table.snapshot, files);
  }
}

function rowsOf({ files }: Snapshot): number | undefined {
  let rows = 0;
  for (const { stats } of files) {
    if (stats === undefined) return undefined;
    rows += stats.rowCount;
  }
  return rows;
}
