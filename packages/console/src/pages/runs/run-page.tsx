/** One run: its steps on a line of time, what went in and out, and its log. */
import { useState } from "react";
import { Link } from "wouter";
import { api, type StepView } from "../../api.ts";
import { Page } from "../../app.tsx";
import { duration } from "../../format.ts";
import { useLoad } from "../../load.ts";
import { Badge, Empty, Facts, Failure, Loading, Panel, Snippet, Time } from "../../ui/ui.tsx";
import { Bars } from "./bars.tsx";
import { causeOf, STATUS_TONES } from "./runs-page.tsx";

const OVER = new Set(["succeeded", "failed", "cancelled"]);

export default function RunPage({ id }: { id: string }) {
  const { value, error, reload } = useLoad(`run ${id}`, (signal) => api.run(id, signal), { on: ["runs"] });
  const logs = useLoad(`logs ${id}`, (signal) => api.runLogs(id, signal), { on: ["runs"], paceMs: 2_000 });
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
  const run = value?.run;
  return (
    <Page>
      <header>
        <h1>{run?.workflow ?? "Run"}</h1>
        {run !== undefined && <Badge tone={STATUS_TONES[run.status] ?? "idle"}>{run.status}</Badge>}
        <span className="faint mono">{id}</span>
        <div className="row">
          {run !== undefined && !OVER.has(run.status) && (
            <button type="button" className="button danger" onClick={() => void act(() => api.cancelRun(id))}>
              Cancel
            </button>
          )}
          {(run?.status === "failed" || run?.status === "cancelled") && (
            <button type="button" className="button primary" onClick={() => void act(() => api.retryRun(id))}>
              Go on at the step that failed
            </button>
          )}
        </div>
      </header>
      {error !== undefined && <Failure error={error} retry={reload} />}
      {failure !== undefined && <Failure error={failure} />}
      {value === undefined && error === undefined && <Loading what="the run" />}
      {run?.error != null && (
        <div className="notice bad" role="alert">
          <span />
          <p>{run.error.message}</p>
        </div>
      )}
      {run !== undefined && (
        <Panel title="The run">
          <Facts
            facts={[
              ["began by", causeOf(run)],
              ["made", <Time key="made" at={run.createdAt} />],
              ["began", <Time key="began" at={run.startedAt} />],
              ["took", run.elapsedMs === null ? "not begun" : duration(run.elapsedMs)],
              ...(run.parentRun === null
                ? []
                : [
                    [
                      "part of",
                      <Link key="parent" to={`/runs/${run.parentRun}`}>
                        {run.parentRun.slice(0, 8)}
                      </Link>,
                    ] as const,
                  ]),
              ...(run.backfill === null
                ? []
                : [
                    [
                      "backfill",
                      <Link key="backfill" to={`/runs/backfill/${run.backfill}`}>
                        {run.partition}
                      </Link>,
                    ] as const,
                  ]),
            ]}
          />
        </Panel>
      )}
      {value !== undefined && (
        <Panel title="Steps" flush>
          {value.steps.length === 0 ? <Empty title="No step yet" /> : <Steps steps={value.steps} />}
        </Panel>
      )}
      <div className="columns">
        {run !== undefined && (
          <Panel title="In and out">
            <h3>Input</h3>
            <Snippet label="input" text={JSON.stringify(run.input, null, 2) ?? "none"} />
            <h3>Output</h3>
            <Snippet label="output" text={JSON.stringify(run.output, null, 2) ?? "none"} />
          </Panel>
        )}
        <Panel title="Log" flush>
          {logs.error !== undefined && <Failure error={logs.error} retry={logs.reload} />}
          {logs.value?.length === 0 && <Empty title="It has not said anything" />}
          <ol className="logs">
            {logs.value?.map((line, i) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: lines have no names of their own
              <li key={i}>
                <Time at={line.at} />
                <span className="soft">{line.step}</span>
                <span>
                  {line.message} {line.fields != null && <span className="soft">{JSON.stringify(line.fields)}</span>}
                </span>
              </li>
            ))}
          </ol>
        </Panel>
      </div>
    </Page>
  );
}

function Steps({ steps }: { steps: readonly StepView[] }) {
  const bars = steps.map((step) => ({
    id: step.step,
    label: step.step,
    status: step.status,
    fromMs: Date.parse(step.startedAt),
    toMs: step.finishedAt === null ? Date.now() : Date.parse(step.finishedAt),
    note: [
      step.kind,
      step.status,
      step.elapsedMs === null ? "under way" : duration(step.elapsedMs),
      step.attempts > 1 ? `${step.attempts} attempts` : "",
      step.error?.message ?? "",
    ]
      .filter((part) => part !== "")
      .join(", "),
  }));
  return <Bars bars={bars} label="Steps, in the order in which they began" />;
}
