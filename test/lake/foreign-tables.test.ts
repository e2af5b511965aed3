import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { zstdDecompressSync } from "node:zlib";
import { parquetMetadata } from "hyparquet";
import { MillraceError } from "../../src/errors.ts";
import type { DataFile, Snapshot } from "../../src/lake/delta-table.ts";
import { openFsStore } from "../../src/lake/fs-store.ts";
import type { ObjectStore } from "../../src/lake/object-store.ts";
import { openDeltaTable } from "../../src/lake/open-delta-table.ts";
import { unpackTar } from "./unpack-tar.ts";

const CORPUS = join(import.meta.dirname, "../../../shared/data/delta-rs");

const SHORT = /^(?:crates\/)?(?:test\/tests\/data|core\/tests(?=\/data_err_logs))\//;

/**
 * What each table of the corpus must come to: read (version, live files, and rows: those in its data files, or where the
 * corpus has none those the log tells of), or refused with the features named, or found damaged. Versions, files and rows are
 * those that delta-rs 1.6.6 gives.
 */
type Outcome =
  | { version: number; files: number; rows?: number; inLog?: number }
  | { refused: readonly string[] }
  | { corrupt: RegExp };

const EXPECTED: Readonly<Record<string, Outcome>> = {
  "data_err_logs/table_a": { version: 13, files: 130, inLog: 130 },
  "data_err_logs/table_b": { version: 13, files: 130, inLog: 130 },
  "data_err_logs/table_c": { corrupt: /00000000000000000012\.json is missing/ },
  "data_err_logs/table_d": { refused: ["catalogOwned"] },
  "data_err_logs/table_e": { refused: ["catalogOwned"] },
  "data_err_logs/table_f": { refused: ["catalogOwned"] },
  "data_err_logs/table_g": { version: 9999, files: 100, inLog: 100 },
  "data_err_logs/table_h": { refused: ["catalogOwned"] },
  "data_err_logs/table_i": { refused: ["catalogOwned"] },
  "COVID-19_NYT": { version: 0, files: 8, rows: 1111930 },
  cdc_ict_table: { version: 3, files: 2, rows: 2 },
  "cdf-table": { version: 3, files: 9, rows: 9 },
  "cdf-table-non-partitioned": { version: 4, files: 11, rows: 11 },
  "cdf-table-with-cdc-and-dvs": { refused: ["deletionVectors"] },
  "checkpoint-cdf-table": { version: 5, files: 13, rows: 13 },
  "checkpoint-v2-table": { version: 9, files: 8, rows: 44 },
  checkpoint_with_partitions: { version: 2, files: 2 },
  checkpoints: { version: 12, files: 12, inLog: 12 },
  checkpoints_vacuumed: { version: 12, files: 12, inLog: 12 },
  concurrent_workers: { version: 0, files: 0, rows: 0 },
  "delta-0.2.0": { version: 3, files: 3, rows: 6 },
  "delta-0.8-empty": { version: 1, files: 0, rows: 0 },
  "delta-0.8.0": { version: 1, files: 2, rows: 4 },
  "delta-0.8.0-date": { version: 0, files: 1, rows: 5 },
  "delta-0.8.0-null-partition": { version: 0, files: 2, rows: 2 },
  "delta-0.8.0-numeric-partition": { version: 0, files: 2, rows: 2 },
  "delta-0.8.0-partitioned": { version: 0, files: 6, rows: 7 },
  "delta-0.8.0-special-partition": { version: 0, files: 2, rows: 2 },
  "delta-1.2.1-only-struct-stats": { version: 12, files: 12, rows: 12 },
  "delta-2.2.0-partitioned-types": { version: 0, files: 3, rows: 3 },
  "delta-checkpoint-stats-optional": { version: 2, files: 2, rows: 2 },
  "delta-live-table": { version: 1, files: 0, rows: 0 },
  "delta-stats-optional": { version: 2, files: 2, rows: 2 },
  "golden/data-reader-array-primitives": { version: 0, files: 2, rows: 10 },
  http_requests: { version: 1, files: 2, rows: 1581 },
  "issue-2152": { version: 0, files: 0, rows: 0 },
  issue_1374: { version: 1, files: 2, rows: 20 },
  latest_not_checkpointed: { version: 3, files: 1, inLog: 5 },
  "partition-type-primitives": { version: 0, files: 16, rows: 16 },
  "python-0.25.5-checkpoint": { version: 1, files: 2, rows: 6 },
  simple_commit: { version: 0, files: 0, rows: 0 },
  simple_table: { version: 4, files: 5, rows: 3 },
  simple_table_features: { refused: ["blahabl", "reader version 5"] },
  simple_table_with_cdc: { version: 2, files: 1, rows: 1 },
  simple_table_with_checkpoint: { version: 10, files: 11, rows: 11 },
  "spark-shredded-variant-preview-delta": { refused: ["variantShredding-preview", "variantType"] },
  "spark-variant-checkpoint": { refused: ["variantType-preview"] },
  "spark-variant-stable-feature-checkpoint": { refused: ["variantType"] },
  "table-with-domain-metadata": { version: 108, files: 109, inLog: 436 },
  "table-with-dv-small": { refused: ["deletionVectors"] },
  "table-without-dv-small": { version: 0, files: 1, rows: 10 },
  table_failed_last_checkpoint_update: { version: 3, files: 4, rows: 20 },
  table_with_column_mapping: { refused: ["columnMapping"] },
  table_with_deletion_logs: { refused: ["deletionVectors"] },
  table_with_edge_timestamps: { version: 0, files: 2, rows: 2 },
  table_with_liquid_clustering: { version: 0, files: 10, rows: 10 },
  table_with_null_stats_in_notnull_struct: { version: 1, files: 2, rows: 2 },
  table_with_partitioning_mapping: { refused: ["columnMapping"] },
  with_checkpoint_no_last_checkpoint: { version: 3, files: 1, inLog: 5 },
};

if (existsSync(CORPUS)) describe("tables of other writers", tablesOfOthers);
else console.log(`tables of other writers: the corpus is not at ${CORPUS}, so none of them was read`);

function tablesOfOthers(): void {
  let folder = "";
  let store: ObjectStore;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "millrace-corpus-"));
    await unpackTar(zstdDecompressSync(await readFile(join(CORPUS, "tables.tar.zst"))), folder);
    store = await openFsStore(folder);
  });
  after(() => rm(folder, { recursive: true, force: true }));

  test("the corpus holds the tables listed here and no others", async () => {
    const logs = (await readdir(folder, { recursive: true, withFileTypes: true })).filter(
      (e) => e.name === "_delta_log",
    );
    const names = logs.map((e) => shortName(e.parentPath.slice(folder.length + 1)));
    assert.deepEqual(names.sort(), Object.keys(EXPECTED).sort());
    assert.equal(names.length, 59);
  });

  for (const [name, outcome] of Object.entries(EXPECTED)) {
    test(`${name} is ${"version" in outcome ? "read" : "refused" in outcome ? "refused" : "found damaged"}`, async () => {
      const table = openDeltaTable(store, location(name));
      if ("version" in outcome) return checkRead((await table.snapshot())!, outcome, name);
      await assert.rejects(table.snapshot(), (error) => {
        assert.ok(error instanceof MillraceError);
        if ("corrupt" in outcome) return error.code === "DELTA_CORRUPT" && outcome.corrupt.test(error.message);
        assert.equal(error.code, "DELTA_FEATURE_UNSUPPORTED");
        assert.deepEqual(error.details, { features: outcome.refused });
        return outcome.refused.every((feature) => error.message.includes(feature));
      });
    });
  }

  test("where the whole log is there, the live files are those added less those removed", async () => {
    const lines = (await readFile(join(CORPUS, "FEATURES.tsv"), "utf8")).trim().split("\n").slice(1);
    let checked = 0;
    for (const line of lines) {
      const [path = "", , , , , checkpoints, actions = ""] = line.split("\t");
      const name = shortName(path.replace("delta-rs/", ""));
      const outcome = EXPECTED[name];
      assert.ok(outcome, path);
      if (!("version" in outcome) || checkpoints !== "0") continue;
      const count = (action: string) => Number(new RegExp(`'${action}': (\\d+)`).exec(actions)?.[1] ?? 0);
      assert.equal(outcome.files, count("add") - count("remove"), name);
      checked++;
    }
    assert.ok(checked >= 25, `${checked} tables`);
  });

  test("a table whose newest version uses a feature can be read as of a version that does not", async () => {
    const table = openDeltaTable(store, location("table-with-dv-small"));
    const before = await table.snapshot({ version: 0 });
    assert.equal(before?.files.length, 1);
    assert.equal(await rowsIn(before, "table-with-dv-small"), 10);
  });

  test("partition values are what they were, however their paths are encoded", async () => {
    const values = async (name: string) =>
      (await openDeltaTable(store, location(name)).snapshot())!.files
        .map((f) => Object.values(f.partition).join())
        .sort();
    assert.deepEqual(await values("delta-0.8.0-special-partition"), ["A/A", "B B"]);
    assert.deepEqual(await values("delta-0.8.0-null-partition"), ["", "A"]);
    assert.deepEqual(await values("delta-2.2.0-partitioned-types"), ["4,c", "5,b", "6,a"]);
  });

  test("statistics that a checkpoint holds as structs only are read", async () => {
    const snapshot = await openDeltaTable(store, location("delta-1.2.1-only-struct-stats")).snapshot();
    for (const file of snapshot!.files) {
      assert.equal(file.stats?.rowCount, 1);
      assert.equal(typeof file.stats.min["integer"], "number");
    }
  });

  test("a table that asks for more than writer 2 is not written, and one that does not is", async () => {
    const file: DataFile = { path: "ours.parquet", sizeBytes: 1, modifiedAtMs: 0, partition: {}, stats: undefined };
    for (const [name, feature] of [
      ["cdf-table", "writer version 4"],
      ["checkpoint-v2-table", "identityColumns"],
    ] as const) {
      const table = openDeltaTable(store, location(name));
      const readVersion = (await table.snapshot())!.version;
      await assert.rejects(
        table.commit({ operation: "W", readVersion, add: [{ ...file, partition: { birthday: null } }] }),
        (e) => e instanceof MillraceError && e.code === "DELTA_FEATURE_UNSUPPORTED" && e.message.includes(feature),
      );
    }
    const table = openDeltaTable(store, location("simple_table_with_checkpoint"), { checkpointInterval: 1 });
    assert.deepEqual(await table.commit({ operation: "W", readVersion: 10, add: [file] }), {
      kind: "committed",
      version: 11,
    });
    await table.close();
    const again = await openDeltaTable(store, location("simple_table_with_checkpoint")).snapshot();
    assert.equal(again?.files.length, 12);
  });

  async function checkRead(
    snapshot: Snapshot,
    outcome: Extract<Outcome, { version: number }>,
    name: string,
  ): Promise<void> {
    assert.equal(snapshot.version, outcome.version);
    assert.equal(snapshot.files.length, outcome.files);
    assert.ok(snapshot.columns.length > 0);
    assert.ok(snapshot.partitionColumns.every((column) => snapshot.columns.some((c) => c.name === column)));
    for (const file of snapshot.files)
      assert.deepEqual(Object.keys(file.partition).sort(), [...snapshot.partitionColumns].sort());
    if (outcome.rows !== undefined) assert.equal(await rowsIn(snapshot, name), outcome.rows);
    if (outcome.inLog !== undefined)
      assert.equal(
        snapshot.files.reduce((sum, f) => sum + f.stats!.rowCount, 0),
        outcome.inLog,
      );
  }

  async function rowsIn(snapshot: Snapshot, name: string): Promise<number> {
    let rows = 0;
    for (const file of snapshot.files) {
      const bytes = await store.get(`${location(name)}/${file.path}`);
      rows += Number(parquetMetadata(new Uint8Array(bytes).buffer).num_rows);
    }
    return rows;
  }
}

function shortName(path: string): string {
  return path.replace(SHORT, "");
}

function location(name: string): string {
  return name.startsWith("data_err_logs/") ? `crates/core/tests/${name}` : `crates/test/tests/data/${name}`;
}
