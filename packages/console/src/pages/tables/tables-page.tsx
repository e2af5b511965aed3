/** Every table, and everything else that SQL can read. */
import { useState } from "react";
import { Link } from "wouter";
import { api } from "../../api.ts";
import { Page } from "../../app.tsx";
import { FIRST_TABLE } from "../../first-definitions.ts";
import { bytes, compact } from "../../format.ts";
import { useLoad } from "../../load.ts";
import { Badge, Empty, Failure, Loading, Panel, Snippet, Time } from "../../ui/ui.tsx";

const ORDER = ["gold", "silver", "features", "bronze", "system"];

export default function TablesPage() {
  const {
    value: tables,
    error,
    reload,
  } = useLoad("tables", (signal) => api.tables(signal), { on: ["tables", "streams"], paceMs: 3_000 });
  const [text, setText] = useState("");
  const words = text.trim().toLowerCase();
  const shown = (tables ?? []).filter(({ name, kind }) => kind === "table" && name.toLowerCase().includes(words));
  const schemas = [...new Set(shown.map(({ name }) => schemaOf(name)))].sort(
    (a, b) => rank(a) - rank(b) || a.localeCompare(b),
  );
  return (
    <Page>
      <header>
        <h1>Tables</h1>
        <div className="row">
          <label className="visually-hidden" htmlFor="tables-filter">
            Only tables whose names hold
          </label>
          <input
            id="tables-filter"
            className="input"
            style={{ width: 240 }}
            placeholder="Find a table"
            value={text}
            onChange={(event) => setText(event.target.value)}
          />
        </div>
      </header>
      {error !== undefined && <Failure error={error} retry={reload} />}
      {tables === undefined && error === undefined && <Loading what="tables" />}
      {tables !== undefined && shown.length === 0 && (
        <Empty title={words === "" ? "No table yet" : "No table of that name"}>
          <p>Every stream has its bronze and silver table by itself. More are one SELECT each in your project.</p>
        </Empty>
      )}
      {schemas.map((schema) => (
        <Panel key={schema} title={schema} flush>
          <table className="table">
            <thead>
              <tr>
                <th>Table</th>
                <th>Follows its inputs by</th>
                <th className="number">Rows</th>
                <th className="number">Size</th>
                <th className="number">Version</th>
                <th>Fresh</th>
              </tr>
            </thead>
            <tbody>
              {shown
                .filter(({ name }) => schemaOf(name) === schema)
                .map(({ name, mode, rows, sizeBytes, version, freshAtMs }) => (
                  <tr key={name}>
                    <td>
                      <Link to={`/tables/${encodeURIComponent(name)}`}>{name}</Link>
                    </td>
                    <td>{mode === undefined ? <span className="faint">the platform</span> : <Badge>{mode}</Badge>}</td>
                    <td className="number">{rows === undefined ? "" : compact(rows)}</td>
                    <td className="number">{sizeBytes === 0 ? "" : bytes(sizeBytes)}</td>
                    <td className="number">{version ?? ""}</td>
                    <td>
                      {freshAtMs === undefined ? (
                        <span className="faint">
                          {version === undefined ? "computed when read" : "nothing in it yet"}
                        </span>
                      ) : (
                        <Time at={freshAtMs} relative />
                      )}
                    </td>
                  </tr>
                ))}
            </tbody>
          </table>
        </Panel>
      ))}
      {tables !== undefined && words === "" && !schemas.includes("gold") && <FirstTable />}
    </Page>
  );
}

function FirstTable() {
  return (
    <Empty title="A table of your own">
      <p>Every stream has its bronze and silver table by itself. More are one SELECT each in a file of your project:</p>
      <Snippet label="a first table" text={FIRST_TABLE} />
    </Empty>
  );
}

function schemaOf(name: string): string {
  return name.includes(".") ? (name.split(".")[0] as string) : "streams";
}

function rank(schema: string): number {
  const at = ORDER.indexOf(schema);
  return at < 0 ? ORDER.length : at;
}
