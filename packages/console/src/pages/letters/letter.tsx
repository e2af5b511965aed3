/** One dead letter: its payload with the fault marked, to be mended. */
import { useEffect, useRef, useState } from "react";
import { api } from "../../api.ts";
import { useLoad } from "../../load.ts";
import { Badge, Facts, Failure, HealthMark, Loading, Panel, Time } from "../../ui/ui.tsx";
import { type Fault, faultIn } from "./fault.ts";
import { told } from "./letters-page.tsx";
import "./letters.css";

export function Letter({ id, close, settled }: { id: string; close: () => void; settled: () => void }) {
  const { value: letter, error, reload } = useLoad(`letter ${id}`, (signal) => api.deadLetter(id, signal));
  const [mended, setMended] = useState<string>();
  const [done, setDone] = useState<{ text: string; well: boolean }>();
  const [failure, setFailure] = useState<Error>();
  const payload = letter?.payload;
  // It opens below the list that it was chosen from.
  const place = useRef<HTMLDivElement>(null);
  const there = letter !== undefined;
  useEffect(() => {
    if (there) place.current?.scrollIntoView({ block: "start" });
  }, [there]);
  const retry = async () => {
    setFailure(undefined);
    try {
      const changed = mended !== undefined && mended !== payload;
      setDone(told(await api.retryLetters({ ids: [id], ...(changed && { payload: mended }) })));
      reload();
      settled();
    } catch (problem) {
      setFailure(problem as Error);
    }
  };
  return (
    <div ref={place}>
      <Panel
        title="One letter"
        actions={
          <button type="button" className="button quiet" onClick={close}>
            Close
          </button>
        }
      >
        {error !== undefined && <Failure error={error} retry={reload} />}
        {letter === undefined && error === undefined && <Loading what="the letter" />}
        {letter !== undefined && (
          <>
            <div className="notice bad">
              <HealthMark health="bad" />
              <div>
                <p>{letter.message}</p>
                <p className="faint mono">{letter.code}</p>
              </div>
            </div>
            <Facts
              facts={[
                ["stream", letter.stream || "none"],
                ["stage", letter.stage],
                ["status", <Badge key="status">{letter.status}</Badge>],
                ["first seen", <Time key="seen" at={letter.firstSeen} />],
                ["attempts", letter.attempts],
                ["source", letter.source || "unknown"],
              ]}
            />
            {payload === undefined ? (
              <p className="soft">
                The payload is no text ({letter.payloadBase64?.length ?? 0} characters of base64). It can be retried as
                it is.
              </p>
            ) : (
              <>
                <Marked text={payload} fault={faultIn(payload, letter.message)} />
                <div className="field">
                  <label htmlFor="mended">Mended</label>
                  <textarea
                    id="mended"
                    className="input"
                    rows={10}
                    spellCheck={false}
                    value={mended ?? pretty(payload)}
                    onChange={(event) => setMended(event.target.value)}
                  />
                </div>
              </>
            )}
            <div className="row">
              <button
                type="button"
                className="button primary"
                onClick={() => void retry()}
                disabled={letter.status !== "open"}
              >
                Retry
              </button>
            </div>
            {failure !== undefined && <Failure error={failure} />}
            {done !== undefined && (
              <div className={`notice ${done.well ? "ok" : "warning"}`} role="status">
                <HealthMark health={done.well ? "ok" : "warning"} />
                <p>{done.text}</p>
              </div>
            )}
          </>
        )}
      </Panel>
    </div>
  );
}

function Marked({ text, fault }: { text: string; fault: Fault | undefined }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <pre className="payload" tabIndex={0} role="region" aria-label="Payload as it was received">
      {fault === undefined ? (
        text
      ) : (
        <>
          {text.slice(0, fault.from)}
          <mark>{text.slice(fault.from, fault.to) || " "}</mark>
          {text.slice(fault.to)}
        </>
      )}
    </pre>
  );
}

function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
