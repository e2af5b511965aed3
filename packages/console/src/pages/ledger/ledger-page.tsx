/** What became of every event, hop by hop; and of one event, by its id. */
import { type FormEvent, useState } from "react";
import { Link, useSearchParams } from "wouter";
import type { LedgerHop } from "../../../../../src/serve/admin-route.ts";
import { api } from "../../api.ts";
import { Page } from "../../app.tsx";
import { count } from "../../format.ts";
import { useLoad } from "../../load.ts";
import { Badge, Empty, Failure, HealthMark, Loading, Panel, Time } from "../../ui/ui.tsx";
import { Receipts } from "./receipts.tsx";
import "./ledger.css";

export default function LedgerPage() {
  const [parameters, setParameters] = useSearchParams();
  const event = parameters.get("event") ?? "";
  const [text, setText] = useState(event);
  const { value: ledger, error, reload } = useLoad("ledger", (signal) => api.ledger(signal), { on: ["ledger"] });
  const find = (submitted: FormEvent) => {
    submitted.preventDefault();
    setParameters(text.trim() === "" ? {} : { event: text.trim() });
  };
  const streams = [...new Set((ledger?.hops ?? []).map(({ stream }) => stream))];
  return (
    <Page>
      <header>
        <h1>Ledger</h1>
        {ledger !== undefined && (
          <HealthMark
            health={ledger.balanced ? "ok" : "bad"}
            label={ledger.balanced ? "every event is accounted for" : "something does not balance"}
          />
        )}
        <form className="row" onSubmit={find}>
          <label className="visually-hidden" htmlFor="event-id">
            An event's id
          </label>
          <input
            id="event-id"
            className="input mono"
            style={{ width: 280 }}
            placeholder="An event's id: where is it?"
            value={text}
            onChange={(change) => setText(change.target.value)}
          />
          <button type="submit" className="button">
            Find
          </button>
        </form>
      </header>
      {event !== "" && <Receipts id={event} close={() => setParameters({})} />}
      {error !== undefined && <Failure error={error} retry={reload} />}
      {ledger === undefined && error === undefined && <Loading what="the ledger" />}
      {ledger?.imbalances.map((imbalance) => (
        <div key={imbalance.message} className="notice bad" role="alert">
          <HealthMark health="bad" />
          <div>
            <p>{imbalance.message}</p>
            <p className="faint">
              {imbalance.hop}
              {imbalance.from !== null && `, offsets ${imbalance.from} to ${imbalance.to}`}, since{" "}
              <Time at={imbalance.since} />
            </p>
          </div>
        </div>
      ))}
      {ledger?.hops.length === 0 && (
        <Empty title="Nothing to account for yet">
          <Link to="/streams" className="button primary">
            Send an event
          </Link>
        </Empty>
      )}
      {streams.map((stream) => (
        <Stream key={stream} stream={stream} hops={(ledger?.hops ?? []).filter((hop) => hop.stream === stream)} />
      ))}
    </Page>
  );
}

function Stream({ stream, hops }: { stream: string; hops: readonly LedgerHop[] }) {
  return (
    <Panel
      title={stream}
      flush
      actions={
        hops.every(({ balanced }) => balanced) ? (
          <Badge tone="ok">balances</Badge>
        ) : (
          <Badge tone="bad">does not balance</Badge>
        )
      }
    >
      <table className="table">
        <thead>
          <tr>
            <th>Hop</th>
            <th className="number">Accepted</th>
            <th>became</th>
            <th className="number">Stored</th>
            <th className="number">Duplicate</th>
            <th className="number">Filtered</th>
            <th className="number">Dead letters</th>
            <th className="number">On the way</th>
            <th>Counted again</th>
          </tr>
        </thead>
        <tbody>
          {hops.map((hop) => (
            <tr key={hop.hop}>
              <td>
                <span className="row">
                  <HealthMark health={hop.balanced ? "ok" : "bad"} />
                  {hop.hop}
                </span>
              </td>
              <td className="number">{count(hop.accepted)}</td>
              <td>
                <Share hop={hop} />
              </td>
              <td className="number">{count(hop.stored)}</td>
              <td className="number">{count(hop.duplicate)}</td>
              <td className="number">{count(hop.filtered)}</td>
              <td className="number">{count(hop.deadLettered)}</td>
              <td className="number">{count(hop.pending)}</td>
              <td>
                {hop.verifiedAt === null ? (
                  <span className="faint">not yet</span>
                ) : (
                  <Time at={hop.verifiedAt} relative />
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}

function Share({ hop }: { hop: LedgerHop }) {
  const whole = Math.max(1, hop.accepted);
  const parts = [
    ["stored", hop.stored],
    ["duplicate", hop.duplicate],
    ["filtered", hop.filtered],
    ["dead", hop.deadLettered],
    ["pending", hop.pending],
  ] as const;
  return (
    <span className="share" role="img" aria-label={parts.map(([name, n]) => `${name} ${count(n)}`).join(", ")}>
      {parts.map(([name, n]) => (
        <span key={name} className={name} style={{ width: `${(n / whole) * 100}%` }} />
      ))}
    </span>
  );
}
