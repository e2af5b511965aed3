/** One table: what is in it, how that looks, where it comes from, and what it was before. */
import { useState } from "react";
import { Link, useSearchParams } from "wouter";
import { api, type SqlResult, type TableView } from "../../api.ts";
import { Page } from "../../app.tsx";
import { bytes, cell, compact, count } from "../../format.ts";
import { useNode } from "../../live.ts";
import { useLoad } from "../../load.ts";
import { Grid } from "../../ui/grid.tsx";
import { Badge, Empty, Facts, Failure, HealthMark, Loading, Panel, Snippet, Tabs, Time } from "../../ui/ui.tsx";
import { Profile } from "./profile.tsx";
import { quoted } from "./quoted.ts";

const SAMPLE = 200;

export default function TablePage({ name, part }: { name: string; part: string }) {
  const {
    value: table,
    error,
    reload,
  } = useLoad(`table ${name}`, (signal) => api.table(name, signal), {
    on: [`table:${name}`, `stream:${name}`],
    paceMs: 3_000,
  });
  const { pulse } = useNode(`table:${name}`);
  const base = `/tables/${encodeURIComponent(name)}`;
  const tabs = [
    ["overview", "Overview"],
    ["sample", "Rows"],
    ["profile", "Profile"],
    ["history", "History"],
    ["files", "Files"],
  ] as const;
  return (
    <Page>
      <header>
        <h1>{name}</h1>
        <Badge tone="accent">{table?.mode ?? "table"}</Badge>
        {pulse !== undefined && (
          <HealthMark
            health={pulse.health}
            label={pulse.problem ?? (pulse.pending > 0 ? `${compact(pulse.pending)} on their way` : "up to date")}
          />
        )}
        <div className="row">
          <Link className="button" to={`/sql?sql=${encodeURIComponent(`select * from ${quoted(name)} limit 100`)}`}>
            Query
          </Link>
        </div>
      </header>
      <Tabs
        tabs={tabs.map(([at, label]) => ({
          to: at === "overview" ? base : `${base}/${at}`,
          label,
          current: part === at,
        }))}
      />
      {error !== undefined && <Failure error={error} retry={reload} />}
      {table === undefined && error === undefined && <Loading what={name} />}
      {table !== undefined && part === "overview" && <Overview table={table} />}
      {table !== undefined && part === "sample" && <Sample table={table} />}
      {table !== undefined && part === "profile" && <Profile table={table} />}
      {table !== undefined && part === "history" && <History table={table} />}
      {table !== undefined && part === "files" && <Files table={table} />}
    </Page>
  );
}

function Overview({ table }: { table: TableView }) {
  const { inputs, readers } = table.lineage;
  return (
    <>
      <Panel title="Now">
        <Facts
          facts={[
            ["rows in the lake", table.rows === undefined ? "computed when read" : count(table.rows)],
            ["size", bytes(table.sizeBytes)],
            ["version", table.version ?? "none"],
            ["fresh", <Time key="fresh" at={table.freshAtMs} relative />],
            ["files", count(table.files.length)],
          ]}
        />
        {table.reason !== undefined && <p className="soft">{table.reason}</p>}
      </Panel>
      <div className="columns">
        <Panel title="Columns" flush>
          <table className="table">
            <thead>
              <tr>
                <th>Column</th>
                <th>Type</th>
                <th>May be null</th>
              </tr>
            </thead>
            <tbody>
              {table.columns.map((column) => (
                <tr key={column.name}>
                  <td className="mono">
                    {column.name}{" "}
                    {table.partitionColumns.includes(column.name) && <Badge tone="accent">partition</Badge>}
                  </td>
                  <td className="mono">{column.typeName}</td>
                  <td>{column.nullable ? "yes" : "no"}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Panel>
        <div className="page" style={{ padding: 0, background: "none" }}>
          <Panel title="Where it comes from, and who reads it">
            <Names title="Reads" names={inputs} none="the log itself" />
            <Names title="Is read by" names={readers} none="no other table" />
          </Panel>
          {table.sql !== undefined && (
            <Panel title="Definition">
              <Snippet label="the table's SQL" text={table.sql.trim()} />
            </Panel>
          )}
        </div>
      </div>
    </>
  );
}

function Names({ title, names, none }: { title: string; names: readonly string[]; none: string }) {
  return (
    <div>
      <h3>{title}</h3>
      {names.length === 0 && <p className="soft">{none}</p>}
      <ul className="row">
        {names.map((name) => (
          <li key={name}>
            <Link
              to={name.includes(".") ? `/tables/${encodeURIComponent(name)}` : `/streams/${encodeURIComponent(name)}`}
            >
              {name}
            </Link>
          </li>
        ))}
      </ul>
    </div>
  );
}

/** Where rows would come from. */
function Feeds({ table }: { table: TableView }) {
  const { inputs } = table.lineage;
  const [first] = inputs;
  if (first === undefined) return <p>Nothing feeds it; the platform writes it by itself.</p>;
  return (
    <p>
      Rows come from{" "}
      {inputs.map((name, i) => (
        <span key={name}>
          {i > 0 && ", "}
          <Link
            to={
              name.includes(".") ? `/tables/${encodeURIComponent(name)}` : `/streams/${encodeURIComponent(name)}/send`
            }
          >
            {name}
          </Link>
        </span>
      ))}
      {first.includes(".") ? ", which may be empty as well." : ": send it an event."}
    </p>
  );
}

function Sample({ table }: { table: TableView }) {
  const { name } = table;
  const [parameters] = useSearchParams();
  const version = parameters.get("version");
  const at = version !== null && /^\d+$/.test(version) ? ` at (version => ${version})` : "";
  const sql = `select * from ${quoted(name)}${at} limit ${SAMPLE}`;
  const { value, error, reload, loading } = useLoad<SqlResult>(sql, (signal) => api.sql(sql, { signal }));
  return (
    <Panel
      title={at === "" ? `The first ${SAMPLE} rows, with every event acknowledged` : `As of version ${version}`}
      flush
      actions={
        <button type="button" className="button" onClick={reload} disabled={loading}>
          Read again
        </button>
      }
    >
      {error !== undefined && <Failure error={error} retry={reload} />}
      {value?.rows.length === 0 && (
        <Empty title={at === "" ? "No row yet" : "No row"}>
          {at === "" ? <Feeds table={table} /> : <p>There was none in that version.</p>}
        </Empty>
      )}
      {value !== undefined && value.rows.length > 0 && <Grid result={value} label={`Rows of ${name}`} />}
    </Panel>
  );
}

function History({ table }: { table: TableView }) {
  const [from, setFrom] = useState<number>();
  if (table.history.length === 0)
    return (
      <Empty title="No history">
        <p>This table is computed when it is read; it has no versions of its own.</p>
      </Empty>
    );
  return (
    <>
      <Panel title="Versions, newest first" flush>
        <table className="table">
          <thead>
            <tr>
              <th className="number">Version</th>
              <th>When</th>
              <th>What</th>
              <th className="number">Rows added</th>
              <th className="number">Files</th>
              <th>Look</th>
            </tr>
          </thead>
          <tbody>
            {table.history.map(({ version, timestampMs, operation, addedRows, addedFiles, removedFiles }) => (
              <tr key={version}>
                <td className="number">{version}</td>
                <td>
                  <Time at={timestampMs} />
                </td>
                <td>{operation.toLowerCase()}</td>
                <td className="number">{addedRows === undefined ? "" : count(addedRows)}</td>
                <td className="number">
                  +{addedFiles} −{removedFiles}
                </td>
                <td>
                  <span className="row">
                    <Link to={`/tables/${encodeURIComponent(table.name)}/sample?version=${version}`}>as it was</Link>
                    {version !== table.version && (
                      <button type="button" className="button quiet" onClick={() => setFrom(version)}>
                        compare with now
                      </button>
                    )}
                  </span>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Panel>
      {from !== undefined && <Difference table={table} from={from} />}
    </>
  );
}

/** Rows that one version has and the other has not. */
function Difference({ table, from }: { table: TableView; from: number }) {
  const name = quoted(table.name);
  const then = `${name} at (version => ${from})`;
  const now = `${name} at (version => ${table.version ?? 0})`;
  const sql = `select 'added' as change, * from (select * from ${now} except all select * from ${then})
    union all by name select 'gone' as change, * from (select * from ${then} except all select * from ${now}) limit 1000`;
  const { value, error, reload } = useLoad<SqlResult>(sql, (signal) => api.sql(sql, { signal }));
  return (
    <Panel title={`Version ${from} against ${table.version}`} flush>
      {error !== undefined && <Failure error={error} retry={reload} />}
      {value === undefined && error === undefined && <Loading what="the difference" />}
      {value?.rows.length === 0 && <Empty title="The same rows" />}
      {value !== undefined && value.rows.length > 0 && (
        <Grid result={value} label={`Differences between version ${from} and now`} />
      )}
    </Panel>
  );
}

function Files({ table }: { table: TableView }) {
  if (table.files.length === 0)
    return (
      <Empty title="No file yet">
        <p>Rows are written to files with the next flush; queries see them before that.</p>
        <Feeds table={table} />
      </Empty>
    );
  return (
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
          {table.files.slice(0, 500).map(({ path, partition, rows, sizeBytes, modifiedAtMs }) => (
            <tr key={path}>
              <td className="mono">{path}</td>
              {table.partitionColumns.length > 0 && (
                <td>{table.partitionColumns.map((column) => `${column} = ${cell(partition[column])}`).join(", ")}</td>
              )}
              <td className="number">{rows === undefined ? "" : count(rows)}</td>
              <td className="number">{bytes(sizeBytes)}</td>
              <td>
                <Time at={modifiedAtMs} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}
