/** One table: what is in it, how that looks, where it comes from, and what it was before. */
import { useState } from "react";
import { Link, useSearchParams } from "wouter";
import { api, type SqlResult, type TableView } from "../../api.ts";
import { Page } from "../../app.tsx";
import { bytes, compact, count, duration } from "../../format.ts";
import { useNode } from "../../live.ts";
import { useLoad } from "../../load.ts";
import { useAgo } from "../../now.ts";
import { Grid } from "../../ui/grid.tsx";
import { Badge, Empty, Facts, Failure, HealthMark, Loading, Panel, Snippet, Tabs, Time } from "../../ui/ui.tsx";
import { Checks } from "./checks.tsx";
import { Feeds } from "./feeds.tsx";
import { Files } from "./files.tsx";
import { Profile } from "./profile.tsx";
import { quoted } from "./quoted.ts";
import { Lineage } from "./readers.tsx";

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
    ["checks", "Checks"],
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
      {table !== undefined && part === "checks" && <Checks table={table} />}
      {table !== undefined && part === "files" && <Files table={table} />}
    </Page>
  );
}

function Overview({ table }: { table: TableView }) {
  return (
    <>
      <Panel title="Now">
        <Facts
          facts={[
            ["rows in the lake", table.rows === undefined ? "computed when read" : count(table.rows)],
            ["size", bytes(table.sizeBytes)],
            ["version", table.version ?? "none"],
            ["newest rows", <Fresh key="fresh" table={table} />],
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
            <Lineage table={table} />
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

/** How old its newest rows are, against how old they may be where the definition says so. */
function Fresh({ table: { freshAtMs, freshnessMs, version } }: { table: TableView }) {
  useAgo(freshAtMs); // judged again as time goes by
  if (freshAtMs === undefined)
    return <span className="faint">{version === undefined ? "computed when read" : "nothing in it yet"}</span>;
  if (freshnessMs === undefined) return <Time at={freshAtMs} relative />;
  const overdue = Date.now() - freshAtMs > freshnessMs;
  return (
    <span className="row">
      <Time at={freshAtMs} relative />
      <Badge tone={overdue ? "bad" : "ok"}>
        {overdue ? "over" : "within"} {duration(freshnessMs)}
      </Badge>
    </span>
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
