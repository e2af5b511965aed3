/** One run: its steps on a line of time, what went in and out, and its log. */
import { Suspense, useState } from "react";
import { Link, useSearchParams } from "wouter";
import { api, type StepView } from "../../api.ts";
import { Page } from "../../app.tsx";
import { duration } from "../../format.ts";
import { useLoad } from "../../load.ts";
import { PartBoundary, part } from "../../parts.tsx";
import { Badge, Empty, Facts, Failure, HealthMark, Loading, Panel, Snippet, Time } from "../../ui/ui.tsx";
import { Bars } from "./bars.tsx";
import { causeOf, STATUS_TONES } from "./runs-page.tsx";
import { labelOf } from "./step-graph.ts";

const RunGraph = part(() => import("./run-graph.tsx"));
/** A graph of more is no picture any more. */
const MOST_STEPS = 200;
const OVER = new Set(["succeeded", "failed", "cancelled"]);

export default function RunPage({ id }: { id: string }) {
  const { value, error, reload } = useLoad(`run ${id}`, (signal) => api.run(id, signal), { on: ["runs"] });
  const logs = useLoad(`logs ${id}`, (signal) => api.runLogs(id, signal), { on: ["runs"], paceMs: 2_000 });
  const [failure, setFailure] = useState<Error>();
  const [parameters, setParameters] = useSearchParams();
  const graph = parameters.get("show") === "graph";
  const chosen = parameters.get("step") ?? undefined;
  const go = (next: { show?: string | undefined; step?: string | undefined }) =>
    setParameters(
      Object.entries({ show: graph ? "graph" : undefined, step: chosen, ...next }).flatMap(([name, given]) =>
        given === undefined ? [] : [[name, given] as [string, string]],
      ),
      { replace: true },
    );
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
        <Panel
          title="Steps"
          flush
          actions={
            <>
              <button type="button" className="button" aria-pressed={!graph} onClick={() => go({ show: undefined })}>
                On a line of time
              </button>
              <button type="button" className="button" aria-pressed={graph} onClick={() => go({ show: "graph" })}>
                As a graph
              </button>
            </>
          }
        >
          {value.steps.length === 0 && (
            <Empty title="No step yet">
              <p>
                What a workflow does with <code>run</code> is a step, and comes here as it begins.
              </p>
            </Empty>
          )}
          {value.steps.length > 0 && !graph && <Steps run={id} steps={value.steps} />}
          {value.steps.length > 0 && graph && (
            <PartBoundary place={id}>
              <Suspense fallback={<Loading what="the graph" />}>
                <RunGraph steps={value.steps.slice(0, MOST_STEPS)} chosen={chosen} choose={(step) => go({ step })} />
              </Suspense>
            </PartBoundary>
          )}
          {graph && value.steps.length > MOST_STEPS && (
            <p className="soft">
              The first {MOST_STEPS} of {value.steps.length} steps; all of them are on the line of time.
            </p>
          )}
        </Panel>
      )}
      {chosen !== undefined && value !== undefined && (
        <OneStep
          step={value.steps.find(({ step }) => step === chosen)}
          name={chosen}
          close={() => go({ step: undefined })}
        />
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

function OneStep({ step, name, close }: { step: StepView | undefined; name: string; close: () => void }) {
  return (
    <Panel
      title={labelOf(name)}
      actions={
        <button type="button" className="button quiet" onClick={close}>
          Close
        </button>
      }
    >
      {step === undefined ? (
        <p className="soft">It has not begun.</p>
      ) : (
        <>
          {step.error !== null && (
            <div className="notice bad">
              <HealthMark health="bad" />
              <p>{step.error.message}</p>
            </div>
          )}
          <Facts
            facts={[
              [
                "status",
                <Badge key="status" tone={STATUS_TONES[step.status] ?? "idle"}>
                  {step.status}
                </Badge>,
              ],
              ["kind", step.kind],
              ["attempts", step.attempts],
              ["began", <Time key="began" at={step.startedAt} />],
              ["took", step.elapsedMs === null ? "under way" : duration(step.elapsedMs)],
              ...(step.wakeAt === null ? [] : [["goes on", <Time key="wake" at={step.wakeAt} />] as const]),
            ]}
          />
          <h3>Input</h3>
          <Snippet label="input of the step" text={JSON.stringify(step.input, null, 2) ?? "none"} />
          <h3>Output</h3>
          <Snippet label="output of the step" text={JSON.stringify(step.output, null, 2) ?? "none"} />
        </>
      )}
    </Panel>
  );
}

function Steps({ run, steps }: { run: string; steps: readonly StepView[] }) {
  const bars = steps.map((step) => ({
    id: step.step,
    label: labelOf(step.step),
    to: `/runs/${run}?${new URLSearchParams({ step: step.step })}`,
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
