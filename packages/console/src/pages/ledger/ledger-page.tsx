/** What became of every event, hop by hop; and of one event, by its id. */
import { type FormEvent, type ReactNode, useState } from "react";
import { Link, useSearchParams } from "wouter";
import type { LedgerHop, LedgerImbalance } from "../../../../../src/serve/admin-route.ts";
import type { LedgerHistoryView } from "../../../../../src/serve/ledger-history-route.ts";
import { api } from "../../api.ts";
import { Page } from "../../app.tsx";
import { count } from "../../format.ts";
import { useLoad } from "../../load.ts";
import { Badge, Empty, Facts, Failure, HealthMark, Loading, Panel, Tabs, Time } from "../../ui/ui.tsx";
import { OverTime } from "./over-time.tsx";
import { Receipts } from "./receipts.tsx";
import "./ledger.css";

export default function LedgerPage() {
  const [parameters, setParameters] = useSearchParams();
  const event = parameters.get("event") ?? "";
  const [text, setText] = useState(event);
  const { value: ledger, error, reload } = useLoad("ledger", (signal) => api.ledger(signal), { on: ["ledger"] });
  const hours = RANGES.find(([, choice]) => String(choice) === parameters.get("hours"))?.[1] ?? 6;
  const history = useLoad(`ledger of ${hours}`, (signal) => api.ledgerHistory(hours, signal), {
    on: ["ledger"],
    paceMs: 30_000,
  });
  const find = (submitted: FormEvent) => {
    submitted.preventDefault();
    setParameters((before) => changed(before, "event", text.trim()));
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
        <Range hours={hours} />
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
      {event !== "" && <Receipts id={event} close={() => setParameters((before) => changed(before, "event", ""))} />}
      {error !== undefined && <Failure error={error} retry={reload} />}
      {ledger === undefined && error === undefined && <Loading what="the ledger" />}
      {ledger?.imbalances.map((imbalance) => (
        <div key={imbalance.message} className="notice bad" role="alert">
          <HealthMark health="bad" />
          <Wrong imbalance={imbalance} />
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
        <Stream
          key={stream}
          stream={stream}
          hops={(ledger?.hops ?? []).filter((hop) => hop.stream === stream)}
          history={history.value}
        />
      ))}
      {history.error !== undefined && <Failure error={history.error} retry={history.reload} />}
    </Page>
  );
}

/** What does not balance: where, by how much, and since when. */
function Wrong({ imbalance }: { imbalance: LedgerImbalance }) {
  const { stream, hop, partition, from, to, ranges, expected, found, file, message, since } = imbalance;
  const facts: (readonly [string, ReactNode])[] = [
    ["stream", stream ?? "–"],
    ["hop", hop],
    ...(partition === null ? [] : [["partition", String(partition)] as const]),
    ...(from === null ? [] : [["offsets", `${count(from)} to ${count(to ?? from)}`] as const]),
    ...(ranges.length === 0
      ? []
      : [["of these", ranges.map((range) => `${count(range.from)}–${count(range.to)}`).join(", ")] as const]),
    ...(expected === null ? [] : [["should be", count(expected)] as const]),
    ...(found === null ? [] : [["found", count(found)] as const]),
    ...(file === null ? [] : [["file", <code key="file">{file}</code>] as const]),
    ["since", <Time key="since" at={since} />],
  ];
  return (
    <div>
      <p>{message}</p>
      <Facts facts={facts} />
    </div>
  );
}

interface StreamProps {
  readonly stream: string;
  readonly hops: readonly LedgerHop[];
  readonly history: LedgerHistoryView | undefined;
}

function Stream({ stream, hops, history }: StreamProps) {
  const [parameters, setParameters] = useSearchParams();
  const chosen = hops.find(({ hop }) => hop === parameters.get("hop")) ?? hops[0];
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
                  <button
                    type="button"
                    className="button quiet"
                    aria-pressed={hop.hop === chosen?.hop}
                    onClick={() => setParameters((before) => changed(before, "hop", hop.hop), { replace: true })}
                  >
                    {hop.hop}
                  </button>
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
      {history !== undefined && chosen !== undefined && <OverTime now={chosen} history={history} />}
    </Panel>
  );
}

const RANGES = [
  ["1 hour", 1],
  ["6 hours", 6],
  ["1 day", 24],
  ["1 week", 168],
] as const;

/** Over how long the charts look. */
function Range({ hours }: { hours: number }) {
  const [parameters] = useSearchParams();
  const tabs = RANGES.map(([label, choice]) => ({
    ...{ label, current: choice === hours },
    to: `/ledger?${changed(parameters, "hours", String(choice)).toString()}`,
  }));
  return <Tabs tabs={tabs} />;
}

/** An address with one thing changed, or without it. */
function changed(parameters: URLSearchParams, name: string, value: string): URLSearchParams {
  const next = new URLSearchParams(parameters);
  if (value === "") next.delete(name);
  else next.set(name, value);
  return next;
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
