/** Features in the thread of reactions, over the real log and the real tables. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DuckDBInstance } from "@duckdb/node-api";
import { nodeFs } from "../../src/log/file-system.ts";
import { partitionOf } from "../../src/log/partitioner.ts";
import { contractDoor } from "../../src/platform/contract-door.ts";
import { featurePlans, featureReads } from "../../src/platform/features.ts";
import { FileCheckpoints } from "../../src/react/checkpoint-file.ts";
import { Reactor } from "../../src/react/reactor.ts";
import { openFlow, temporaryFolder } from "../flow/open-flow.ts";

const RETAIL = join(import.meta.dirname, "../../../shared/data/online-retail/online_retail.csv.zst");
const LINES = 8_000;
const BATCH = 100;
const HOUR = 3_600_000;

interface Line {
  readonly line_no: number;
  readonly customer_id: string | null;
  readonly ordered_at: string;
}

async function realLines(): Promise<Line[]> {
  const duckdb = await (await DuckDBInstance.create(":memory:")).connect();
  const reader =
    await duckdb.runAndReadAll(`select row_number() over () as line_no, InvoiceNo as invoice, StockCode as stock_code,
      Quantity::int as quantity, (Quantity::decimal(14,3) * UnitPrice::decimal(10,3))::decimal(14,3)::varchar as amount,
      CustomerID as customer_id, Country as country, strftime(InvoiceDate::timestamp, '%Y-%m-%dT%H:%M:%SZ') as ordered_at
    from read_csv('${RETAIL}', all_varchar = true) limit ${LINES}`);
  const lines = reader.getRowObjectsJson().map((row) => ({ ...row, line_no: Number(row["line_no"]) }));
  duckdb.closeSync();
  return lines as unknown as Line[];
}

/** Always the same numbers. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** In the order of arrival: some hours late, some lines twice, an hour apart or days. */
function arrivals(lines: readonly Line[], next: () => number): { atMs: number; line: Line }[] {
  const all = lines.flatMap((line) => {
    const orderedMs = Date.parse(line.ordered_at);
    const lateMs = next() < 0.2 ? next() * 30 * HOUR : next() * 1000;
    const first = { atMs: Math.round(orderedMs + lateMs), line };
    if (next() > 0.05) return [first];
    // Whoever sends again may say another time, and means the same line.
    const again = next() < 0.5 ? line : { ...line, ordered_at: new Date(orderedMs + HOUR).toISOString() };
    return [first, { atMs: first.atMs + Math.round(next() * (next() < 0.5 ? 1000 : 48 * HOUR)), line: again }];
  });
  return all.sort((a, b) => a.atMs - b.atMs);
}

if (!existsSync(RETAIL)) console.log(`${RETAIL} is not here: features of the real shop are not tested in this run`);
else {
  test("at every line of a real shop, late and repeated ones among them, each feature is online what it is in SQL, through every restart", async () => {
    await using dir = await temporaryFolder();
    let nowMs = Date.UTC(2010, 10, 30);
    const next = random(7);
    await using flow = await openFlow(dir.path, { project: "../../react/projects/shop-features", clock: () => nowMs });
    const { project, log } = flow;
    const partitions = (stream: string) => log.partitions(stream);
    const reports: unknown[] = [];
    let reactor: Reactor | undefined;
    await using _closing = { [Symbol.asyncDispose]: async () => reactor?.close() };
    const open = () =>
      Reactor.open({
        ...{ project, log, streams: project.streams, plans: featurePlans(project, partitions) },
        repetitions: (stream, partition, run) => flow.flow.repetitions(stream, partition, run),
        checkpoints: new FileCheckpoints(nodeFs, join(dir.path, "react")),
        admit: contractDoor({
          streams: project.streams,
          log,
          partitionOf,
          limits: { maxEventBytes: 1 << 20 } as never,
        }),
        deadLetters: async (letters) => void reports.push(...letters),
        report: (error) => void reports.push(error),
        kinds: new URL("./feature-probes.ts", import.meta.url).href,
        ...{ clock: () => nowMs, checkpointMs: 50, drainMs: 0 },
      });
    reactor = await open();
    const sent = arrivals(await realLines(), next);
    for (let at = 0; at < sent.length; at += BATCH) {
      const batch = sent.slice(at, at + BATCH);
      nowMs = batch.at(-1)!.atMs;
      for (const partition of [0, 1]) {
        const lines = batch.filter(
          ({ line }) => partitionOf(line.customer_id ?? String(line.line_no), 2) === partition,
        );
        const payload = Buffer.from(lines.map(({ line }) => `${JSON.stringify(line)}\n`).join(""));
        if (lines.length > 0) await log.append("lines", partition, { payload, count: lines.length, source: "test" });
      }
      if (next() < 0.06) await flow.flow.flush(["lines"]);
      if (next() < 0.12) {
        await reactor.close();
        reactor = await open();
      }
    }
    for (const partition of [0, 1]) await reactor.applied("lines", partition, log.ends("lines", partition).end - 1);
    assert.deepEqual(reports, []);

    const told = new Map<string, unknown>();
    for (
      let from = 0, run = await log.read("values", 0, 0, 1 << 20);
      run;
      run = await log.read("values", 0, from, 1 << 20)
    ) {
      from = run.to + 1;
      for (const line of Buffer.from(run.bytes).toString().trimEnd().split("\n")) {
        const { feature, partition, offset, value } = JSON.parse(line) as Record<string, string>;
        const place = `${feature} ${partition} ${offset}`;
        assert.ok(!told.has(place), `${place} is told twice`);
        told.set(place, value);
      }
    }
    let compared = 0;
    for (const { name } of project.features.values()) {
      const rows = await flow.query(`select _partition, _offset, ${name} from features.${name}`, [`features.${name}`]);
      for (const [partition, offset, value] of rows) {
        assert.equal(told.get(`${name} ${partition} ${offset}`), value, `${name} at ${partition}/${offset}`);
        compared++;
      }
    }
    assert.equal(compared, told.size);
    assert.equal(compared, LINES * project.features.size);

    // And as a model would ask for it: all keys at once, as of now.
    const reads = featureReads({
      project,
      partitions,
      partitionOf,
      clock: () => nowMs,
      read: (name, partition, request) => (reactor as Reactor).read(name, request, partition),
    });
    const keys = (
      await flow.query("select distinct customer_id from lines where customer_id is not null order by 1", ["lines"])
    ).map(([key]) => key as string);
    const names = [...project.features.keys()];
    const { rows } = await reads.read(
      names,
      keys.map((customer_id) => ({ customer_id })),
      undefined,
    );
    const labels = `select customer_id, make_timestamptz(${nowMs * 1000}) as asked from (select distinct customer_id from lines where customer_id is not null)`;
    for (const [i, name] of names.entries()) {
      const sql = reads.sql(name, { table: "asked", key: "customer_id", time: "asked", known: "arrival" });
      const offline = await flow.query(
        `with asked as (${labels}) select customer_id, ${name} from (${sql}) order by 1`,
        ["lines"],
      );
      assert.deepEqual(
        offline,
        keys.map((key, row) => [key, rows[row]![i]]),
      );
    }
  });
}
