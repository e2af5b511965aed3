import type { Column } from "../../define/project.ts";
import type { SqlAst } from "../../define/sql-inspector.ts";
import { ParseCache } from "../parse-cache.ts";
import type { FileInput, LocalSql, ResultStream, SqlEngine, Statement } from "../sql-engine.ts";
import { ConnectClient, type ExecuteResponse } from "./connect-protocol.ts";
import type { SparkAddress } from "./spark-address.ts";
import { fileUri, type SparkFiles, sparkUri } from "./spark-files.ts";
import { sparkPlan } from "./spark-plan.ts";
import { rowsOfBatch } from "./spark-rows.ts";
import { SparkSession } from "./spark-session.ts";
import { sparkColumns } from "./spark-types.ts";
import { writeWithSpark } from "./spark-write.ts";

export interface SparkOptions {
  readonly address: SparkAddress;
  /** The parse tree of a statement, as the embedded engine gives it. */
  readonly parse: (sql: string) => Promise<SqlAst>;
  /**
   * For `write`: where Spark leaves what it writes, and the embedded engine's session, which reads the footers there. Without them only `query` and
   * `describe` can be asked for.
   */
  readonly writing?: { readonly files: SparkFiles; readonly local: LocalSql };
}

export type SparkEngine = SqlEngine & {
  /** The server's version. @throws SPARK_UNAVAILABLE, SPARK_REFUSED, SPARK_UNSUPPORTED */
  version(): Promise<string>;
  /**
   * The columns a statement gives there; nothing is computed.
   * @throws SPARK_DIALECT, SQL_FAILED with Spark's reason, and as `version`
   */
  describe(statement: Statement): Promise<Column[]>;
  /** Resolves when the server answers. @throws as `version` */
  ping(timeoutMs: number): Promise<void>;
};

/**
 * An engine on a Spark Connect server (Spark 4). It connects with its first statement, and again whenever the server was away: opening it asks
 * nobody.
 *
 * Statements are translated from DuckDB's dialect where that means exactly the same, and refused otherwise (SPARK_DIALECT); those with a text for
 * Spark are taken as they are. Beside the errors of the port: SPARK_UNAVAILABLE, SPARK_REFUSED, SPARK_UNSUPPORTED, SPARK_STAGING.
 */
export function openSparkEngine({ address, parse, writing }: SparkOptions): SparkEngine {
  const session = new SparkSession(new ConnectClient(address), address);
  const parsed = new ParseCache(parse);
  const context = { parse: (sql: string) => parsed.get(sql), uri };
  return {
    name: "spark",
    version: () => session.version(),
    ping: (timeoutMs) => session.ping(timeoutMs),
    async describe(statement) {
      const { relation } = await sparkPlan(statement, context);
      return sparkColumns(await session.analyze({ root: relation }));
    },
    async query(statement, options = {}) {
      const { relation } = await sparkPlan(statement, context);
      return await resultOf(session.run(() => ({ root: relation }), options));
    },
    async write(statement, target, options = {}) {
      if (writing === undefined) throw new TypeError("an engine that was opened without `writing` writes nothing");
      const { relation } = await sparkPlan(statement, context);
      return await writeWithSpark({ session, ...writing }, relation, target, options);
    },
    close: () => session.close(),
  };
}

function uri({ path, uri: told }: FileInput): string {
  return told === undefined ? fileUri(path) : sparkUri(told);
}

/** The schema comes before the first row. */
async function resultOf(responses: AsyncGenerator<ExecuteResponse>): Promise<ResultStream> {
  const first = await responses.next();
  const columns = sparkColumns((first.done ? undefined : first.value.schema) ?? {});
  async function* batches(): AsyncGenerator<unknown[][]> {
    try {
      for await (const { arrowBatch } of responses) {
        if (arrowBatch !== undefined && arrowBatch.data.length > 0) {
          const rows = rowsOfBatch(arrowBatch.data);
          if (rows.length > 0) yield rows;
        }
      }
    } finally {
      await responses.return(undefined);
    }
  }
  return { columns, batches: batches() };
}
