/** What fires, what fired, and what is silenced. */
import { type FormEvent, useState } from "react";
import { Link, useSearchParams } from "wouter";
import { type AlertView, api, type SilenceView } from "../../api.ts";
import { Page } from "../../app.tsx";
import { FIRST_ALERT } from "../../first-definitions.ts";
import { useLoad } from "../../load.ts";
import { Badge, Empty, Failure, Loading, Panel, Snippet, Tabs, Time, type Tone } from "../../ui/ui.tsx";
import { Alert } from "./alert.tsx";

export const SEVERITY_TONES: Readonly<Record<AlertView["severity"], Tone>> = {
  critical: "bad",
  warning: "warning",
  info: "accent",
};

export default function AlertsPage() {
  const [parameters, setParameters] = useSearchParams();
  const part = parameters.get("show") ?? "open";
  const chosen = parameters.get("id") ?? undefined;
  const alerts = useLoad(
    `alerts ${part}`,
    (signal) => api.alerts({ ...(part === "open" && { state: "open" }), limit: 200 }, signal),
    { on: ["alerts", "silences"] },
  );
  const open = (id: string | undefined) =>
    setParameters({ ...(part !== "open" && { show: part }), ...(id !== undefined && { id }) });
  return (
    <Page>
      <header>
        <h1>Alerts</h1>
      </header>
      <Tabs
        tabs={[
          { to: "/alerts", label: "Open", current: part === "open" },
          { to: "/alerts?show=all", label: "History", current: part === "all" },
          { to: "/alerts?show=silences", label: "Silences", current: part === "silences" },
        ]}
      />
      {chosen !== undefined && <Alert key={chosen} id={chosen} close={() => open(undefined)} changed={alerts.reload} />}
      {part === "silences" ? (
        <Silences />
      ) : (
        <>
          {alerts.error !== undefined && <Failure error={alerts.error} retry={alerts.reload} />}
          {alerts.value === undefined && alerts.error === undefined && <Loading what="alerts" />}
          {alerts.value?.alerts.length === 0 && (
            <Empty title={part === "open" ? "Nothing fires" : "Nothing has ever fired"}>
              <p>An alert is a condition over a stream, a window or SQL. This one tells of events that were refused:</p>
              <Snippet label="a first alert" text={FIRST_ALERT} />
            </Empty>
          )}
          {alerts.value !== undefined && alerts.value.alerts.length > 0 && (
            <Panel flush>
              <table className="table">
                <thead>
                  <tr>
                    <th>Severity</th>
                    <th>Alert</th>
                    <th>Why</th>
                    <th>State</th>
                    <th>Since</th>
                  </tr>
                </thead>
                <tbody>
                  {alerts.value.alerts.map((alert) => (
                    <tr key={alert.id}>
                      <td>
                        <Badge tone={SEVERITY_TONES[alert.severity]}>{alert.severity}</Badge>
                      </td>
                      <td>
                        <Link
                          to={`/alerts?${new URLSearchParams({ ...(part !== "open" && { show: part }), id: alert.id })}`}
                        >
                          {alert.name}
                        </Link>
                        <br />
                        <span className="faint">{alert.key}</span>
                      </td>
                      <td>{alert.summary}</td>
                      <td>
                        <Badge
                          tone={alert.state === "firing" ? "bad" : alert.state === "acknowledged" ? "warning" : "ok"}
                        >
                          {alert.state}
                        </Badge>
                        {alert.silencedUntil !== null && <Badge>silenced</Badge>}
                      </td>
                      <td>
                        <Time at={alert.at} relative />
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </Panel>
          )}
        </>
      )}
    </Page>
  );
}

function Silences() {
  const { value, error, reload } = useLoad("silences", (signal) => api.silences(signal), { on: ["silences"] });
  const [name, setName] = useState("");
  const [reason, setReason] = useState("");
  const [lasts, setLasts] = useState("1h");
  const [failure, setFailure] = useState<Error>();
  const act = async (work: () => Promise<unknown>) => {
    setFailure(undefined);
    try {
      await work();
      reload();
    } catch (problem) {
      setFailure(problem as Error);
    }
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void act(async () => {
      await api.silence({ match: { name }, reason, for: lasts });
      setName("");
      setReason("");
    });
  };
  return (
    <>
      <Panel title="Silence alerts">
        <form className="row" onSubmit={submit}>
          <input
            className="input"
            style={{ width: 220 }}
            aria-label="Name of the alert; * stands for any text"
            placeholder="Alert, * for any text"
            required
            value={name}
            onChange={(event) => setName(event.target.value)}
          />
          <input
            className="input"
            style={{ width: 280 }}
            aria-label="Why"
            placeholder="Why"
            required
            value={reason}
            onChange={(event) => setReason(event.target.value)}
          />
          <select
            className="input select"
            aria-label="For how long"
            value={lasts}
            onChange={(event) => setLasts(event.target.value)}
          >
            {["15m", "1h", "4h", "1d", "7d"].map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
          <button type="submit" className="button primary">
            Silence
          </button>
        </form>
        {failure !== undefined && <Failure error={failure} />}
      </Panel>
      {error !== undefined && <Failure error={error} retry={reload} />}
      {value?.length === 0 && (
        <Empty title="Nothing is silenced">
          <p>
            A silenced alert is kept as ever, and tells nobody until the silence is over. Say above which, for how long
            and why.
          </p>
        </Empty>
      )}
      {value !== undefined && value.length > 0 && (
        <Panel flush>
          <table className="table">
            <thead>
              <tr>
                <th>What</th>
                <th>Why</th>
                <th>By</th>
                <th>From</th>
                <th>To</th>
                <th>State</th>
              </tr>
            </thead>
            <tbody>
              {value.map((silence) => (
                <tr key={silence.id}>
                  <td className="mono">{matchText(silence)}</td>
                  <td>{silence.reason}</td>
                  <td>{silence.createdBy}</td>
                  <td>
                    <Time at={silence.from} />
                  </td>
                  <td>
                    <Time at={silence.to} />
                  </td>
                  <td>
                    <Badge tone={silence.state === "active" ? "warning" : "idle"}>{silence.state}</Badge>
                    {silence.state !== "over" && (
                      <button
                        type="button"
                        className="button quiet"
                        onClick={() => void act(() => api.endSilence(silence.id))}
                      >
                        End it
                      </button>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </Panel>
      )}
    </>
  );
}

function matchText({ match }: SilenceView): string {
  return Object.entries(match)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([what, value]) => `${what} ${value}`)
    .join(", ");
}
