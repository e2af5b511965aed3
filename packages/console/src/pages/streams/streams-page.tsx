/** Every stream, with what comes in now. */
import { Link } from "wouter";
import { api } from "../../api.ts";
import { Page } from "../../app.tsx";
import { FIRST_STREAM } from "../../first-definitions.ts";
import { compact, count, rate } from "../../format.ts";
import { useLive } from "../../live.ts";
import { useLoad } from "../../load.ts";
import { Empty, Failure, HealthMark, Loading, Panel, Snippet } from "../../ui/ui.tsx";

export default function StreamsPage() {
  const { value: streams, error, reload } = useLoad("streams", (signal) => api.streams(signal));
  const live = useLive();
  const beat = live.kind === "connecting" ? undefined : live.beat;
  return (
    <Page>
      <header>
        <h1>Streams</h1>
      </header>
      {error !== undefined && <Failure error={error} retry={reload} />}
      {streams === undefined && error === undefined && <Loading what="streams" />}
      {streams?.length === 0 && (
        <Empty title="No stream yet">
          <p>A stream is where events come in. Define one in your project and start again:</p>
          <Snippet label="a stream" text={FIRST_STREAM} />
        </Empty>
      )}
      {streams !== undefined && streams.length > 0 && (
        <Panel flush>
          <table className="table">
            <thead>
              <tr>
                <th>Stream</th>
                <th className="number">Now</th>
                <th className="number">Events</th>
                <th className="number">Waiting</th>
                <th className="number">Rejected</th>
                <th>Key</th>
              </tr>
            </thead>
            <tbody>
              {streams.map(({ name, key }) => {
                const id = beat?.nodes[`window:${name}`] === undefined ? `stream:${name}` : `window:${name}`;
                const pulse = beat?.nodes[id];
                return (
                  <tr key={name}>
                    <td>
                      <span className="row">
                        <HealthMark health={pulse?.health ?? "idle"} />
                        <Link to={`/streams/${encodeURIComponent(name)}`}>{name}</Link>
                      </span>
                    </td>
                    <td className="number">{rate(beat?.rates[id] ?? 0)}</td>
                    <td className="number">{count(pulse?.count ?? 0)}</td>
                    <td className="number">{compact(pulse?.pending ?? 0)}</td>
                    <td className="number">{compact(pulse?.rejected ?? 0)}</td>
                    <td>{key ?? <span className="faint">none</span>}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </Panel>
      )}
    </Page>
  );
}
