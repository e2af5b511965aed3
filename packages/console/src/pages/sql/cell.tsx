/** One question with its answer. */
import { lazy, Suspense, useEffect, useRef, useState } from "react";
import { api, type SqlResult } from "../../api.ts";
import { cell, count, duration } from "../../format.ts";
import { Grid } from "../../ui/grid.tsx";
import { Empty, Failure, Loading, Snippet } from "../../ui/ui.tsx";
import { type View, viewsOf } from "./chart-kinds.ts";
import { bind } from "./parameters.ts";
import { parquetOf, saveAs } from "./save.ts";

const Editor = lazy(() => import("./editor.tsx"));
const Chart = lazy(() => import("./chart.tsx"));
const MOST_ROWS = 10_000;

export interface CellProps {
  readonly sql: string;
  readonly view: View;
  readonly label: string;
  readonly names: Readonly<Record<string, readonly string[]>>;
  readonly parameters: Readonly<Record<string, string>>;
  /** Runs by itself when this changes to another number than 0. */
  readonly turn: number;
  readonly onChange: (sql: string) => void;
  readonly onView: (view: View) => void;
  readonly onRun: () => void;
  readonly onRemove?: (() => void) | undefined;
}

type State =
  | { readonly kind: "new" }
  /** What was there before stays in sight. */
  | { readonly kind: "running"; readonly sinceMs: number; readonly before: SqlResult | undefined }
  | { readonly kind: "done"; readonly result: SqlResult }
  | { readonly kind: "failed"; readonly error: Error };

export function Cell(props: CellProps) {
  const { sql, view, label, names, parameters, turn, onChange, onView, onRun, onRemove } = props;
  const [state, setState] = useState<State>({ kind: "new" });
  const running = useRef<AbortController>(undefined);
  const run = async () => {
    if (sql.trim() === "") return;
    running.current?.abort();
    const controller = new AbortController();
    running.current = controller;
    setState((before) => ({
      kind: "running",
      sinceMs: Date.now(),
      before: before.kind === "done" ? before.result : undefined,
    }));
    try {
      const bound = bind(sql, parameters);
      const { signal } = controller;
      const result = await api.sql(bound.sql, { params: bound.params, maxRows: MOST_ROWS, signal });
      if (signal.aborted) return;
      setState({ kind: "done", result });
      const views = viewsOf(result);
      if (!views.includes(view)) onView(views[0] as View);
    } catch (error) {
      if (!controller.signal.aborted) setState({ kind: "failed", error: error as Error });
    }
  };
  const latest = useRef(run);
  latest.current = run;
  useEffect(() => {
    if (turn !== 0) void latest.current();
  }, [turn]);
  useEffect(() => () => running.current?.abort(), []);
  const stop = () => {
    running.current?.abort();
    setState({ kind: "failed", error: new Error("You stopped it; the platform has stopped it too.") });
  };
  const begin = () => {
    onRun();
    void run();
  };
  const result = state.kind === "done" ? state.result : state.kind === "running" ? state.before : undefined;
  return (
    <section className="panel sql-cell" aria-label={label}>
      <Suspense fallback={<Loading what="the editor" />}>
        <Editor value={sql} onChange={onChange} onRun={begin} names={names} label={label} />
      </Suspense>
      <div className="tools">
        {state.kind === "running" ? (
          <button type="button" className="button" onClick={stop}>
            Stop
          </button>
        ) : (
          <button type="button" className="button primary" onClick={begin} disabled={sql.trim() === ""}>
            Run
          </button>
        )}
        {result !== undefined && <Views result={result} view={view} onView={onView} />}
        {result !== undefined && <Exports sql={sql} parameters={parameters} result={result} />}
        {onRemove !== undefined && (
          <button type="button" className="button quiet" onClick={onRemove}>
            Remove
          </button>
        )}
        <span className="faint" role="status">
          {state.kind === "running" && <Elapsed sinceMs={state.sinceMs} />}
          {state.kind === "done" && told(state.result)}
        </span>
      </div>
      {state.kind === "failed" && <Failure error={state.error} />}
      {result !== undefined && <Answer result={result} view={view} label={`Result of ${label.toLowerCase()}`} />}
      {state.kind === "new" && sql.trim() === "" && <FirstQuestions names={Object.keys(names)} ask={onChange} />}
    </section>
  );
}

function told({ rowCount, elapsedMs, truncated }: SqlResult): string {
  return `${count(rowCount)} rows in ${duration(elapsedMs)}${truncated ? `, the first ${count(MOST_ROWS)} of more` : ""}`;
}

function Views({ result, view, onView }: { result: SqlResult; view: View; onView: (view: View) => void }) {
  const views = viewsOf(result);
  if (views.length < 2) return null;
  return (
    <select
      className="input select"
      aria-label="Show as"
      value={view}
      onChange={(event) => onView(event.target.value as View)}
    >
      {views.map((one) => (
        <option key={one} value={one}>
          {one}
        </option>
      ))}
    </select>
  );
}

function Answer({ result, view, label }: { result: SqlResult; view: View; label: string }) {
  if (result.rows.length === 0) return <Empty title="No row" />;
  if (view === "number") return <div className="big-number">{cell(result.rows[0]?.[0])}</div>;
  if (view === "grid" || !viewsOf(result).includes(view)) return <Grid result={result} label={label} />;
  return (
    <Suspense fallback={<Loading what="the chart" />}>
      <Chart result={result} kind={view} />
    </Suspense>
  );
}

function Exports({
  sql,
  parameters,
  result,
}: {
  sql: string;
  parameters: Readonly<Record<string, string>>;
  result: SqlResult;
}) {
  const [failure, setFailure] = useState<Error>();
  const place = useRef<HTMLSpanElement>(null);
  const save = async (work: () => Promise<[string, Blob]>) => {
    setFailure(undefined);
    try {
      saveAs(...(await work()));
    } catch (error) {
      setFailure(error as Error);
    }
  };
  const csv = async (): Promise<[string, Blob]> => {
    const bound = bind(sql, parameters);
    return ["result.csv", await (await api.sqlAs(bound.sql, "text/csv", bound.params)).blob()];
  };
  const png = async (): Promise<[string, Blob]> => {
    const canvas = place.current?.closest(".sql-cell")?.querySelector<HTMLCanvasElement>(".chart canvas");
    const picture = await new Promise<Blob | null>((resolve) => (canvas ? canvas.toBlob(resolve) : resolve(null)));
    if (picture === null) throw new Error("There is no chart to save; show the result as one first.");
    return ["chart.png", picture];
  };
  return (
    <span ref={place} className="row">
      <button type="button" className="button quiet" title="Every row, as CSV" onClick={() => void save(csv)}>
        CSV
      </button>
      <button
        type="button"
        className="button quiet"
        title="The rows shown, as Parquet"
        onClick={() => void save(async () => ["result.parquet", await parquetOf(result)])}
      >
        Parquet
      </button>
      <button type="button" className="button quiet" title="The chart, as a picture" onClick={() => void save(png)}>
        PNG
      </button>
      {failure !== undefined && <span className="faint">{failure.message}</span>}
    </span>
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
        <summary>As it was yesterday, or with a parameter</summary>
        <Snippet
          label="time travel"
          text={`select * from ${gold ?? "silver.orders"} at (timestamp => now() - interval 1 day)\nselect * from ${gold ?? "silver.orders"} where country = $country`}
        />
      </details>
    </Empty>
  );
}
