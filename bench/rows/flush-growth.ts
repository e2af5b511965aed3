import { linkSync } from "node:fs";
import { basename, join } from "node:path";
import type { DataFile } from "../../src/lake/delta-table.ts";
import { BenchFlow } from "../open-flow.ts";
import { withFolder } from "../processes.ts";
import { median, rounded } from "../quantities.ts";
import type { Measurement } from "../results.ts";
import { EVENT_BYTES } from "../telemetry.ts";

const FILES = 10_000;
const FILES_PER_COMMIT = 100;
const FLUSH_EVENTS = 60_000;
const FLUSHES = 7;
const TABLES = ["bronze.telemetry", "silver.telemetry"];

/**
 * Times flushes into tables of a few files, gives the tables 10 000 more, and times flushes again. Compaction, which would keep
 * a table from ever having so many small ones, is left out.
 */
export async function measure(_seconds: number): Promise<Measurement> {
  return withFolder(async (dir) => {
    const bench = await BenchFlow.open(dir);
    await bench.openFlow();
    preventCompaction(bench);
    try {
      await flushes(bench, 1);
      const few = await flushes(bench, FLUSHES);
      for (const table of TABLES) await grow(bench, table);
      const many = await flushes(bench, FLUSHES);
      for (const table of TABLES) {
        const { length } = bench.flow.lake.get(table).snapshot.files;
        if (length < FILES) throw new Error(`${table} has ${length} files: it was compacted while measured`);
      }
      const peers = { "the same flush into a table of one file": rounded(few) };
      return {
        figures: {
          growth: { value: rounded(many / few) },
          few: { value: rounded(few) },
          many: { value: rounded(many), peers },
        },
        conditions: {
          events: `${EVENT_BYTES} bytes`,
          batch: `${FLUSH_EVENTS} events a flush, into bronze and silver; ${FILES} files of ten rows were added to each, ${FILES_PER_COMMIT} a commit`,
          fsync: "of every data file and commit",
          time: `median of ${FLUSHES} flushes; the 1-file table has up to ${FLUSHES + 1}; nothing compacted`,
        },
      };
    } finally {
      await bench.close();
    }
  });
}

/** Milliseconds of the median flush. */
async function flushes(bench: BenchFlow, count: number): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    await bench.append(FLUSH_EVENTS);
    times.push(await bench.timedFlush());
  }
  return median(times);
}

/**
 * Commits so many further files, a few rows each. They are real and can be read, but only the first hundred are written: the others
 * are links to those, since a flush is concerned with a table's files and never with their rows.
 */
async function grow({ flow, engine, lakeRoot }: BenchFlow, name: string): Promise<void> {
  const table = flow.lake.get(name);
  const folder = join(lakeRoot, table.delta.location);
  const written = await engine.write(
    {
      sql: `select *, _offset // 10 as file from stored where _offset < ${FILES_PER_COMMIT * 10}`,
      inputs: new Map([["stored", flow.lake.relation(table)]]),
    },
    { partitionColumns: ["file"], path: async ({ file }) => join(folder, `small-${file}.parquet`) },
  );
  for (let commit = 0; commit < FILES / FILES_PER_COMMIT; commit++) {
    const add = written.map(({ path, sizeBytes, stats }): DataFile => {
      const linked = commit === 0 ? path : path.replace("small-", `small-${commit}-`);
      if (commit > 0) linkSync(path, linked);
      return { path: basename(linked), sizeBytes, modifiedAtMs: Date.now(), partition: {}, stats };
    });
    const { version } = table.snapshot;
    await flow.lake.commit(table, { operation: "FLUSH", readVersion: version, add });
  }
}

/** Keeps the flow from merging small files: what it would do is left undone, as if another commit always came first. */
function preventCompaction({ flow }: BenchFlow): void {
  const { lake } = flow;
  const write = lake.write.bind(lake);
  const commit = lake.commit.bind(lake);
  lake.write = async (table, statement, options) =>
    statement.sql === "select * from files" ? [] : write(table, statement, options);
  lake.commit = async (table, request) =>
    request.operation === "COMPACT"
      ? { kind: "conflict", reason: "removed", version: table.snapshot.version }
      : commit(table, request);
}
