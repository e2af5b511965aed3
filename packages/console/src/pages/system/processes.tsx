/** The processes that share the work: one that works alone is the only row. */
import { api } from "../../api.ts";
import { count } from "../../format.ts";
import { useLoad } from "../../load.ts";
import { Badge, Failure, HealthMark, Panel, Time } from "../../ui/ui.tsx";

/** `heartbeats`: when each was last heard of, as the pulse tells it. */
export function Processes({ heartbeats = {} }: { heartbeats?: Readonly<Record<string, number>> | undefined }) {
  const { value: workers, error, reload } = useLoad("workers", (signal) => api.workers(signal), { on: ["workers"] });
  return (
    <Panel title="Processes" flush>
      {error !== undefined && <Failure error={error} retry={reload} />}
      <table className="table">
        <thead>
          <tr>
            <th>Process</th>
            <th>Roles</th>
            <th>Heard of</th>
            <th>Partitions</th>
            <th>Version</th>
            <th>Started</th>
          </tr>
        </thead>
        <tbody>
          {workers?.map(({ id, roles, url, version, owns, startedAt, heartbeatAt, live, self }) => (
            <tr key={id}>
              <td>
                <span className="row">
                  <HealthMark health={live ? "ok" : "bad"} />
                  <span className="mono">{id}</span>
                  {self && <Badge tone="accent">answers here</Badge>}
                </span>
                <span className="faint mono">{url}</span>
              </td>
              <td>{roles.join(", ")}</td>
              <td>
                <Time at={heartbeats[id] ?? heartbeatAt} relative />
              </td>
              <td>
                <Owns owns={owns} />
              </td>
              <td>{version}</td>
              <td>
                <Time at={startedAt} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}

function Owns({ owns }: { owns: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>> }) {
  const groups = Object.entries(owns);
  if (groups.length === 0) return <span className="faint">all: it works alone</span>;
  return groups.map(([group, streams]) => {
    const each = Object.entries(streams);
    const partitions = each.reduce((sum, [, numbers]) => sum + numbers.length, 0);
    return (
      <details key={group}>
        <summary>
          {group}: {count(partitions)} of {count(each.length)} streams
        </summary>
        {each.map(([stream, numbers]) => (
          <div key={stream} className="faint">
            {stream}: {numbers.join(", ")}
          </div>
        ))}
      </details>
    );
  });
}
