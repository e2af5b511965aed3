/** What could not be taken, by reason; and each of them with its payload, to be mended and tried again, or given up with a reason. */
import { useState } from "react";
import { Link, useSearchParams } from "wouter";
import { api, type LetterChoice, type RetryAnswer } from "../../api.ts";
import { Page } from "../../app.tsx";
import { cell, count } from "../../format.ts";
import { useLoad } from "../../load.ts";
import { Badge, Empty, Failure, HealthMark, Loading, Panel, Time } from "../../ui/ui.tsx";
import { Letter } from "./letter.tsx";

const GROUPS = `select stream, table_name, stage, code, count(*) as letters, min(first_seen) as since, max(first_seen) as newest, any_value(message) as example
  from system.dead_letters where status = 'open' group by all order by letters desc limit 200`;

export default function LettersPage() {
  const [parameters, setParameters] = useSearchParams();
  const chosen = parameters.get("id") ?? undefined;
  const filter = filterOf(parameters);
  const groups = useLoad("letters", (signal) => api.sql(GROUPS, { signal }), { on: ["dead-letters"] });
  return (
    <Page>
      <header>
        <h1>Dead letters</h1>
        <p className="soft">
          Kept byte for byte, with the reason. Nothing here is lost, and nothing here held anything up.
        </p>
      </header>
      {groups.error !== undefined && <Failure error={groups.error} retry={groups.reload} />}
      {groups.value === undefined && groups.error === undefined && <Loading what="dead letters" />}
      {groups.value?.rows.length === 0 && (
        <Empty title="Nothing was refused">
          <p>
            What breaks a contract, fails a check or cannot be delivered comes here. Send an event with a missing field
            to a <Link to="/streams">stream</Link> to see it happen: it is refused with the reason, kept, and can be
            mended and sent again from here.
          </p>
        </Empty>
      )}
      {groups.value !== undefined && groups.value.rows.length > 0 && (
        <Panel title="Open, by reason" flush>
          <table className="table">
            <thead>
              <tr>
                <th>Reason</th>
                <th>Where</th>
                <th>Stage</th>
                <th className="number">Letters</th>
                <th>Since</th>
                <th>Newest</th>
              </tr>
            </thead>
            <tbody>
              {groups.value.rows.map(([stream, table, stage, code, letters, since, newest, example]) => {
                const group = { stream: text(stream), table: text(table), stage: text(stage), code: text(code) };
                const to = `/dead-letters?${new URLSearchParams(Object.entries(group).filter(([, value]) => value !== ""))}`;
                return (
                  <tr key={to}>
                    <td>
                      <Link to={to} className="mono">
                        {group.code}
                      </Link>
                      <br />
                      <span className="faint">{cell(example)}</span>
                    </td>
                    <td>{group.table || group.stream}</td>
                    <td>
                      <Badge>{group.stage}</Badge>
                    </td>
                    <td className="number">{count(Number(letters))}</td>
                    <td>
                      <Time at={text(since)} />
                    </td>
                    <td>
                      <Time at={text(newest)} relative />
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </Panel>
      )}
      {filter !== undefined && (
        <Group
          key={JSON.stringify(filter)}
          filter={filter}
          open={(id) => setParameters({ ...filter, id })}
          settled={groups.reload}
        />
      )}
      {chosen !== undefined && (
        <Letter key={chosen} id={chosen} close={() => setParameters(filter ?? {})} settled={groups.reload} />
      )}
    </Page>
  );
}

type Filter = NonNullable<LetterChoice["filter"]>;

function filterOf(parameters: URLSearchParams): Filter | undefined {
  const given = (["stream", "table", "stage", "code"] as const).flatMap((name) => {
    const value = parameters.get(name);
    return value === null ? [] : [[name, value] as const];
  });
  return given.length === 0 ? undefined : Object.fromEntries(given);
}

function Group({ filter, open, settled }: { filter: Filter; open: (id: string) => void; settled: () => void }) {
  const { value, error, reload } = useLoad(`group ${JSON.stringify(filter)}`, (signal) =>
    api.deadLetters({ ...filter, status: "open", limit: 100 }, signal),
  );
  const [reason, setReason] = useState("");
  const [done, setDone] = useState<{ text: string; well: boolean }>();
  const [failure, setFailure] = useState<Error>();
  const [busy, setBusy] = useState(false);
  const act = async (work: () => Promise<{ text: string; well: boolean }>) => {
    setBusy(true);
    setFailure(undefined);
    try {
      setDone(await work());
      reload();
      settled();
    } catch (problem) {
      setFailure(problem as Error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Panel
      title={`${Object.values(filter).join(" · ")}`}
      flush
      actions={
        <>
          <button
            type="button"
            className="button primary"
            disabled={busy}
            onClick={() => void act(async () => told(await api.retryLetters({ filter })))}
          >
            Retry all
          </button>
          <label className="visually-hidden" htmlFor="discard-reason">
            Why they may be discarded
          </label>
          <input
            id="discard-reason"
            className="input"
            style={{ width: 220 }}
            placeholder="Why they may go"
            value={reason}
            onChange={(event) => setReason(event.target.value)}
          />
          <button
            type="button"
            className="button danger"
            disabled={busy || reason.trim() === ""}
            onClick={() =>
              void act(async () => {
                const { discarded } = await api.discardLetters({ filter, reason });
                return { text: `${count(discarded)} discarded`, well: true };
              })
            }
          >
            Discard all
          </button>
        </>
      }
    >
      {failure !== undefined && <Failure error={failure} />}
      {done !== undefined && (
        <div className={`notice ${done.well ? "ok" : "warning"}`} role="status">
          <HealthMark health={done.well ? "ok" : "warning"} />
          <p>{done.text}</p>
        </div>
      )}
      {error !== undefined && <Failure error={error} retry={reload} />}
      {value?.deadLetters.length === 0 && <Empty title="None is open any more" />}
      <table className="table">
        <tbody>
          {value?.deadLetters.map((letter) => (
            <tr key={letter.id}>
              <td>
                <button type="button" className="button quiet" onClick={() => open(letter.id)}>
                  Open
                </button>
              </td>
              <td>{letter.message}</td>
              <td className="faint">
                {letter.offset !== null && letter.offset !== undefined && `offset ${letter.offset}`} {letter.source}
              </td>
              <td className="number">{letter.attempts > 1 && `${letter.attempts} attempts`}</td>
              <td>
                <Time at={letter.firstSeen} relative />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}

export function told({ retried, failed, results }: RetryAnswer): { text: string; well: boolean } {
  const first = results.find(({ outcome }) => outcome === "failed");
  return {
    text: `${count(retried)} went through${failed > 0 ? `, ${count(failed)} did not: ${first?.message ?? ""}` : ""}`,
    well: failed === 0,
  };
}

function text(value: unknown): string {
  return value === null || value === undefined ? "" : String(value);
}
