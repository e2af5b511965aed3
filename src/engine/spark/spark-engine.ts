import type { SqlAst } from "../../define/sql-inspector.ts";
import { ParseCache } from "../parse-cache.ts";
import type { FileInput, LocalSql, ResultStream, SqlEngine } from "../sql-engine.ts";
import { ConnectClient, type ExecuteResponse } from "./connect-protocol.ts";
import type { SparkAddress } from "./spark-address.ts";
import { fileUri, SparkFiles } from "./spark-files.ts";
import { sparkPlan } from "./spark-plan.ts";
import { rowsOfBatch } from "./spark-rows.ts";
import { SparkSession } from "./spark-session.ts";
import { sparkColumns } from "./spark-types.ts";
import { writeWithSpark } from "./spark-write.ts";

export interface SparkOptions {
  readonly address: SparkAddress;
  /** The parse tree of a statement, as the embedded engine gives it. */
  readonly parse: (sql: string) => Promise<SqlAst>;
  /** The embedded engine's session, for the footers of files. */
  readonly local: LocalSql;
  /** A folder that Spark sees under the same path, and that the embedded engine may read, on the disk of the lake. */
  readonly stagingDir: string;
}

export type SparkEngine = SqlEngine & {
  /** The server's version. @throws SPARK_UNAVAILABLE, SPARK_REFUSED, SPARK_UNSUPPORTED */
  version(): Promise<string>;
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
export function openSparkEngine({ address, parse, local, stagingDir }: SparkOptions): SparkEngine {
  const session = new SparkSession(new ConnectClient(address), address);
  const parsed = new ParseCache(parse);
  const files = new SparkFiles(stagingDir);
  const context = { parse: (sql: string) => parsed.get(sql), uri };
  return {
    name: "spark",
    version: () => session.version(),
    ping: (timeoutMs) => session.ping(timeoutMs),
    async query(statement, options = {}) {
      const { relation } = await sparkPlan(statement, context);
      return await resultOf(session.run(() => ({ root: relation }), options));
    },
    async write(statement, target, options = {}) {
      const { relation } = await sparkPlan(statement, context);
      return await writeWithSpark({ session, files, local }, relation, target, options);
    },
    close: () => session.close(),
  };
}

/** `s3://` is what others call it; Hadoop's file system for it is s3a. */
function uri({ path, uri: told }: FileInput): string {
  if (told === undefined) return fileUri(path);
  return told.replace(/^s3:\/\//, "s3a://").replace(/^file:\/\/(?=\/)/, "file:");
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
