/** One question with its answer. */
import { Suspense, useEffect, useRef, useState } from "react";
import { ApiError, api, type SqlResult } from "../../api.ts";
import { count, duration } from "../../format.ts";
import { part } from "../../parts.tsx";
import { Failure, HealthMark, Loading } from "../../ui/ui.tsx";
import { Answer } from "./answer.tsx";
import { type View, viewOf, viewsOf } from "./chart-kinds.ts";
import { Exports } from "./exports.tsx";
import { FirstQuestions } from "./first-questions.tsx";
import { freshId } from "./notebook.ts";
import { bind } from "./parameters.ts";
import { Progress } from "./progress.tsx";

const Editor = part(() => import("./editor.tsx"));
export const MOST_ROWS = 10_000;

/** That all cells shall run: `timed` by the notebook's refresh, which waits for what runs already. */
export interface Turn {
  readonly n: number;
  readonly timed: boolean;
}

export interface CellProps {
  readonly sql: string;
  readonly view: View;
  readonly label: string;
  readonly names: Readonly<Record<string, readonly string[]>>;
  readonly parameters: Readonly<Record<string, string>>;
  /** Runs by itself with every turn but number 0. */
  readonly turn: Turn;
  /** Only what it gives is shown, as on a wall. */
  readonly bare?: boolean;
  readonly onChange: (sql: string) => void;
  readonly onView: (view: View) => void;
  readonly onRun: () => void;
  readonly onRemove?: (() => void) | undefined;
}

type State =
  | { readonly kind: "new" }
  /** What was there before stays in sight. */
  | { readonly kind: "running"; readonly id: string; readonly sinceMs: number; readonly before: SqlResult | undefined }
  | { readonly kind: "done"; readonly result: SqlResult }
  | {
      readonly kind: "cancelled";
      readonly afterMs: number;
      readonly here: boolean;
      readonly before: SqlResult | undefined;
    }
  | { readonly kind: "failed"; readonly error: Error; readonly before: SqlResult | undefined };

export function Cell(props: CellProps) {
  const { sql, view, label, names, parameters, turn, bare = false, onChange, onView, onRun, onRemove } = props;
  const [state, setState] = useState<State>({ kind: "new" });
  const running = useRef<{ controller: AbortController; id: string }>(undefined);
  const run = async () => {
    if (sql.trim() === "") return;
    running.current?.controller.abort();
    const controller = new AbortController();
    const { signal } = controller;
    const id = freshId();
    running.current = { controller, id };
    const sinceMs = Date.now();
    const over = (next: (before: SqlResult | undefined) => State) => {
      if (running.current?.id === id) running.current = undefined;
      if (!signal.aborted) setState((was) => next(resultOf(was)));
    };
    setState((was) => ({ kind: "running", id, sinceMs, before: resultOf(was) }));
    try {
      const bound = bind(sql, parameters);
      const result = await api.sql(bound.sql, { params: bound.params, maxRows: MOST_ROWS, id, signal });
      over(() => ({ kind: "done", result }));
    } catch (error) {
      if (error instanceof ApiError && error.code === "QUERY_CANCELLED")
        over((before) => ({ kind: "cancelled", afterMs: Date.now() - sinceMs, here: false, before }));
      else over((before) => ({ kind: "failed", error: error as Error, before }));
    }
  };
  const latest = useRef(run);
  latest.current = run;
  useEffect(() => {
    if (turn.n !== 0 && !(turn.timed && running.current !== undefined)) void latest.current();
  }, [turn]);
  useEffect(() => () => running.current?.controller.abort(), []);
  const cancel = () => {
    const now = running.current;
    running.current = undefined;
    if (now === undefined) return;
    // The connection ends first: it may be what the other request would wait for. What that one then does not find has ended by itself.
    now.controller.abort();
    api.cancelQuery(now.id).catch(() => undefined);
    setState((was) =>
      was.kind === "running"
        ? { kind: "cancelled", afterMs: Date.now() - was.sinceMs, here: true, before: was.before }
        : was,
    );
  };
  useEscape(state.kind === "running", cancel);
  const begin = () => {
    onRun();
    void run();
  };
  const result = resultOf(state);
  const answer = result !== undefined && (
    <Answer result={result} view={view} label={`Result of ${label.toLowerCase()}`} />
  );
  const told = (
    <>
      {state.kind === "running" && <Progress {...state} label={label} />}
      {state.kind === "failed" && <Failure error={state.error} {...(bare && { retry: begin })} />}
      {state.kind === "cancelled" && (
        <div className="notice warning" role="status">
          <HealthMark health="warning" />
          <p>
            Cancelled {state.here ? "" : "from elsewhere "}after {duration(state.afterMs)}.
            {state.before !== undefined && " Below is what it gave before."}
          </p>
        </div>
      )}
    </>
  );
  if (bare)
    return (
      <section className="panel sql-cell bare" aria-label={label}>
        {told}
        {answer}
      </section>
    );
  return (
    <section className="panel sql-cell" aria-label={label}>
      <Suspense fallback={<Loading what="the editor" />}>
        <Editor value={sql} onChange={onChange} onRun={begin} names={names} label={label} />
      </Suspense>
      <div className="tools">
        {state.kind === "running" ? (
          <button type="button" className="button" onClick={cancel} aria-keyshortcuts="Escape">
            Cancel <kbd>Esc</kbd>
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
          {state.kind === "done" && summary(state.result)}
        </span>
      </div>
      {told}
      {answer}
      {state.kind === "new" && sql.trim() === "" && <FirstQuestions names={Object.keys(names)} ask={onChange} />}
    </section>
  );
}

function resultOf(state: State): SqlResult | undefined {
  if (state.kind === "done") return state.result;
  return state.kind === "new" ? undefined : state.before;
}

function summary({ rowCount, elapsedMs, truncated }: SqlResult): string {
  return `${count(rowCount)} rows in ${duration(elapsedMs)}${truncated ? `, the first ${count(MOST_ROWS)} of more` : ""}`;
}

/** Wherever the focus is, but in what takes Escape for itself: an open dialog, the editor's list of completions. */
function useEscape(active: boolean, cancel: () => void): void {
  const latest = useRef(cancel);
  latest.current = cancel;
  useEffect(() => {
    if (!active) return undefined;
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Escape" && !event.defaultPrevented && document.querySelector("dialog[open]") === null)
        latest.current();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [active]);
}

function Views({ result, view, onView }: { result: SqlResult; view: View; onView: (view: View) => void }) {
  const views = viewsOf(result);
  if (views.length < 2) return null;
  return (
    <select
      className="input select"
      aria-label="Show as"
      value={viewOf(view, result)}
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
