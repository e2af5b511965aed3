import { chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";
import type pg from "pg";
import type { Column } from "../../src/define/project.ts";
import { openDuckdbEngine } from "../../src/engine/duckdb-engine.ts";
import type { Relation, SqlEngine } from "../../src/engine/sql-engine.ts";
import { prepareServing, publish, type ServedTable } from "../../src/serve/publication.ts";
import { connectTo, type EmbeddedPostgres, startEmbeddedPostgres } from "../../src/state/embedded-postgres.ts";
import { withFolder } from "../processes.ts";
import { rounded } from "../quantities.ts";
import type { Measurement } from "../results.ts";

const ROWS = 1_000_000;
const FILES = 10;
const CHANGED = ROWS / 100;

const COLUMNS: readonly Column[] = [
  { name: "order_id", type: { kind: "long" }, nullable: false },
  { name: "customer", type: { kind: "string" }, nullable: false },
  { name: "country", type: { kind: "string" }, nullable: false },
  { name: "amount", type: { kind: "decimal", precision: 18, scale: 2 }, nullable: false },
  { name: "placed_at", type: { kind: "timestamp" }, nullable: false },
  { name: "share", type: { kind: "double" }, nullable: true },
];
const PEER = "the server's own COPY of the same rows from a file of its own, key and index made afterwards";

/** Publishes a table from its files, first whole and then with one row in a hundred changed. */
export async function measure(_seconds: number): Promise<Measurement> {
  return withFolder(async (dir) => {
    await chmod(dir, 0o755);
    const engine = await openDuckdbEngine({
      memoryBytes: 512 * 1024 * 1024,
      threads: 2,
      tempDir: join(dir, "tmp"),
      allowedDirs: [dir],
    });
    const server = await startEmbeddedPostgres({ folder: join(dir, "postgres") });
    const client = await connectTo(server.connection);
    try {
      await prepareServing(client);
      return await measured(dir, engine, server, client);
    } finally {
      await client.end();
      await server.stop();
      await engine.close();
    }
  });
}

async function measured(
  dir: string,
  engine: SqlEngine,
  server: EmbeddedPostgres,
  client: pg.Client,
): Promise<Measurement> {
  const write = (name: string, sql: string) => writeFile(dir, engine, name, sql);
  const before = await Promise.all(
    Array.from({ length: FILES }, (_, i) =>
      write(`before-${i}`, rowsSql(`range(${(i * ROWS) / FILES}, ${((i + 1) * ROWS) / FILES})`, "0")),
    ),
  );
  const publishing = async (
    version: number,
    files: readonly string[],
    removed: readonly string[],
    added: readonly string[],
  ) => {
    const table: ServedTable = {
      name: "gold.orders",
      serving: { schema: "gold", key: ["order_id"], indexes: [["customer"]], comment: "Orders", comments: {} },
      newest: () => ({
        ...{ version, tableId: "bench", committedAtMs: Date.now(), columns: COLUMNS, rows: ROWS },
        relation: relation(files),
      }),
      changes: async () => ({ added: relation(added), removed: relation(removed) }),
    };
    const startedMs = performance.now();
    const outcome = await publish(table, {
      ...{ client, engine, refuse: async () => undefined, signal: new AbortController().signal },
    });
    const seconds = (performance.now() - startedMs) / 1000;
    return { seconds, kind: outcome.kind, written: outcome.written };
  };

  const all = await publishing(0, before, [], before);
  const peer = await bareCopy(server, client);
  // A refresh rewrites the parts that new rows touch: here one file of its rows.
  const part = await write("part-old", `select * from (${rowsSql(`range(0, ${CHANGED})`, "0")})`);
  const rest = await write("part-rest", rowsSql(`range(${CHANGED}, ${ROWS / FILES})`, "0"));
  const partNew = await write("part-new", rowsSql(`range(0, ${CHANGED})`, "1"));
  const split = [part, rest, ...before.slice(1)];
  const change = await publishing(1, [partNew, ...split.slice(1)], [part], [partNew]);
  // Changes of single keys rewrite every file that holds one.
  const after = await Promise.all(
    Array.from({ length: FILES }, (_, i) => {
      const [from, to] = [(i * ROWS) / FILES, ((i + 1) * ROWS) / FILES];
      return write(
        `after-${i}`,
        rowsSql(`range(${from}, ${to})`, `case when i % 100 = 7 then 2 when i < ${CHANGED} then 1 else 0 end`),
      );
    }),
  );
  const spread = await publishing(2, after, [partNew, ...split.slice(1)], after);
  const told = [all.kind, change.kind, change.written, spread.kind, spread.written].join();
  const right = ["anew", "changes", 2 * CHANGED, "changes", 2 * CHANGED].join();
  if (told !== right) throw new Error(`published ${told}, and not ${right}`);
  const { rows } = await client.query("select count(*)::int as rows, sum(share)::int as changed from gold.orders");
  if (rows[0].rows !== ROWS || rows[0].changed !== 2 * CHANGED + (CHANGED - CHANGED / 100))
    throw new Error(`PostgreSQL has ${JSON.stringify(rows)}`);
  return {
    figures: {
      all: { value: rounded(all.seconds), peers: { [PEER]: rounded(peer) } },
      change: { value: rounded(change.seconds), peers: { [PEER]: rounded(peer) } },
      spread: { value: rounded(spread.seconds), peers: { [PEER]: rounded(peer) } },
    },
    conditions: {
      events: `${ROWS} rows of six columns, some 50 bytes each, in ${FILES} files; a primary key and an index`,
      changes: `${CHANGED} rows`,
      fsync: "by the embedded server, before the commit is answered",
    },
  };
}

/** `share` says which change made a row. */
function rowsSql(range: string, share: string): string {
  return `select i as order_id, 'customer ' || (i * 7919 % 50000) as customer, chr((65 + i % 26)::integer) || 'X' as country,
    (i % 100000 * 1.25)::decimal(18, 2) as amount, make_timestamptz(1700000000000000 + i * 1000000) as placed_at,
    (${share})::double as share from ${range} t(i)`;
}

async function writeFile(dir: string, engine: SqlEngine, name: string, sql: string): Promise<string> {
  await mkdir(join(dir, "lake"), { recursive: true });
  const path = join(dir, "lake", `${name}.parquet`);
  await engine.write({ sql, inputs: new Map() }, { path: async () => path });
  return path;
}

function relation(paths: readonly string[]): Relation {
  return { kind: "files", columns: COLUMNS, files: paths.map((path) => ({ path, partition: {} })) };
}

/** Seconds that the server alone needs for the same table. */
async function bareCopy({ connection }: EmbeddedPostgres, client: pg.Client): Promise<number> {
  const { rows } = await client.query("select current_setting('data_directory') as dir");
  const file = `${rows[0].dir}/peer-${connection.port}.copy`;
  await client.query(`copy gold.orders to '${file}'`);
  const startedMs = performance.now();
  await client.query("begin");
  await client.query("create table peer (like gold.orders)");
  await client.query(`copy peer from '${file}' with (freeze)`);
  await client.query("alter table peer add primary key (order_id)");
  await client.query("create index on peer (customer)");
  await client.query("analyze peer");
  await client.query("commit");
  return (performance.now() - startedMs) / 1000;
}
