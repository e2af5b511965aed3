import type { FastifyInstance, preHandlerAsyncHookHandler } from "fastify";
import type { Catalogue } from "./catalogue.ts";
import { typeName } from "./type-names.ts";

export interface TablesRouteOptions {
  readonly catalogue: Catalogue;
  /** Lets only keys with the scope through. */
  readonly requireScope: (scope: "query") => preHandlerAsyncHookHandler;
}

/**
 * `GET /v1/tables` gives `{tables: TableSummary[]}`, `GET /v1/tables/{schema.name}` a `TableDetails` whose columns carry
 * their type's SQL name as `typeName`. What is not known is left out. Errors are thrown; the server turns them into answers.
 */
export async function tablesRoute(app: FastifyInstance, options: TablesRouteOptions): Promise<void> {
  const { catalogue, requireScope } = options;
  const query = { preHandler: requireScope("query") };
  app.get("/v1/tables", query, async () => ({ tables: await catalogue.list() }));
  app.get<{ Params: { name: string } }>("/v1/tables/:name", query, async (request) => {
    const table = await catalogue.describe(request.params.name);
    return { ...table, columns: table.columns.map((column) => ({ ...column, typeName: typeName(column.type) })) };
  });
}
