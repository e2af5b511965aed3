/**
 * A notebook's results and nothing else, for a wall: refreshed as the notebook says, also where the notebook itself is changed meanwhile. Values of parameters may come with the
 * address: `?country=DE`.
 */
import { useCallback, useEffect, useMemo, useState } from "react";
import { Link, useSearchParams } from "wouter";
import { api } from "../../api.ts";
import { useLive } from "../../live.ts";
import { useLoad } from "../../load.ts";
import { icons } from "../../ui/icons.tsx";
import { Badge, Empty, Failure, Loading, Time } from "../../ui/ui.tsx";
import { Cell, type Turn } from "./cell.tsx";
import { fromCells } from "./notebook.ts";
import { Prose } from "./prose.tsx";
import "./sql.css";

const NAMES = {};
const nothing = () => undefined;
/** So often a dashboard without a refresh looks whether its notebook was changed. */
const LOOKS_MS = 60_000;

export default function DashboardPage({ id }: { id: string }) {
  const [everyMs, setEveryMs] = useState(LOOKS_MS);
  const { value, error, reload } = useLoad(`notebook ${id}`, (signal) => api.notebook(id, signal), { everyMs });
  const refreshMs = value?.refreshS == null ? undefined : value.refreshS * 1000;
  useEffect(() => setEveryMs(refreshMs ?? LOOKS_MS), [refreshMs]);
  const [turn, setTurn] = useState<Turn & { atMs: number }>({ n: 1, timed: false, atMs: Date.now() });
  const next = useCallback((timed: boolean) => setTurn(({ n }) => ({ n: n + 1, timed, atMs: Date.now() })), []);
  useEffect(() => {
    if (refreshMs === undefined) return undefined;
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") next(true);
    }, refreshMs);
    return () => clearInterval(timer);
  }, [refreshMs, next]);
  // What could not be had while the platform was away is had once it is back.
  const lost = useLive().kind === "lost";
  const [wasLost, setWasLost] = useState(false);
  useEffect(() => {
    if (lost) setWasLost(true);
    else if (wasLost) {
      setWasLost(false);
      reload();
      next(true);
    }
  }, [lost, wasLost, reload, next]);
  const [given] = useSearchParams();
  const version = value?.version;
  // biome-ignore lint/correctness/useExhaustiveDependencies: a version is what it was made of for ever
  const kept = useMemo(() => value && fromCells(value.cells), [version]);
  const parameters = { ...kept?.parameters, ...Object.fromEntries(given) };
  useEffect(() => {
    document.title = `${value?.name ?? "Dashboard"} · Millrace`;
  }, [value?.name]);
  const Brand = icons.brand;
  return (
    <div className="dashboard">
      <header>
        <h1>
          <Brand /> {value?.name ?? "Dashboard"}
        </h1>
        {lost && <Badge tone="bad">no answer</Badge>}
        <span className="faint">
          as of <Time at={turn.atMs} />
          {value?.refreshS == null ? "" : `, every ${value.refreshS} s`}
        </span>
        <div className="row">
          <button type="button" className="button" onClick={() => next(false)}>
            Refresh
          </button>
          <button type="button" className="button" onClick={() => void fullScreen()}>
            Full screen
          </button>
          <Link className="button" to={`/sql/${id}`}>
            Notebook
          </Link>
        </div>
      </header>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and must be reachable by keyboard */}
      <main id="main" tabIndex={0}>
        {error !== undefined && <Failure error={error} retry={reload} />}
        {value === undefined && error === undefined && <Loading what="the dashboard" />}
        {kept?.cells.length === 0 && (
          <Empty title="Nothing to show yet">
            <p>This notebook has no question in it.</p>
          </Empty>
        )}
        {kept?.cells.map((cell, i) =>
          cell.kind === "text" ? (
            <Prose key={cell.id} text={cell.text} />
          ) : (
            <Cell
              key={`${cell.id} ${version}`}
              {...{ sql: cell.sql, view: cell.view, names: NAMES, parameters, turn }}
              label={`Result ${i + 1}`}
              bare
              onChange={nothing}
              onView={nothing}
              onRun={nothing}
            />
          ),
        )}
      </main>
    </div>
  );
}

async function fullScreen(): Promise<void> {
  if (document.fullscreenElement === null) await document.documentElement.requestFullscreen();
  else await document.exitFullscreen();
}
