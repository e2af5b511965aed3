/** The process: what it does, what it is set to, who may do what. */
import { api } from "../../api.ts";
import { Page } from "../../app.tsx";
import { bytes, count, duration, rate } from "../../format.ts";
import { useLoad } from "../../load.ts";
import { Badge, Facts, Failure, HealthMark, Loading, Panel, Time } from "../../ui/ui.tsx";

export default function SystemPage() {
  const { value: status, error, reload } = useLoad("status", (signal) => api.status(signal), { everyMs: 2_000 });
  return (
    <Page>
      <header>
        <h1>System</h1>
        {status !== undefined && (
          <HealthMark health={status.ready ? "ok" : "bad"} label={status.ready ? "ready" : "not ready"} />
        )}
      </header>
      {error !== undefined && <Failure error={error} retry={reload} />}
      {status === undefined && error === undefined && <Loading what="the status" />}
      {status?.problems.map((problem) => (
        <div key={problem} className={`notice ${status.ready ? "warning" : "bad"}`} role="alert">
          <HealthMark health={status.ready ? "warning" : "bad"} />
          <p>{problem}</p>
        </div>
      ))}
      {status !== undefined && (
        <Panel title={status.project}>
          <Facts
            facts={[
              ["version", status.version],
              ["running for", duration(status.uptimeMs)],
              ["memory", bytes(status.residentBytes)],
              ["coming in", rate(status.door.eventsPerSecond)],
              ["accepted since the start", count(status.door.accepted)],
              ["rejected since the start", count(status.door.rejected)],
            ]}
          />
        </Panel>
      )}
      <div className="columns">
        <Keys />
        <Settings />
      </div>
    </Page>
  );
}

function Keys() {
  const { value: keys, error, reload } = useLoad("keys", (signal) => api.keys(signal));
  return (
    <Panel title="Keys" flush>
      {error !== undefined && <Failure error={error} retry={reload} />}
      <table className="table">
        <thead>
          <tr>
            <th>Name</th>
            <th>May</th>
            <th>Made</th>
          </tr>
        </thead>
        <tbody>
          {keys?.map(({ id, name, scopes, createdAt, revokedAt }) => (
            <tr key={id}>
              <td>
                {name} {revokedAt != null && <Badge tone="bad">revoked</Badge>}
                <br />
                <span className="faint mono">{id}</span>
              </td>
              <td>{scopes.join(", ")}</td>
              <td>
                <Time at={createdAt} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}

function Settings() {
  const { value: settings, error, reload } = useLoad("settings", (signal) => api.settings(signal));
  return (
    <Panel title="Settings" flush>
      {error !== undefined && <Failure error={error} retry={reload} />}
      <table className="table">
        <thead>
          <tr>
            <th>Setting</th>
            <th>Value</th>
            <th>From</th>
          </tr>
        </thead>
        <tbody>
          {settings?.map(({ name, value, source, doc }) => (
            <tr key={name}>
              <td>
                <span className="mono">{name}</span>
                <br />
                <span className="faint">{doc}</span>
              </td>
              <td className="mono">{value ?? "not set"}</td>
              <td>
                {source === "default" ? <span className="faint">default</span> : <Badge tone="accent">{source}</Badge>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}
