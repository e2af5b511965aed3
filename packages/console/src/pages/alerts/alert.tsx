/** One alert: the reason in words and numbers, drawn among the values around it. */
import { useState } from "react";
import { Link } from "wouter";
import { type AlertView, api } from "../../api.ts";
import { useLoad } from "../../load.ts";
import { Badge, Facts, Failure, Loading, Panel, Snippet, Time } from "../../ui/ui.tsx";
import { quoted } from "../tables/quoted.ts";
import { SEVERITY_TONES } from "./alerts-page.tsx";
import { Reason } from "./reason.tsx";

/** What the platform says of an alert that a definition raised. */
export interface Details {
  readonly reason?: {
    readonly text?: string;
    readonly condition?: string;
    readonly field?: string;
    readonly value?: number;
    readonly high?: number;
    readonly low?: number;
  };
  readonly on?: string;
  readonly by?: readonly string[];
  readonly row?: Readonly<Record<string, unknown>>;
}

export function Alert({ id, close, changed }: { id: string; close: () => void; changed: () => void }) {
  const {
    value: alert,
    error,
    reload,
  } = useLoad(`alert ${id}`, (signal) => api.alert(id, signal), { on: ["alerts", "silences"] });
  const [note, setNote] = useState("");
  const [failure, setFailure] = useState<Error>();
  const act = async (work: () => Promise<unknown>) => {
    setFailure(undefined);
    try {
      await work();
      setNote("");
      reload();
      changed();
    } catch (problem) {
      setFailure(problem as Error);
    }
  };
  const details = (alert?.details ?? {}) as Details;
  return (
    <Panel
      title={alert?.summary ?? "Alert"}
      actions={
        <button type="button" className="button quiet" onClick={close}>
          Close
        </button>
      }
    >
      {error !== undefined && <Failure error={error} retry={reload} />}
      {alert === undefined && error === undefined && <Loading what="the alert" />}
      {alert !== undefined && (
        <>
          <Facts
            facts={[
              ["alert", alert.name],
              ["key", alert.key || "none"],
              [
                "severity",
                <Badge key="severity" tone={SEVERITY_TONES[alert.severity]}>
                  {alert.severity}
                </Badge>,
              ],
              ["state", alert.state],
              ["fired", <Time key="fired" at={alert.at} />],
              ["acknowledged", who(alert.acknowledgedAt, alert.acknowledgedBy)],
              ["resolved", who(alert.resolvedAt, alert.resolvedBy)],
            ]}
          />
          {alert.note !== null && <p className="soft">“{alert.note}”</p>}
          <Reason alert={alert} details={details} />
          {alert.state !== "resolved" && (
            <div className="row">
              <label className="visually-hidden" htmlFor="alert-note">
                A note
              </label>
              <input
                id="alert-note"
                className="input"
                style={{ width: 280 }}
                placeholder="A note, if there is one"
                value={note}
                onChange={(event) => setNote(event.target.value)}
              />
              {alert.state === "firing" && (
                <button
                  type="button"
                  className="button primary"
                  onClick={() => void act(() => api.acknowledge(id, note))}
                >
                  Acknowledge
                </button>
              )}
              <button type="button" className="button" onClick={() => void act(() => api.resolve(id, note))}>
                Resolve
              </button>
            </div>
          )}
          {failure !== undefined && <Failure error={failure} />}
          {details.on !== undefined && (
            <Link to={`/sql?sql=${encodeURIComponent(questionOf(details))}`}>The events around it</Link>
          )}
          <details>
            <summary>All of it</summary>
            <Snippet label="the alert's details" text={JSON.stringify(alert.details, null, 2)} />
          </details>
        </>
      )}
    </Panel>
  );
}

function who(at: AlertView["acknowledgedAt"], by: string | null) {
  if (at === null) return "no";
  return (
    <>
      <Time at={at} /> <small>{by}</small>
    </>
  );
}

function questionOf({ on = "", by = [], row = {} }: Details): string {
  const conditions = by.map((field) => `${quoted(field)} = ${literal(row[field])}`);
  return `select * from ${quoted(on)}${conditions.length === 0 ? "" : ` where ${conditions.join(" and ")}`} order by _received_at desc limit 200`;
}

export function literal(value: unknown): string {
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return value === null || value === undefined ? "null" : `'${String(value).replaceAll("'", "''")}'`;
}
