/** How far a backfill is. */
import { Link } from "wouter";
import { api } from "../../api.ts";
import { Page } from "../../app.tsx";
import { count } from "../../format.ts";
import { useLoad } from "../../load.ts";
import { Badge, Facts, Failure, Loading, Panel, Time } from "../../ui/ui.tsx";

export default function BackfillPage({ id }: { id: string }) {
  const { value, error, reload } = useLoad(`backfill ${id}`, (signal) => api.showBackfill(id, signal), {
    on: ["runs"],
  });
  const over = value === undefined ? 0 : value.runs.succeeded + value.runs.failed + value.runs.cancelled;
  return (
    <Page>
      <header>
        <h1>Backfill of {value?.workflow ?? "…"}</h1>
        {value !== undefined && (
          <Badge tone={value.done ? (value.runs.failed > 0 ? "bad" : "ok") : "accent"}>
            {value.done ? "done" : "under way"}
          </Badge>
        )}
        <div className="row">
          {value !== undefined && !value.done && (
            <button type="button" className="button danger" onClick={() => void api.cancelBackfill(id).then(reload)}>
              Cancel what has not ended
            </button>
          )}
        </div>
      </header>
      {error !== undefined && <Failure error={error} retry={reload} />}
      {value === undefined && error === undefined && <Loading what="the backfill" />}
      {value !== undefined && (
        <Panel title={`${count(over)} of ${count(value.partitions)} partitions`}>
          <div
            className="progress"
            role="progressbar"
            aria-label="Partitions done"
            aria-valuemin={0}
            aria-valuemax={value.partitions}
            aria-valuenow={over}
          >
            <span style={{ width: `${(over / Math.max(1, value.partitions)) * 100}%` }} />
          </div>
          <Facts
            facts={[
              ...Object.entries(value.runs).map(([status, n]) => [status, count(n)] as const),
              ["at once", value.concurrency],
              ["began", <Time key="began" at={value.createdAt} />],
            ]}
          />
          {value.failed.map(({ partition, run, message }) => (
            <div key={run} className="notice bad">
              <span />
              <p>
                <Link to={`/runs/${run}`}>{partition}</Link>: {message}
              </p>
            </div>
          ))}
          <Link to={`/runs?workflow=${encodeURIComponent(value.workflow)}`}>All runs of {value.workflow}</Link>
        </Panel>
      )}
    </Page>
  );
}
