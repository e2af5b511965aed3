import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { drive } from "../../../examples/fleet/simulator/drive.ts";
import { traffic } from "../../../examples/securecart/simulator/traffic.ts";
import type { SentEvent } from "../../../examples/simulation/sent-event.ts";
import type { LedgerAnswer } from "../../../src/cli/ledger.ts";
import { loadProject } from "../../../src/define/load-project.ts";
import { type Column, META_COLUMNS, type Project, type Stream, type Table } from "../../../src/define/project.ts";
import { duckdbType } from "../../../src/define/types.ts";
import { type DuckdbEngine, openDuckdbEngine } from "../../../src/engine/duckdb-engine.ts";
import { openDuckdbInspector } from "../../../src/engine/duckdb-inspector.ts";
import { parseSparkUrl } from "../../../src/engine/spark/spark-address.ts";
import { openSparkEngine, type SparkEngine } from "../../../src/engine/spark/spark-engine.ts";
import { localSparkFiles } from "../../../src/engine/spark/spark-files.ts";
import type { Relation, SqlEngine, Statement } from "../../../src/engine/sql-engine.ts";
import { parseBronze, sourceTable } from "../../../src/flow/relations.ts";
import { openFsStore } from "../../../src/lake/fs-store.ts";
import { openDeltaTable } from "../../../src/lake/open-delta-table.ts";
import { temporaryFolder } from "../../flow/open-flow.ts";
import { RunningPlatform } from "../../platform/running-platform.ts";
import { difference } from "./same-rows.ts";
import { sparkUrl } from "./server.ts";

/*
 * The law: every table of the examples has the same rows whichever engine computes it, over what a platform has really stored.
 */
const EXAMPLES = resolve(import.meta.dirname, "../../../examples");
const DATA = resolve(import.meta.dirname, "../../../../shared/data");
const NOW = "2026-01-15T14:30:00Z";

/** Tables that the platform itself makes, by what only the embedded engine has; no definition can send them to Spark. */
const PLATFORMS_OWN = /^(silver\.app|app\.\w+|silver\.visits(_people|_events)?)$/;

const JOURNEY = [
  "transactions",
  "products",
  "demographics",
  "campaigns",
  "campaign_descriptions",
  "coupons",
  "coupon_redemptions",
  "promotions",
];

const sources: Readonly<Record<string, (platform: RunningPlatform) => Promise<void>>> = {
  fleet: (platform) => {
    const { opening, events } = drive({ seed: 7, nowMs: Date.parse(NOW), vehicles: 20, hertz: 1, historyHours: 12 });
    return send(platform, [...opening, ...events.take(35_000)]);
  },
  securecart: async (platform) => {
    const { opening, events } = traffic({ seed: 7, nowMs: Date.parse(NOW), rate: 300, historyDays: 7 });
    await send(platform, [...opening, ...events.take(40_000)]);
  },
  timesheets: (platform) =>
    simulate(platform, "timesheets", ["--people", "300", "--history", "21", "--seed", "5", "--for", "2s"]),
};

for (const [name, fill] of Object.entries(sources)) law(name, fill);

const real = join(DATA, "completejourney");
describe("the law over real data", { skip: existsSync(real) ? false : `needs ${real}` }, () => {
  law("completejourney", async (platform) => {
    for (const stream of JOURNEY) {
      const file = ["", "_sample"].map((end) => join(real, `${stream}${end}.csv.zst`)).find((path) => existsSync(path));
      if (file === undefined) throw new Error(`no file of ${stream} in ${real}`);
      const { code, stderr } = await platform.command("import", stream, file, "--null", "NA");
      assert.equal(code, 0, stderr);
    }
  });
});

function law(example: string, fill: (platform: RunningPlatform) => Promise<void>): void {
  describe(`the tables of ${example}`, () => {
    let dir: Awaited<ReturnType<typeof temporaryFolder>>;
    let world: World;
    before(async () => {
      dir = await temporaryFolder();
      const data = join(dir.path, "data");
      const platform = await RunningPlatform.start(`examples/${example}`, data, ["--bi-port", "0"]);
      try {
        await fill(platform);
        await settled(platform);
      } finally {
        await platform.stop();
      }
      world = await World.open(join(EXAMPLES, example), data);
    });
    after(async () => {
      await world?.close();
      await dir?.[Symbol.asyncDispose]();
    });

    test("have the same rows on DuckDB and on Spark", async (t) => {
      const compared: string[] = [];
      for (const table of world.project.tables.values()) {
        if (PLATFORMS_OWN.test(table.name)) continue;
        await t.test(table.name, async () => {
          const statement = await world.statement(table);
          const [ofDuckdb, ofSpark] = [
            await world.computed(world.duckdb, statement, table),
            await world.computed(world.spark, statement, table),
          ];
          assert.ok(ofDuckdb.length > 0 || EMPTY.has(table.name), "no rows to compare");
          assert.equal(difference(ofDuckdb, ofSpark), undefined);
        });
        compared.push(table.name);
      }
      assert.ok(compared.length >= 6, compared.join(", "));
    });
  });
}

/** Tables of streams that nobody sends to. */
const EMPTY = new Set<string>(["silver.till_export"]);

/** What a platform has stored, as inputs of either engine. */
class World {
  readonly project: Project;
  readonly duckdb: DuckdbEngine;
  readonly spark: SparkEngine;
  readonly #dir: string;
  readonly #relations = new Map<string, Relation>();
  #files = 0;

  private constructor(project: Project, duckdb: DuckdbEngine, spark: SparkEngine, dir: string) {
    this.project = project;
    this.duckdb = duckdb;
    this.spark = spark;
    this.#dir = dir;
  }

  static async open(projectDir: string, dataDir: string): Promise<World> {
    const inspector = await openDuckdbInspector();
    const project = await loadProject(projectDir, inspector).finally(() => inspector.close());
    const duckdb = await openDuckdbEngine({
      memoryBytes: 512 * 2 ** 20,
      threads: 2,
      tempDir: join(dataDir, "tmp"),
      allowedDirs: [dataDir],
    });
    const address = parseSparkUrl(await sparkUrl());
    assert.ok(typeof address === "object");
    const parse = (sql: string) => duckdb.inspector.parse(sql);
    const spark = openSparkEngine({
      address,
      parse,
      writing: { local: duckdb.local, files: await localSparkFiles(join(dataDir, "spark")) },
    });
    return new World(project, duckdb, spark, dataDir);
  }

  async close(): Promise<void> {
    await this.spark.close();
    await this.duckdb.close();
  }

  async statement(table: Table): Promise<Statement> {
    const inputs = new Map<string, Relation>();
    for (const name of table.inputs) inputs.set(name, await this.#relation(name));
    return { sql: table.sql, inputs };
  }

  /** The rows that an engine writes, as the embedded one reads them back: so what is compared is what would be stored. */
  async computed(engine: SqlEngine, statement: Statement, table: Table): Promise<unknown[][]> {
    const generated = Object.entries(table.partitionBy).filter(([name, expression]) => name !== expression);
    const given = table.columns.filter(
      ({ name }) => !generated.some(([made]) => made === name) && !ROW_COLUMNS.includes(name),
    );
    const cast: Statement = {
      sql: `select ${given.map(({ name, type }) => `cast("${name}" as ${duckdbType(type)}) as "${name}"`).join(", ")} from given`,
      inputs: new Map([["given", { kind: "view", statement }]]),
    };
    const written = await engine.write(cast, {
      path: async () => join(this.#dir, "law", `${engine.name}-${this.#files++}.parquet`),
    });
    const back: Statement = {
      sql: "select * from t",
      inputs: new Map([["t", { kind: "files", columns: given, files: written }]]),
    };
    const rows: unknown[][] = [];
    for await (const batch of (await this.duckdb.query(back)).batches) rows.push(...batch);
    return rows;
  }

  async #relation(name: string): Promise<Relation> {
    const before = this.#relations.get(name);
    if (before !== undefined) return before;
    const source = sourceTable(this.project, name);
    const stored = await this.#stored(source);
    const stream = this.project.streams.get(name);
    const relation = stream !== undefined && source === `bronze.${name}` ? await this.#events(stream, stored) : stored;
    this.#relations.set(name, relation);
    return relation;
  }

  async #stored(name: string): Promise<Relation> {
    const store = await openFsStore(join(this.#dir, "lake"));
    const location = name.replace(".", "/");
    const snapshot = await openDeltaTable(store, location, { clock: Date.now }).snapshot();
    assert.ok(snapshot, name);
    const files = snapshot.files.map(({ path, partition, stats }) => ({
      path: join(this.#dir, "lake", location, path),
      partition,
      rowCount: stats?.rowCount,
    }));
    return { kind: "files", columns: snapshot.columns, files };
  }

  /** A stream's events, parsed by the embedded engine, as files: neither engine parses them anew. */
  async #events(stream: Stream, bronze: Relation): Promise<Relation> {
    const files = await this.duckdb.write(parseBronze(stream, bronze), {
      path: async () => join(this.#dir, "law", `${stream.name}.parquet`),
    });
    const columns: Column[] = [...stream.columns, ...META_COLUMNS];
    return { kind: "files", columns, files };
  }
}

const ROW_COLUMNS = ["_partition", "_offset"];

async function send(platform: RunningPlatform, events: readonly SentEvent[]): Promise<void> {
  for (const [stream, all] of Map.groupBy(events, (event) => event.stream)) {
    for (let i = 0; i < all.length; i += 2_000) {
      const { status } = await platform.post(stream, all.slice(i, i + 2_000).map(({ line }) => line)); // biome-ignore format: one request
      assert.ok(status === 202 || status === 422);
    }
  }
}

async function simulate(platform: RunningPlatform, example: string, args: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, [join(EXAMPLES, example, "simulator.ts"), ...args, "--now", NOW, "--json"], {
    env: { ...process.env, MILLRACE_URL: platform.url, MILLRACE_KEY: platform.key },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, "close")]);
  assert.equal(code, 0, stderr);
}

/** Waits until everything is stored, and computes what combines rows. */
async function settled(platform: RunningPlatform): Promise<void> {
  for (let tries = 0; ; tries++) {
    const { body } = await platform.get<LedgerAnswer>("/v1/ledger");
    if (!body.hops.some(({ pending }) => pending > 0)) break;
    assert.ok(tries < 300, "events stay pending");
    await sleep(200);
  }
  const { body } = await platform.get<{ tables: { name: string; mode?: string }[] }>("/v1/tables");
  for (const { name } of body.tables) {
    if (!name.startsWith("gold.") && !name.startsWith("silver.visits")) continue;
    const { code, stderr } = await platform.command("refresh", name);
    assert.equal(code, 0, `${name}: ${stderr}`);
  }
}
