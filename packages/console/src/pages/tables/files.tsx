/** The files of a table, and how much is in each of its partitions. */
import type { TableView } from "../../api.ts";
import { bytes, cell, count } from "../../format.ts";
import { Empty, Panel, Time } from "../../ui/ui.tsx";
import { Feeds } from "./feeds.tsx";
import "./tables.css";

const MOST_FILES = 500;
const MOST_PARTITIONS = 400;

export function Files({ table }: { table: TableView }) {
  if (table.files.length === 0)
    return (
      <Empty title="No file yet">
        <p>Rows are written to files with the next flush; queries see them before that.</p>
        <Feeds table={table} />
      </Empty>
    );
  return (
    <>
      {table.partitionColumns.length > 0 && <Partitions table={table} />}
      <Panel title={`${count(table.files.length)} files, ${bytes(table.sizeBytes)}`} flush>
        <table className="table">
          <thead>
            <tr>
              <th>File</th>
              {table.partitionColumns.length > 0 && <th>Partition</th>}
              <th className="number">Rows</th>
              <th className="number">Size</th>
              <th>Written</th>
            </tr>
          </thead>
          <tbody>
            {table.files.slice(0, MOST_FILES).map(({ path, partition, rows, sizeBytes, modifiedAtMs }) => (
              <tr key={path}>
                <td className="mono">{path}</td>
                {table.partitionColumns.length > 0 && <td>{partitionText(table, partition)}</td>}
                <td className="number">{rows === undefined ? "" : count(rows)}</td>
                <td className="number">{bytes(sizeBytes)}</td>
                <td>
                  <Time at={modifiedAtMs} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
        {table.files.length > MOST_FILES && <p className="soft">and {count(table.files.length - MOST_FILES)} more</p>}
      </Panel>
    </>
  );
}

function Partitions({ table }: { table: TableView }) {
  const groups = [...Map.groupBy(table.files, ({ partition }) => partitionText(table, partition))]
    .map(([name, files]) => ({
      name,
      files: files.length,
      rows: files.reduce<number | undefined>(
        (sum, { rows }) => (sum !== undefined && rows !== undefined ? sum + rows : undefined),
        0,
      ),
      sizeBytes: files.reduce((sum, file) => sum + file.sizeBytes, 0),
    }))
    .sort((a, b) => b.name.localeCompare(a.name));
  const most = Math.max(1, ...groups.map(({ sizeBytes }) => sizeBytes));
  return (
    <Panel title={`${count(groups.length)} partitions by ${table.partitionColumns.join(", ")}`} flush>
      <table className="table">
        <thead>
          <tr>
            <th>Partition</th>
            <th className="number">Files</th>
            <th className="number">Rows</th>
            <th className="number">Size</th>
            <th>Share of the largest</th>
          </tr>
        </thead>
        <tbody>
          {groups.slice(0, MOST_PARTITIONS).map(({ name, files, rows, sizeBytes }) => (
            <tr key={name}>
              <td className="mono">{name}</td>
              <td className="number">{count(files)}</td>
              <td className="number">{rows === undefined ? "" : count(rows)}</td>
              <td className="number">{bytes(sizeBytes)}</td>
              <td>
                <div className="progress share" aria-hidden="true">
                  <span style={{ width: `${(sizeBytes / most) * 100}%` }} />
                </div>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {groups.length > MOST_PARTITIONS && <p className="soft">and {count(groups.length - MOST_PARTITIONS)} more</p>}
    </Panel>
  );
}

function partitionText(table: TableView, partition: Readonly<Record<string, string | null>>): string {
  return table.partitionColumns.map((column) => `${column} = ${cell(partition[column])}`).join(", ");
}
