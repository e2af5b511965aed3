/** Questions in SQL: cells one below the other, each with its result as a grid or a chart. The address keeps the first one. */
import { lazy, Suspense, useEffect, useMemo, useRef, useState } from "react";
import { useSearchParams } from "wouter";
import { api, type SqlResult } from "../../api.ts";
import { Page } from "../../app.tsx";
import { cell, count, duration } from "../../format.ts";
import { useLoad } from "../../load.ts";
import { Grid } from "../../ui/grid.tsx";
import { Empty, Failure, Loading, Snippet } from "../../ui/ui.tsx";
import { type View, viewsOf } from "./chart-kinds.ts";
import "./sql.css";

const Editor = lazy(() => import("./editor.tsx"));
const Chart = lazy(() => import("./chart.tsx"));
const MOST_ROWS = 10_000;

export default function SqlPage() {
  const [parameters, setParameters] = useSearchParams();
  const given = parameters.get("sql") ?? "";
  const [cells, setCells] = useState<readonly { id: number; sql: string }[]>([{ id: 1, sql: given }]);
  const next = useRef(2);
  const names = useNames();
  const change = (id: number, sql: string) => {
    setCells((before) => before.map((one) => (one.id === id ? { id, sql } : one)));
  };
  return (
    <Page>
      <header>
        <h1>SQL</h1>
        <p className="soft">Reads every event that was acknowledged before you asked. Run with Ctrl Enter.</p>
        <div className="row">
          <button
            type="button"
            className="button"
            onClick={() => {
              const id = next.current++;
              setCells((before) => [...before, { id, sql: "" }]);
            }}
          >
            Add a cell
          </button>
        </div>
      </header>
      <div className="notebook">
        {cells.map(({ id, sql }, i) => (
          <Cell
            key={id}
            sql={sql}
            label={`Statement ${i + 1}`}
            names={names}
            runAtOnce={i === 0 && given !== ""}
            onChange={(text) => change(id, text)}
            onRun={() => {
              if (i === 0) setParameters({ sql }, { replace: true });
            }}
            {...(cells.length > 1 && { onRemove: () => setCells((before) => before.filter((one) => one.id !== id)) })}
          />
        ))}
      </div>
    </Page>
  );
}

/** Every name SQL can use, with its columns. */
function useNames(): Readonly<Record<string, readonly string[]>> {
  const { value } = useLoad("names", async (signal) => {
    const [tables, streams] = await Promise.all([api.tables(signal), api.streams(signal)]);
    return { tables, streams };
  });
  return useMemo(() => {
    const fields = new Map(
      (value?.streams ?? []).map((stream) => [stream.name, (stream as { fields?: string[] }).fields ?? []]),
    );
    return Object.fromEntries((value?.tables ?? []).map(({ name }) => [name, fields.get(name) ?? []]));
  }, [value]);
}

interface CellProps {
  readonly sql: string;
  readonly label: string;
  readonly names: Readonly<Record<string, readonly string[]>>;
  readonly runAtOnce: boolean;
  readonly onChange: (sql: string) => void;
  readonly onRun: () => void;
  readonly onRemove?: () => void;
}

type State =
  | { readonly kind: "new" }
  | { readonly kind: "running"; readonly sinceMs: number }
  | { readonly kind: "done"; readonly result: SqlResult; readonly sql: string }
  | { readonly kind: "failed"; readonly error: Error };

function Cell({ sql, label, names, runAtOnce, onChange, onRun, onRemove }: CellProps) {
  const [state, setState] = useState<State>({ kind: "new" });
  const [view, setView] = useState<View>("grid");
  const running = useRef<AbortController>(undefined);
  const run = async () => {
    if (sql.trim() === "") return;
    running.current?.abort();
    const controller = new AbortController();
    running.current = controller;
    onRun();
    setState({ kind: "running", sinceMs: Date.now() });
    try {
      const result = await api.sql(sql, { maxRows: MOST_ROWS, signal: controller.signal });
      if (controller.signal.aborted) return;
      setState({ kind: "done", result, sql });
      const views = viewsOf(result);
      setView((before) => (views.includes(before) && before !== "grid" ? before : (views[0] as View)));
    } catch (error) {
      if (!controller.signal.aborted) setState({ kind: "failed", error: error as Error });
    }
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: what the address asks for is run once
  useEffect(() => {
    if (runAtOnce) void run();
    return () => running.current?.abort();
  }, []);
  const cancel = () => {
    running.current?.abort();
    setState({ kind: "failed", error: new Error("You stopped it; the platform has stopped it too.") });
  };
  return (
    <section className="panel sql-cell" aria-label={label}>
      <Suspense fallback={<Loading what="the editor" />}>
        <Editor value={sql} onChange={onChange} onRun={() => void run()} names={names} label={label} />
      </Suspense>
      <div className="tools">
        {state.kind === "running" ? (
          <button type="button" className="button" onClick={cancel}>
            Stop
          </button>
        ) : (
          <button type="button" className="button primary" onClick={() => void run()} disabled={sql.trim() === ""}>
            Run
          </button>
        )}
        {state.kind === "done" && <Views result={state.result} view={view} setView={setView} />}
        {state.kind === "done" && <Export sql={state.sql} />}
        {onRemove !== undefined && (
          <button type="button" className="button quiet" onClick={onRemove}>
            Remove
          </button>
        )}
        <span className="faint" role="status">
          {state.kind === "running" && <Elapsed sinceMs={state.sinceMs} />}
          {state.kind === "done" &&
            `${count(state.result.rowCount)} rows in ${duration(state.result.elapsedMs)}${state.result.truncated ? `, the first ${count(MOST_ROWS)} of more` : ""}`}
        </span>
      </div>
      {state.kind === "failed" && <Failure error={state.error} />}
      {state.kind === "done" && <Result result={state.result} view={view} label={`Result of ${label.toLowerCase()}`} />}
      {state.kind === "new" && sql.trim() === "" && <FirstQuestions names={Object.keys(names)} ask={onChange} />}
    </section>
  );
}

function Views({ result, view, setView }: { result: SqlResult; view: View; setView: (view: View) => void }) {
  const views = viewsOf(result);
  if (views.length < 2) return null;
  return (
    <select
      className="input select"
      aria-label="Show as"
      value={view}
      onChange={(event) => setView(event.target.value as View)}
    >
      {views.map((one) => (
        <option key={one} value={one}>
          {one}
        </option>
      ))}
    </select>
  );
}

function Result({ result, view, label }: { result: SqlResult; view: View; label: string }) {
  if (result.rows.length === 0) return <Empty title="No row" />;
  if (view === "grid") return <Grid result={result} label={label} />;
  if (view === "number") return <div className="big-number">{cell(result.rows[0]?.[0])}</div>;
  return (
    <Suspense fallback={<Loading what="the chart" />}>
      <Chart result={result} kind={view} />
    </Suspense>
  );
}

function Export({ sql }: { sql: string }) {
  const save = async () => {
    const response = await api.sqlAs(sql, "text/csv");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await response.blob());
    link.download = "result.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };
  return (
    <button type="button" className="button" onClick={() => void save()}>
      CSV
    </button>
  );
}

function Elapsed({ sinceMs }: { sinceMs: number }) {
  const [, setTurn] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setTurn((turn) => turn + 1), 100);
    return () => clearInterval(timer);
  }, []);
  return <>{duration(Date.now() - sinceMs)}</>;
}

/** What somebody might ask first, about what is really there. */
function FirstQuestions({ names, ask }: { names: readonly string[]; ask: (sql: string) => void }) {
  const gold = names.find((name) => name.startsWith("gold.")) ?? names.find((name) => name.startsWith("silver."));
  const questions = [
    ...(gold === undefined ? [] : [{ label: `What is in ${gold}?`, sql: `select * from ${gold} limit 100` }]),
    { label: "Does everything balance?", sql: "select * from system.ledger" },
    {
      label: "What was refused, and why?",
      sql: "select code, stage, count(*) as events from system.dead_letters group by all order by events desc",
    },
  ];
  return (
    <Empty title="Ask something">
      <ul className="row">
        {questions.map(({ label, sql }) => (
          <li key={label}>
            <button type="button" className="button" onClick={() => ask(sql)}>
              {label}
            </button>
          </li>
        ))}
      </ul>
      <details>
        <summary>As it was yesterday</summary>
        <Snippet
          label="time travel"
          text={`select * from ${gold ?? "silver.orders"} at (timestamp => now() - interval 1 day)`}
        />
      </details>
    </Empty>
  );
}
