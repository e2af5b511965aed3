/** What runs from other pages and other clients, to be cancelled from here. */
import { useState } from "react";
import { api } from "../../api.ts";
import { duration } from "../../format.ts";
import { Badge, Failure, Panel } from "../../ui/ui.tsx";
import { ProgressBar } from "./progress.tsx";
import { useOthers } from "./queries.ts";

export function RunningNow() {
  const { others, reload } = useOthers();
  const [failure, setFailure] = useState<Error>();
  if (others.length === 0) return null;
  const cancel = async (id: string) => {
    setFailure(undefined);
    try {
      await api.cancelQuery(id);
    } catch (error) {
      setFailure(error as Error);
    }
    reload();
  };
  return (
    <Panel title="Running elsewhere" flush>
      {failure !== undefined && <Failure error={failure} />}
      <table className="table">
        <thead>
          <tr>
            <th>Statement</th>
            <th>By</th>
            <th>State</th>
            <th>How far</th>
            <th className="number">For</th>
            <th>Do</th>
          </tr>
        </thead>
        <tbody>
          {others.map(({ id, sql, by, state, progress, elapsedMs }) => (
            <tr key={id}>
              <td className="mono" title={sql}>
                {sql.length > 120 ? `${sql.slice(0, 119)}…` : sql}
              </td>
              <td>{by}</td>
              <td>
                <Badge tone={state === "running" ? "accent" : "idle"}>{state}</Badge>
              </td>
              <td>
                <ProgressBar share={progress ?? undefined} label={`Progress of a query by ${by}`} />
              </td>
              <td className="number">{duration(elapsedMs)}</td>
              <td>
                <button
                  type="button"
                  className="button"
                  disabled={state === "stopping"}
                  onClick={() => void cancel(id)}
                >
                  Cancel
                </button>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}
