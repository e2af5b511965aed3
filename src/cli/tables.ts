import type { Column } from "../define/project.ts";
import type { PlatformStatus } from "../serve/admin-route.ts";
import type { TableDetails } from "../serve/catalogue.ts";
import { type Command, PLATFORM_OPTIONS } from "./command.ts";
import { connect } from "./connect.ts";
import { drawTable } from "./draw-table.ts";
import { bytesText, countText, elapsedText } from "./quantity-text.ts";
import { drawTables } from "./status.ts";
import { printJson } from "./terminal.ts";

export const tables: Command = {
  name: "tables",
  summary: "List the tables, or show one: its columns, versions, files and what it is made of.",
  operands: "[TABLE]",
  operandCount: { min: 0, max: 1 },
  options: PLATFORM_OPTIONS,
  help: `
  millrace tables
  millrace tables gold.sales_daily`,

  async run(call) {
    const { operands, flags, terminal } = call;
    const client = connect(call);
    try {
      const [name] = operands;
      if (name === undefined) {
        const answer = await client.json<PlatformStatus>("/v1/status");
        if (flags.has("json")) printJson(terminal, { tables: answer.tables });
        else terminal.stdout.write(drawTables(answer.tables, Date.now()));
        return 0;
      }
      const table = await client.json<TableAnswer>(`/v1/tables/${encodeURIComponent(name)}`);
      if (flags.has("json")) printJson(terminal, table);
      else terminal.stdout.write(describe(table, Date.now()));
      return 0;
    } finally {
      client.close();
    }
  },
};

const SHOWN_COMMITS = 10;

function describe(table: TableAnswer, nowMs: number): string {
  const { name, kind, mode, version, rows, sizeBytes, files, freshAtMs, lineage } = table;
  const facts = [
    mode ?? kind,
    version === undefined ? "nothing stored yet" : `version ${version}`,
    rows === undefined ? undefined : `${countText(rows)} rows`,
    `${countText(files.length)} ${files.length === 1 ? "file" : "files"}, ${bytesText(sizeBytes)}`,
    freshAtMs === undefined ? undefined : `newest event ${elapsedText(Math.max(0, nowMs - freshAtMs))} ago`,
  ];
  const lines = [`${name}: ${facts.filter((fact) => fact !== undefined).join(", ")}`];
  if (table.reason !== undefined) lines.push(table.reason);
  if (lineage.inputs.length > 0) lines.push(`made of ${lineage.inputs.join(", ")}`);
  if (lineage.readers.length > 0) lines.push(`read by ${lineage.readers.join(", ")}`);
  if (table.partitionColumns.length > 0) lines.push(`files divided by ${table.partitionColumns.join(", ")}`);
  return `${lines.join("\n")}\n\n${drawColumns(table)}${drawHistory(table, nowMs)}${statement(table)}`;
}

/** A table as the HTTP API gives it: every column with its type's name in SQL. */
type TableAnswer = Omit<TableDetails, "columns"> & { readonly columns: readonly (Column & { typeName: string })[] };

function drawColumns({ columns }: TableAnswer): string {
  const rows = columns.map(({ name, typeName, nullable }) => [name, typeName, nullable ? "" : "always there"]);
  return drawTable([{ name: "column" }, { name: "type" }, { name: "" }], rows);
}

function drawHistory({ history }: TableDetails, nowMs: number): string {
  if (history.length === 0) return "";
  const columns = ["version", "committed", "operation", "files added", "removed", "rows added"].map((name) => ({
    name,
    align: name === "operation" ? ("left" as const) : ("right" as const),
  }));
  const rows = history
    .slice(0, SHOWN_COMMITS)
    .map((commit) => [
      commit.version,
      `${elapsedText(Math.max(0, nowMs - commit.timestampMs))} ago`,
      commit.operation,
      commit.addedFiles,
      commit.removedFiles,
      commit.addedRows === undefined ? null : countText(commit.addedRows),
    ]);
  return `\n${drawTable(columns, rows)}`;
}

function statement({ sql }: TableDetails): string {
  return sql === undefined ? "" : `\n${sql.replaceAll(/^\n+|\s+$/g, "")}\n`;
}
