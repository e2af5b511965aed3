/** One stream: what it takes, what comes in, and how to send to it. */
import { useState } from "react";
import { Link } from "wouter";
import { api, type IngestAnswer, type StreamView } from "../../api.ts";
import { Page } from "../../app.tsx";
import { count, moment, rate } from "../../format.ts";
import { useNode } from "../../live.ts";
import { useLoad } from "../../load.ts";
import { Badge, Empty, Failure, HealthMark, Loading, Panel, Snippet, Tabs } from "../../ui/ui.tsx";
import { exampleOf, type JsonSchema, typeText } from "./example.ts";
import { Overview } from "./overview.tsx";
import { segmentSnippets, snippets } from "./snippets.ts";
import { useTail } from "./tail.ts";
import "./streams.css";

export default function StreamPage({ name, part }: { name: string; part: string }) {
  const { value, error, reload } = useLoad(`stream ${name}`, async (signal) => {
    const [streams, schema] = await Promise.all([api.streams(signal), api.schema(name, signal)]);
    return { stream: streams.find((one) => one.name === name), schema: schema as JsonSchema };
  });
  const base = `/streams/${encodeURIComponent(name)}`;
  const stream = useNode(`stream:${name}`);
  const window = useNode(`window:${name}`);
  const { pulse, rate: perSecond } = stream.pulse === undefined ? window : stream;
  return (
    <Page>
      <header>
        <h1>{name}</h1>
        <Badge tone="accent">stream</Badge>
        <HealthMark health={pulse?.health ?? "idle"} label={pulse?.problem ?? rate(perSecond)} />
        <div className="row">
          <Link className="button" to={`/tables/${encodeURIComponent(`bronze.${name}`)}`}>
            As received
          </Link>
          <Link
            className="button"
            to={`/sql?sql=${encodeURIComponent(`select * from ${name} order by _received_at desc limit 100`)}`}
          >
            Query
          </Link>
        </div>
      </header>
      <Tabs
        tabs={[
          { to: base, label: "Overview", current: part === "overview" },
          { to: `${base}/live`, label: "Live", current: part === "live" },
          { to: `${base}/contract`, label: "Contract", current: part === "contract" },
          { to: `${base}/send`, label: "Send", current: part === "send" },
        ]}
      />
      {error !== undefined && <Failure error={error} retry={reload} />}
      {value === undefined && error === undefined && <Loading what={name} />}
      {part === "live" && <Live name={name} />}
      {value !== undefined && part === "overview" && <Overview name={name} stream={value.stream} />}
      {value !== undefined && part === "contract" && <Contract stream={value.stream} schema={value.schema} />}
      {value !== undefined && part === "send" && (
        <Send name={name} schema={value.schema} segment={value.stream?.segment === true} />
      )}
    </Page>
  );
}

function Live({ name }: { name: string }) {
  const [paused, setPaused] = useState(false);
  const [text, setText] = useState("");
  const words = text.trim().toLowerCase();
  const { events, seen, failed, clear } = useTail(
    name,
    paused,
    (event) => words === "" || event.toLowerCase().includes(words),
  );
  return (
    <Panel
      title={`${count(seen)} events since you came`}
      flush
      actions={
        <>
          <label className="visually-hidden" htmlFor="tail-filter">
            Show only events that hold
          </label>
          <input
            id="tail-filter"
            className="input"
            style={{ width: 220 }}
            placeholder="Only with this text"
            value={text}
            onChange={(event) => setText(event.target.value)}
          />
          <button type="button" className="button" aria-pressed={paused} onClick={() => setPaused(!paused)}>
            {paused ? "Go on" : "Pause"}
          </button>
          <button type="button" className="button" onClick={clear}>
            Clear
          </button>
        </>
      }
    >
      {failed && <div className="notice warning">The connection broke; it goes on by itself.</div>}
      {events.length === 0 ? (
        <Empty title={paused ? "Paused" : "Waiting for events"}>
          <p>Events show here the moment they are acknowledged.</p>
          <Link className="button primary" to={`/streams/${encodeURIComponent(name)}/send`}>
            Send one
          </Link>
        </Empty>
      ) : (
        <ol className="tail" aria-label="Events, newest first">
          {events.toReversed().map((event) => (
            <li key={event.id}>
              <time>{moment(event.atMs)}</time>
              <span>{event.text}</span>
            </li>
          ))}
        </ol>
      )}
    </Panel>
  );
}

function Contract({ stream, schema }: { stream: StreamView | undefined; schema: JsonSchema }) {
  const fields = Object.entries(schema.properties ?? {});
  const required = new Set(schema.required ?? []);
  return (
    <>
      <Panel title="What an event must be" flush>
        <table className="table">
          <thead>
            <tr>
              <th>Field</th>
              <th>Type</th>
              <th>Role</th>
            </tr>
          </thead>
          <tbody>
            {fields.map(([field, type]) => (
              <tr key={field}>
                <td className="mono">{field}</td>
                <td>{typeText(type)}</td>
                <td>
                  <span className="row">
                    {required.has(field) ? <Badge>required</Badge> : <Badge>optional</Badge>}
                    {stream?.id.includes(field) && <Badge tone="accent">id</Badge>}
                    {stream?.key === field && <Badge tone="accent">key</Badge>}
                    {stream?.time === field && <Badge tone="accent">event time</Badge>}
                  </span>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Panel>
      <Panel title="JSON Schema">
        <Snippet label="JSON Schema" text={JSON.stringify(schema, null, 2)} />
      </Panel>
    </>
  );
}

function Send({ name, schema, segment }: { name: string; schema: JsonSchema; segment: boolean }) {
  const url = location.origin;
  const [text, setText] = useState(() => JSON.stringify(exampleOf(schema), null, 2));
  const [answer, setAnswer] = useState<IngestAnswer>();
  const [error, setError] = useState<Error>();
  const [busy, setBusy] = useState(false);
  const send = async () => {
    setBusy(true);
    setError(undefined);
    setAnswer(undefined);
    try {
      setAnswer(await api.send(name, JSON.parse(text)));
    } catch (failure) {
      setError(failure instanceof SyntaxError ? new Error(`This is not JSON: ${failure.message}`) : (failure as Error));
    } finally {
      setBusy(false);
    }
  };
  const range = answer?.partitions[0];
  return (
    <div className="columns">
      <Panel title="Send an event">
        <div className="field">
          <label htmlFor="event">Event, or a list of events</label>
          <textarea
            id="event"
            className="input"
            rows={14}
            spellCheck={false}
            value={text}
            onChange={(event) => setText(event.target.value)}
          />
          <small>A made-up one that keeps the contract. It goes to the stream for real.</small>
        </div>
        <div className="row">
          <button type="button" className="button primary" disabled={busy} onClick={() => void send()}>
            {busy ? "Sending …" : "Send"}
          </button>
        </div>
        {error !== undefined && <Failure error={error} />}
        {answer !== undefined && (
          <div className={`notice ${answer.rejected.length === 0 ? "ok" : "warning"}`} role="status">
            <HealthMark health={answer.rejected.length === 0 ? "ok" : "warning"} />
            <div>
              <p>
                {count(answer.accepted)} accepted
                {range !== undefined && `, partition ${range.partition} at offset ${range.to}`}: on disk, and in every
                query.
              </p>
              {answer.rejected.map(({ index, code, message }) => (
                <p key={index}>
                  Event {index}: {message} <span className="mono">{code}</span>
                </p>
              ))}
            </div>
          </div>
        )}
      </Panel>
      <div className="page" style={{ padding: 0, background: "none" }}>
        {(segment ? segmentSnippets(url) : snippets(name, exampleOf(schema), url)).map(({ label, code }) => (
          <Panel key={label} title={label}>
            <Snippet label={label} text={code} />
          </Panel>
        ))}
      </div>
    </div>
  );
}
