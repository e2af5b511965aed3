import type { FastifyInstance, preHandlerAsyncHookHandler } from "fastify";
import { MillraceError } from "../errors.ts";
import type { Scope } from "../gateway/auth.ts";

/**
 * `GET /v1/lineage?table=…&column=…` (scope query): where a column's values come from, and where they go.
 *
 *     {"columns": [LineageColumn], "edges": [{"from": {table, column}, "to": {table, column}}]}
 *
 * An edge says that the one is computed from the other by a table's SQL; what only decides which rows there are is not followed. Errors: REQUEST_INVALID,
 * TABLE_UNKNOWN, COLUMN_UNKNOWN.
 */
export interface LineageView {
  /** The one asked for is the first. */
  readonly columns: readonly LineageColumn[];
  readonly edges: readonly { readonly from: ColumnName; readonly to: ColumnName }[];
}

export interface ColumnName {
  readonly table: string;
  readonly column: string;
}

export interface LineageColumn extends ColumnName {
  /** Its table's or stream's on the map. */
  readonly node: string;
  readonly place: "chosen" | "behind" | "ahead";
  /** Why where its values come from is not known, or not all of it; null where it is. */
  readonly unknown: string | null;
}

export interface LineageRouteOptions {
  readonly lineage: (table: string, column: string) => Promise<LineageView>;
  readonly requireScope: (scope: Scope) => preHandlerAsyncHookHandler;
}

/** A fastify plugin. */
export async function lineageRoute(app: FastifyInstance, options: LineageRouteOptions): Promise<void> {
  app.get("/v1/lineage", { preHandler: options.requireScope("query") }, async (request) => {
    const { table, column, ...others } = request.query as Record<string, unknown>;
    const [other] = Object.keys(others);
    if (typeof table !== "string" || typeof column !== "string" || other !== undefined)
      throw new MillraceError("REQUEST_INVALID", { reason: "the query takes table and column, each once" });
    return options.lineage(table, column);
  });
}
