/** What is acknowledged and not there yet, by stream, table and function; what is furthest behind first. */
import { Link } from "wouter";
import { count, rate } from "../../format.ts";
import type { Beat } from "../../live.ts";
import { nodePath } from "../../places.ts";
import { Empty, HealthMark, Panel, Time } from "../../ui/ui.tsx";

const KINDS = new Set(["stream", "window", "table", "function", "destination"]);

export function Lag({ beat }: { beat: Beat | undefined }) {
  const rows = Object.entries(beat?.nodes ?? {})
    .filter(([id]) => KINDS.has(id.slice(0, id.indexOf(":"))))
    .toSorted(([a, one], [b, other]) => other.pending - one.pending || a.localeCompare(b));
  return (
    <Panel title="Lag and throughput" flush>
      {rows.length === 0 ? (
        <Empty title="Nothing is defined yet" />
      ) : (
        <table className="table">
          <thead>
            <tr>
              <th>What</th>
              <th className="number">Waiting</th>
              <th className="number">Now</th>
              <th>Newest rows</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(([id, { pending, freshAtMs, health }]) => (
              <tr key={id}>
                <td>
                  <span className="row">
                    <HealthMark health={health} />
                    <Link to={nodePath(id)}>{id.slice(id.indexOf(":") + 1)}</Link>
                    <span className="faint">{id.slice(0, id.indexOf(":"))}</span>
                  </span>
                </td>
                <td className="number">{count(pending)}</td>
                <td className="number">{rate(beat?.rates[id] ?? 0)}</td>
                <td>{freshAtMs === null ? <span className="faint">–</span> : <Time at={freshAtMs} relative />}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Panel>
  );
}
