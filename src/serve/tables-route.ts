import type { FastifyInstance, preHandlerAsyncHookHandler } from "fastify";
import type { Catalogue, TableDetails, TableSummary } from "./catalogue.ts";
import { typeName } from "./type-names.ts";

export interface TablesRouteOptions {
  readonly catalogue: Catalogue;
  /** Lets only keys with the scope through. */
  readonly requireScope: (scope: "query") => preHandlerAsyncHookHandler;
}

/** `GET /v1/tables` and `GET /v1/tables/{schema.name}`. Errors are thrown; the server turns them into answers. */
export async function tablesRoute(app: FastifyInstance, options: TablesRouteOptions): Promise<void> {
  const { catalogue, requireScope } = options;
  const query = { preHandler: requireScope("query") };
  app.get("/v1/tables", query, async () => ({ tables: (await catalogue.list()).map(summary) }));
  app.get<{ Params: { name: string } }>("/v1/tables/:name", query, async (request) =>
    details(await catalogue.describe(request.params.name)),
  );
}

/*
 * {"name","kind","mode","version","rows","sizeBytes","freshAt"}; what is not known is null. Times are ISO 8601 in UTC.
 */
function summary(table: TableSummary) {
  return {
    name: table.name,
    kind: table.kind,
    mode: table.mode ?? null,
    version: table.version ?? null,
    rows: table.rows ?? null,
    sizeBytes: table.sizeBytes,
    freshAt: instant(table.freshAtMs),
  };
}

function details(table: TableDetails) {
  return {
    ...summary(table),
    reason: table.reason ?? null,
    sql: table.sql ?? null,
    columns: table.columns.map(({ name, type, nullable }) => ({ name, type: typeName(type), nullable })),
    partitionColumns: table.partitionColumns,
    lineage: table.lineage,
    history: table.history.map(({ timestampMs, addedRows, ...commit }) => ({
      ...commit,
      addedRows: addedRows ?? null,
      at: instant(timestampMs),
    })),
    files: table.files.map(({ modifiedAtMs, rows, ...file }) => ({
      ...file,
      rows: rows ?? null,
      modifiedAt: instant(modifiedAtMs),
    })),
  };
}

function instant(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
