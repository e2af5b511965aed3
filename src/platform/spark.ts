/**
 * Spark beside the embedded engine, where the setting `sparkUrl` names a server: which tables it may compute, whether it can, and how it is. Its library is
 * loaded only then.
 */
import { join } from "node:path";
import type { Settings } from "../config/settings.ts";
import type { LoadOptions } from "../define/load-project.ts";
import { type Problem, problem, problemOf } from "../define/problem.ts";
import { BRONZE_COLUMNS, type Column, META_COLUMNS, type Project, type RefreshTable } from "../define/project.ts";
import type { SqlInspector } from "../define/sql-inspector.ts";
import type { DuckdbEngine } from "../engine/duckdb-engine.ts";
import { known, type Refusal, translate } from "../engine/spark/dialect/translate.ts";
import { variantInputs } from "../engine/spark/dialect/variant.ts";
import { parseSparkUrl, type SparkAddress } from "../engine/spark/spark-address.ts";
import type { SparkEngine } from "../engine/spark/spark-engine.ts";
import { sparkPlan } from "../engine/spark/spark-plan.ts";
import { MillraceError } from "../errors.ts";
import { type ChooseEngine, engineChooser, mayUseSpark } from "../flow/choose-engine.ts";
import { refreshProbe } from "../flow/refresh-probe.ts";
import { sourceTable } from "../flow/relations.ts";
import type { LakeStore } from "./lake-store.ts";

type SparkSettings = Pick<Settings, "sparkUrl" | "sparkMinInputBytes">;

export interface SparkParts {
  readonly settings: SparkSettings;
  readonly project: Project;
  readonly engine: DuckdbEngine;
  readonly lakeStore: LakeStore;
  readonly dir: string;
  readonly clock: () => number;
}

export interface Spark {
  readonly chooseEngine: ChooseEngine;
  /** Why no table can be computed there now; undefined where it is well, or none needs it. */
  problem(): Promise<MillraceError | undefined>;
  close(): Promise<void>;
}

/** Undefined where no server is named. It connects with the first statement. @throws SETTING_INVALID */
export async function openSpark(parts: SparkParts): Promise<Spark | undefined> {
  const { settings, project, engine, lakeStore, dir, clock } = parts;
  const address = addressOf(settings);
  if (address === undefined) return undefined;
  const { openSparkEngine } = await import("../engine/spark/spark-engine.ts");
  const { localSparkFiles, storedSparkFiles } = await import("../engine/spark/spark-files.ts");
  const files =
    lakeStore.remote === undefined
      ? await localSparkFiles(join(dir, "spark"))
      : await storedSparkFiles(lakeStore.store, clock);
  const parse = (sql: string) => engine.inspector.parse(sql);
  const spark = openSparkEngine({ address, parse, writing: { local: engine.local, files } });
  const minInputBytes = settings.sparkMinInputBytes;
  const needed = [...project.tables.values()].some(
    (table) => table.mode === "refresh" && mayUseSpark(table, minInputBytes),
  );
  const health = new Health(spark);
  return {
    chooseEngine: engineChooser({ spark, minInputBytes }),
    problem: async () => (needed ? await health.problem() : undefined),
    close: () => spark.close(),
  };
}

/** What an orchestrator's probe waits for; a server that is busy answers later than one that is idle. */
const PING_TIMEOUT_MS = 3_000;
/** Probes come several times a minute, from several sides. */
const PING_EVERY_MS = 5_000;

/** Asks the server how it is, not more often than need be. */
class Health {
  readonly #spark: SparkEngine;
  #asked: Promise<MillraceError | undefined> | undefined;
  #askedAtMs = 0;

  constructor(spark: SparkEngine) {
    this.#spark = spark;
  }

  problem(): Promise<MillraceError | undefined> {
    const now = performance.now();
    if (this.#asked === undefined || now - this.#askedAtMs > PING_EVERY_MS) {
      this.#askedAtMs = now;
      this.#asked = this.#spark.ping(PING_TIMEOUT_MS).then(
        () => undefined,
        (error: unknown) => {
          if (error instanceof MillraceError) return error;
          throw error;
        },
      );
    }
    return this.#asked;
  }
}

/** @throws SETTING_INVALID */
function addressOf({ sparkUrl }: SparkSettings): SparkAddress | undefined {
  if (sparkUrl === undefined) return undefined;
  const address = parseSparkUrl(sparkUrl);
  if (typeof address === "object") return address;
  throw new MillraceError("SETTING_INVALID", {
    ...{ name: "sparkUrl", source: "given", allowed: "sc://HOST:PORT/;token=…;use_ssl=true", got: address },
  });
}

/**
 * What is wrong with tables that Spark may compute, told when the project loads: from the parse trees alone, and by the server where it answers.
 * Nothing where no server is named.
 */
export function sparkExamination(
  settings: (project: Project["settings"], dir: string) => SparkSettings,
  inspector: SqlInspector,
): { examine: NonNullable<LoadOptions["examine"]>; close: () => Promise<void> } {
  let server: Promise<SparkEngine | undefined> | undefined;
  return {
    async examine(table, project) {
      const resolved = settings(project.settings, project.dir);
      const address = addressOf(resolved);
      if (address === undefined || table.mode !== "refresh") return [];
      if (!mayUseSpark(table, resolved.sparkMinInputBytes)) return [];
      const own = await dialectProblems(table, project, inspector);
      if (own.length > 0) return own;
      server ??= reached(address, inspector);
      return await serverProblems(table, project, await server);
    },
    close: async () => await (await server)?.close(),
  };
}

type Around = Pick<Project, "streams" | "tables">;

/** What can be told without a server. */
async function dialectProblems(table: RefreshTable, project: Around, inspector: SqlInspector): Promise<Problem[]> {
  const found: Problem[] = [];
  const subject = `table "${table.name}"`;
  const refuse = (what: string, instead: string) => found.push(problem("SPARK_DIALECT", { subject, what, instead }));
  for (const input of table.inputs) {
    if (project.streams.has(input) && sourceTable(project, input) === `bronze.${input}`)
      refuse(
        `it reads the events of ${input} as they came, which only the embedded engine parses`,
        `read silver.${input}`,
      );
  }
  if (table.spark !== undefined) {
    for (const name of variantInputs(table.spark))
      if (!table.inputs.includes(name))
        refuse(`its statement for Spark reads ${name}, and its sql does not`, "read the same in both");
    return found;
  }
  for (const name of Object.keys(table.functions ?? {}))
    refuse(`${name}, a function of the project, which only the embedded engine has`, EARLIER);
  if (found.length > 0) return found;
  const columns = columnsIn(project);
  const texts = [
    table.sql,
    ...table.byInputs.map(
      (name) => `select ${Object.values(table.by).map((by, i) => `(${by}) as k${i}`)} from ${name}`,
    ),
  ];
  for (const [i, sql] of texts.entries()) {
    const { refusals } = translate(await inspector.parse(sql), (name) => ({
      identifier: name,
      columns: known(columns(name)),
    }));
    for (const refusal of refusals)
      refuse(`${refusal.what}${i === 0 ? place(sql, refusal) : " in refresh.by"}`, refusal.instead);
  }
  if (found.length > 0) return found;
  try {
    const parse = (sql: string) => inspector.parse(sql);
    await sparkPlan(refreshProbe(table, columns), { parse, uri: ({ path }) => path });
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error;
    found.push(problemOf(error));
  }
  return found;
}

const EARLIER = "call it in a table that the embedded engine computes, and read that table here";

/** Asks the server to plan what a refresh computes. */
async function serverProblems(
  table: RefreshTable,
  project: Around,
  spark: SparkEngine | undefined,
): Promise<Problem[]> {
  if (spark === undefined) return [];
  try {
    await spark.describe(refreshProbe(table, columnsIn(project)));
    return [];
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error;
    // It went away meanwhile, which is no fault of the table.
    if (error.retryable) return [];
    const instead =
      table.spark === undefined
        ? "write it for Spark with `spark:` in the definition"
        : "correct its statement for Spark";
    return [problem("SPARK_DIALECT", { subject: `table "${table.name}"`, what: error.message, instead })];
  }
}

/** A server that answers in time; whether one does is told by readiness. */
async function reached(address: SparkAddress, inspector: SqlInspector): Promise<SparkEngine | undefined> {
  const { openSparkEngine } = await import("../engine/spark/spark-engine.ts");
  const parse = (sql: string) => inspector.parse(sql);
  const spark = openSparkEngine({ address, parse });
  try {
    await spark.ping(PING_TIMEOUT_MS);
    return spark;
  } catch (error) {
    await spark.close();
    if (error instanceof MillraceError) return undefined;
    throw error;
  }
}

function columnsIn({ streams, tables }: Around): (name: string) => readonly Column[] {
  return (name) => {
    const stream = streams.get(name);
    if (stream !== undefined) return [...stream.columns, ...META_COLUMNS];
    return tables.get(name)?.columns ?? BRONZE_COLUMNS;
  };
}

/** Where in its SQL, in lines and columns from 1. */
function place(sql: string, { position }: Refusal): string {
  if (position === undefined) return "";
  const lines = Buffer.from(sql).subarray(0, position).toString().split("\n");
  return ` (line ${lines.length}, column ${[...(lines.at(-1) ?? "")].length + 1} of its SQL)`;
}
