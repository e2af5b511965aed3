/** One node of the map, beside it: how it does, since when, and its columns with where each comes from. */
import { Link, useLocation } from "wouter";
import type { MapNode } from "../../../../../src/serve/map-route.ts";
import { api } from "../../api.ts";
import { count, rate } from "../../format.ts";
import { useNode } from "../../live.ts";
import { useLoad } from "../../load.ts";
import { columnPath, nodePath } from "../../places.ts";
import { Badge, Facts, Spark, Time } from "../../ui/ui.tsx";
import { ColumnLineage } from "./column-lineage.tsx";

interface DetailProps {
  readonly thing: MapNode;
  /** Whose path is shown. */
  readonly column: { readonly table: string; readonly column: string } | undefined;
  readonly close: () => void;
}

const WITH_COLUMNS = new Set(["stream", "window", "table"]);

export function Detail({ thing, column, close }: DetailProps) {
  const { pulse, rate: perSecond, history } = useNode(thing.id);
  const path = nodePath(thing.id);
  return (
    <aside className="detail" aria-label={`${thing.kind} ${thing.name}`}>
      <div className="row">
        <h2>{thing.name}</h2>
        <Badge>{thing.kind}</Badge>
        <button type="button" className="button quiet" onClick={close} style={{ marginLeft: "auto" }}>
          Close
        </button>
      </div>
      <p className="soft">
        {thing.detail}
        {thing.file !== null && (
          <>
            {" · "}
            <code>{thing.file}</code>
          </>
        )}
      </p>
      {pulse?.problem != null && (
        <div className={`notice ${pulse.health === "bad" ? "bad" : "warning"}`}>
          <p>
            {pulse.problem}
            {pulse.sinceMs !== null && (
              <span className="faint">
                {" "}
                since <Time at={pulse.sinceMs} />
              </span>
            )}
          </p>
        </div>
      )}
      {WITH_COLUMNS.has(thing.kind) && <Columns table={column?.table ?? thing.name} column={column?.column} />}
      {pulse !== undefined && column === undefined && (
        <>
          <Spark values={history} label={`Rate of the last minute, now ${rate(perSecond)}`} />
          <Facts
            facts={[
              ["now", rate(perSecond)],
              ["in all", count(pulse.count)],
              ["waiting", count(pulse.pending)],
              ["rejected since the start", count(pulse.rejected)],
              ["open dead letters", count(pulse.deadLettered)],
            ]}
          />
        </>
      )}
      {path.startsWith("/?") ? null : (
        <Link to={path} className="button primary">
          Open
        </Link>
      )}
    </aside>
  );
}

function Columns({ table, column }: { table: string; column: string | undefined }) {
  const [, go] = useLocation();
  const { value } = useLoad(`columns ${table}`, (signal) => api.table(table, signal));
  return (
    <>
      <div className="field">
        <label htmlFor="lineage-column">Where a column comes from</label>
        <select
          id="lineage-column"
          className="input"
          value={column ?? ""}
          onChange={(event) =>
            go(
              event.target.value === ""
                ? `/?focus=${encodeURIComponent(`table:${table}`)}`
                : columnPath(table, event.target.value),
            )
          }
        >
          <option value="">choose a column</option>
          {value?.columns.map(({ name }) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </div>
      {column !== undefined && <ColumnLineage table={table} column={column} />}
    </>
  );
}
