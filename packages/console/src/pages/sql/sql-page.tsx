/**
 * Questions in SQL: cells one below the other. Unsaved, the address keeps the first question; saved, it is a notebook that everybody who may query sees,
 * and with a refresh of its own it is a dashboard.
 */
import { useCallback, useEffect, useMemo, useState } from "react";
import { Link, useLocation, useSearchParams } from "wouter";
import { api } from "../../api.ts";
import { Page } from "../../app.tsx";
import { useLoad } from "../../load.ts";
import { Failure, Loading, Panel, Time } from "../../ui/ui.tsx";
import { Cell, type Turn } from "./cell.tsx";
import type { View } from "./chart-kinds.ts";
import { fromCells, type Kept, type NotebookCell, newCell, toCells } from "./notebook.ts";
import { parametersOf } from "./parameters.ts";
import { Prose } from "./prose.tsx";
import { RunningNow } from "./running-now.tsx";
import "./sql.css";

export default function SqlPage({ id }: { id?: string }) {
  if (id === undefined) return <Notebook key="new" />;
  return <Saved key={id} id={id} />;
}

function Saved({ id }: { id: string }) {
  const { value, error, reload } = useLoad(`notebook ${id}`, (signal) => api.notebook(id, signal));
  if (error !== undefined && value === undefined)
    return (
      <Page>
        <Failure error={error} retry={reload} />
      </Page>
    );
  if (value === undefined)
    return (
      <Page>
        <Loading what="the notebook" />
      </Page>
    );
  return <Notebook key={value.version} saved={value} />;
}

const REFRESHES = [
  [null, "by hand"],
  [10, "every 10 s"],
  [60, "every minute"],
  [300, "every 5 min"],
  [3600, "every hour"],
] as const;

function Notebook({ saved }: { saved?: Awaited<ReturnType<typeof api.notebook>> }) {
  const [, go] = useLocation();
  const [search, setSearch] = useSearchParams();
  const asked = search.get("sql") ?? "";
  const [kept, setKept] = useState<Kept>(() =>
    saved ? fromCells(saved.cells) : { parameters: {}, cells: [{ ...newCell("sql", asked), ...viewIn(search) }] },
  );
  const [name, setName] = useState(saved?.name ?? "");
  const [refreshS, setRefreshS] = useState<number | null>(saved?.refreshS ?? null);
  const [turn, setTurn] = useState<Turn>({ n: saved !== undefined || asked !== "" ? 1 : 0, timed: false });
  const [failure, setFailure] = useState<Error>();
  const names = useNames();
  const runAll = useCallback((timed: boolean) => setTurn(({ n }) => ({ n: n + 1, timed })), []);
  useEffect(() => {
    if (refreshS === null) return undefined;
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") runAll(true);
    }, refreshS * 1000);
    return () => clearInterval(timer);
  }, [refreshS, runAll]);
  const change = (id: string, update: (cell: NotebookCell) => NotebookCell) => {
    setKept((before) => ({ ...before, cells: before.cells.map((one) => (one.id === id ? update(one) : one)) }));
  };
  const add = (kind: "sql" | "text") => setKept((before) => ({ ...before, cells: [...before.cells, newCell(kind)] }));
  const remove = (id: string) =>
    setKept((before) => ({ ...before, cells: before.cells.filter((one) => one.id !== id) }));
  const wanted = [...new Set(kept.cells.flatMap((cell) => (cell.kind === "sql" ? parametersOf(cell.sql) : [])))];
  const act = async (work: () => Promise<string>) => {
    setFailure(undefined);
    try {
      go(await work());
    } catch (error) {
      setFailure(error as Error);
    }
  };
  const save = () =>
    act(async () => {
      const draft = { name: name.trim() || "Untitled", cells: toCells(kept), refreshS };
      const { id } =
        saved === undefined
          ? await api.createNotebook(draft)
          : await api.replaceNotebook(saved.id, saved.version, draft);
      return `/sql/${id}`;
    });
  return (
    <Page>
      <header>
        <h1>SQL</h1>
        <label className="visually-hidden" htmlFor="notebook-name">
          Name of the notebook
        </label>
        <input
          id="notebook-name"
          className="input"
          style={{ width: 240 }}
          placeholder="Untitled"
          value={name}
          onChange={(event) => setName(event.target.value)}
        />
        <div className="row">
          <button type="button" className="button" onClick={() => runAll(false)}>
            Run all
          </button>
          <select
            className="input select"
            aria-label="Run all cells"
            value={String(refreshS)}
            onChange={(event) => setRefreshS(event.target.value === "null" ? null : Number(event.target.value))}
          >
            {REFRESHES.map(([seconds, label]) => (
              <option key={label} value={String(seconds)}>
                {label}
              </option>
            ))}
          </select>
          <button type="button" className="button primary" onClick={() => void save()}>
            {saved === undefined ? "Save" : "Save changes"}
          </button>
          {saved !== undefined && (
            <Link className="button" to={`/sql/${saved.id}/dashboard`}>
              Dashboard
            </Link>
          )}
          {saved !== undefined && (
            <button
              type="button"
              className="button danger"
              onClick={() =>
                void act(async () => {
                  await api.removeNotebook(saved.id);
                  return "/sql";
                })
              }
            >
              Delete
            </button>
          )}
        </div>
      </header>
      {failure !== undefined && <Failure error={failure} />}
      {wanted.length > 0 && (
        <form
          className="row"
          aria-label="Parameters"
          onSubmit={(event) => {
            event.preventDefault();
            runAll(false);
          }}
        >
          {wanted.map((parameter) => (
            <span key={parameter} className="row">
              <label htmlFor={`parameter-${parameter}`} className="mono">
                ${parameter}
              </label>
              <input
                id={`parameter-${parameter}`}
                className="input"
                style={{ width: 160 }}
                placeholder="null"
                value={kept.parameters[parameter] ?? ""}
                onChange={(event) =>
                  setKept({ ...kept, parameters: { ...kept.parameters, [parameter]: event.target.value } })
                }
              />
            </span>
          ))}
          <button type="submit" className="button">
            Run with these
          </button>
        </form>
      )}
      <div className="notebook">
        {kept.cells.map((cell, i) => {
          const onRemove = kept.cells.length > 1 ? () => remove(cell.id) : undefined;
          if (cell.kind === "text")
            return (
              <TextCell
                key={cell.id}
                text={cell.text}
                label={`Text ${i + 1}`}
                onChange={(text) => change(cell.id, () => ({ ...cell, text }))}
                onRemove={onRemove}
              />
            );
          return (
            <Cell
              key={cell.id}
              {...{ sql: cell.sql, view: cell.view, names, turn, onRemove }}
              label={`Statement ${i + 1}`}
              parameters={kept.parameters}
              onChange={(sql) => change(cell.id, (one) => ({ ...(one as NotebookCell & { kind: "sql" }), sql }))}
              onView={(view: View) => {
                change(cell.id, (one) => ({ ...(one as NotebookCell & { kind: "sql" }), view }));
                if (i === 0 && saved === undefined) setSearch({ sql: cell.sql, view }, { replace: true });
              }}
              onRun={() => {
                if (i === 0 && saved === undefined)
                  setSearch({ sql: cell.sql, ...(cell.view !== "auto" && { view: cell.view }) }, { replace: true });
              }}
            />
          );
        })}
      </div>
      <div className="row">
        <button type="button" className="button" onClick={() => add("sql")}>
          Add a question
        </button>
        <button type="button" className="button" onClick={() => add("text")}>
          Add text
        </button>
      </div>
      <RunningNow />
      <Others now={saved?.id} />
    </Page>
  );
}

/** How the first question of an address is shown. What it cannot be is shown as it fits. */
function viewIn(search: URLSearchParams): { view?: View } {
  const view = search.get("view");
  return view === null ? {} : { view: view as View };
}

function TextCell({
  text,
  label,
  onChange,
  onRemove,
}: {
  text: string;
  label: string;
  onChange: (text: string) => void;
  onRemove: (() => void) | undefined;
}) {
  const [writing, setWriting] = useState(text === "");
  return (
    <section className="text-cell" aria-label={label}>
      {writing ? (
        <textarea
          className="input"
          rows={5}
          aria-label={label}
          placeholder="# A heading, - a list, `code`"
          value={text}
          onChange={(event) => onChange(event.target.value)}
        />
      ) : (
        <Prose text={text} />
      )}
      <div className="row">
        <button type="button" className="button quiet" onClick={() => setWriting(!writing)}>
          {writing ? "Show" : "Write"}
        </button>
        {onRemove !== undefined && (
          <button type="button" className="button quiet" onClick={onRemove}>
            Remove
          </button>
        )}
      </div>
    </section>
  );
}

function Others({ now }: { now: string | undefined }) {
  const { value, error, reload } = useLoad("notebooks", (signal) => api.notebooks(signal));
  const others = value?.filter(({ id }) => id !== now) ?? [];
  if (error !== undefined) return <Failure error={error} retry={reload} />;
  if (others.length === 0 && now === undefined) return null;
  return (
    <Panel title="Notebooks" flush actions={now === undefined ? undefined : <Link to="/sql">New</Link>}>
      <table className="table">
        <tbody>
          {others.map(({ id, name, refreshS, changedBy, changedAt }) => (
            <tr key={id}>
              <td>
                <Link to={`/sql/${id}`}>{name}</Link>
              </td>
              <td>
                <Link to={`/sql/${id}/dashboard`}>dashboard</Link>
                {refreshS === null ? "" : `, every ${refreshS} s`}
              </td>
              <td className="soft">
                {changedBy}, <Time at={changedAt} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}

/** Every name SQL can use, with the fields of streams. */
function useNames(): Readonly<Record<string, readonly string[]>> {
  const { value } = useLoad("names", async (signal) => {
    const [tables, streams] = await Promise.all([api.tables(signal), api.streams(signal)]);
    return { tables, streams };
  });
  return useMemo(() => {
    const fields = new Map((value?.streams ?? []).map((stream) => [stream.name, stream.fields]));
    return Object.fromEntries((value?.tables ?? []).map(({ name }) => [name, fields.get(name) ?? []]));
  }, [value]);
}
