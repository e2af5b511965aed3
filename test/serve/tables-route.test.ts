import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { MillraceError } from "../../src/errors.ts";
import type { Catalogue, TableDetails, TableSummary } from "../../src/serve/catalogue.ts";
import { tablesRoute } from "../../src/serve/tables-route.ts";
import { openServer } from "./open-server.ts";

const SUMMARY: TableSummary = {
  name: "gold.sales_daily",
  kind: "table",
  mode: "refresh",
  version: 3,
  rows: 12,
  sizeBytes: 4096,
  freshnessMs: 900_000,
  freshAtMs: 1_704_067_200_000,
};
const DETAILS: TableDetails = {
  ...SUMMARY,
  columns: [
    { name: "day", type: { kind: "date" }, nullable: false },
    { name: "revenue", type: { kind: "decimal", precision: 18, scale: 2 }, nullable: true },
  ],
  partitionColumns: ["day"],
  reason: "it groups rows",
  sql: "select 1",
  checks: { positive: "revenue >= 0" },
  lineage: { inputs: ["silver.orders"], readers: [] },
  history: [
    { version: 3, timestampMs: 1_704_067_200_000, operation: "REFRESH", addedFiles: 1, removedFiles: 1, addedRows: 12 },
  ],
  files: [
    {
      path: "day=2024-01-01/a.parquet",
      sizeBytes: 4096,
      rows: 12,
      modifiedAtMs: 1_704_067_200_000,
      partition: { day: "2024-01-01" },
    },
  ],
};

const catalogue: Catalogue = {
  names: () => [SUMMARY.name],
  columns: () => DETAILS.columns,
  list: async () => [SUMMARY],
  async describe(name) {
    if (name !== SUMMARY.name) throw new MillraceError("TABLE_UNKNOWN", { table: name, nearest: "" });
    return DETAILS;
  },
  resolve: async () => ({ relations: [], release: () => undefined }),
};

let url: string;
let close: () => Promise<void>;
const asked: string[] = [];
before(async () => {
  ({ url, close } = await openServer((app) => {
    app.register(tablesRoute, {
      catalogue,
      requireScope: (scope) => async (request) => {
        asked.push(`${scope} ${request.url}`);
      },
    });
  }));
});
after(() => close());

test("the tables are listed, to keys that may query", async () => {
  const response = await fetch(`${url}/v1/tables`);
  assert.deepEqual(await response.json(), { tables: [SUMMARY] });
  assert.deepEqual(asked.at(-1), "query /v1/tables");
});

test("one table comes with its columns, versions, files and lineage, to keys that may query", async () => {
  const response = await fetch(`${url}/v1/tables/gold.sales_daily`);
  assert.equal(response.status, 200);
  const { columns, ...rest } = (await response.json()) as TableDetails & { columns: { typeName: string }[] };
  const { columns: own, ...expected } = DETAILS;
  assert.deepEqual(rest, expected);
  assert.deepEqual(
    columns,
    own.map((column, i) => ({ ...column, typeName: ["date", "decimal(18,2)"][i] })),
  );
  assert.deepEqual(asked.at(-1), "query /v1/tables/gold.sales_daily");
});

test("an unknown table is 404", async () => {
  const response = await fetch(`${url}/v1/tables/gold.nothing`);
  assert.equal(response.status, 404);
  assert.match(
    ((await response.json()) as { error: { message: string } }).error.message,
    /no table or stream "gold.nothing"/,
  );
});
