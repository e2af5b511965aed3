/** Workflows and their runs on one line of time. */
import { useState } from "react";
import { Link, useLocation, useSearchParams } from "wouter";
import { api, type RunView, type WorkflowView } from "../../api.ts";
import { Page } from "../../app.tsx";
import { FIRST_WORKFLOW } from "../../first-definitions.ts";
import { duration } from "../../format.ts";
import { useLoad } from "../../load.ts";
import { Empty, Failure, Loading, Panel, Snippet, type Tone } from "../../ui/ui.tsx";
import { BackfillForm } from "./backfill-form.tsx";
import { Bars } from "./bars.tsx";

export const STATUS_TONES: Readonly<Record<string, Tone>> = {
  succeeded: "ok",
  failed: "bad",
  running: "accent",
  compensating: "warning",
  cancelled: "idle",
  queued: "idle",
  waiting: "warning",
};
const STATUSES = ["queued", "running", "compensating", "succeeded", "failed", "cancelled"];

export default function RunsPage() {
  const [parameters, setParameters] = useSearchParams();
  const workflow = parameters.get("workflow") ?? "";
  const status = parameters.get("status") ?? "";
  const workflows = useLoad("workflows", (signal) => api.workflows(signal));
  const runs = useLoad(`runs ${workflow} ${status}`, (signal) => api.runs({ workflow, status, limit: 200 }, signal), {
    on: ["runs"],
  });
  const change = (name: string, value: string) => {
    setParameters(
      Object.fromEntries(Object.entries({ workflow, status, [name]: value }).filter(([, given]) => given !== "")),
    );
  };
  if (workflows.value?.length === 0) return <None />;
  return (
    <Page>
      <header>
        <h1>Runs</h1>
        <div className="row">
          <select
            className="input select"
            aria-label="Workflow"
            value={workflow}
            onChange={(event) => change("workflow", event.target.value)}
          >
            <option value="">every workflow</option>
            {workflows.value?.map(({ name }) => (
              <option key={name}>{name}</option>
            ))}
          </select>
          <select
            className="input select"
            aria-label="Status"
            value={status}
            onChange={(event) => change("status", event.target.value)}
          >
            <option value="">every status</option>
            {STATUSES.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </div>
      </header>
      {workflows.error !== undefined && <Failure error={workflows.error} retry={workflows.reload} />}
      {runs.error !== undefined && <Failure error={runs.error} retry={runs.reload} />}
      <div className="columns">
        {workflows.value
          ?.filter(({ name }) => workflow === "" || name === workflow)
          .map((one) => (
            <Workflow key={one.name} workflow={one} started={runs.reload} />
          ))}
      </div>
      {runs.value === undefined && runs.error === undefined && <Loading what="runs" />}
      {runs.value?.runs.length === 0 && (
        <Empty title="No run yet">{workflow !== "" && <p>Start one above, or wait for its trigger.</p>}</Empty>
      )}
      {runs.value !== undefined && runs.value.runs.length > 0 && (
        <Panel title="On a line of time" flush>
          <Timeline runs={runs.value.runs} />
        </Panel>
      )}
    </Page>
  );
}

function Timeline({ runs }: { runs: readonly RunView[] }) {
  const bars = runs.slice(0, 60).map((run) => ({
    id: run.id,
    label: run.partition === null ? run.workflow : `${run.workflow} ${run.partition}`,
    to: `/runs/${run.id}`,
    status: run.status,
    fromMs: Date.parse(run.startedAt ?? run.createdAt),
    toMs: run.finishedAt === null ? Date.now() : Date.parse(run.finishedAt),
    note: `${run.status}, ${run.elapsedMs === null ? "not begun" : duration(run.elapsedMs)}, ${causeOf(run)}`,
  }));
  return <Bars bars={bars} label="Runs, newest first" />;
}

export function causeOf({ cause }: RunView): string {
  const { kind, ...more } = cause as { kind: string; by?: string };
  return more.by === undefined ? kind : `${kind}: ${more.by}`;
}

function Workflow({ workflow, started }: { workflow: WorkflowView; started: () => void }) {
  const [, go] = useLocation();
  const [input, setInput] = useState("");
  const [error, setError] = useState<Error>();
  const act = async (work: () => Promise<string>) => {
    setError(undefined);
    try {
      go(await work());
      started();
    } catch (failure) {
      setError(
        failure instanceof SyntaxError ? new Error(`The input is not JSON: ${failure.message}`) : (failure as Error),
      );
    }
  };
  return (
    <Panel
      title={workflow.name}
      actions={<Link to={`/runs?workflow=${encodeURIComponent(workflow.name)}`}>its runs</Link>}
    >
      <p className="soft">
        {workflow.triggers.length === 0 ? "By hand only" : workflow.triggers.map(triggerText).join(" · ")} ·{" "}
        <code>{workflow.file}</code>
      </p>
      <form
        className="row"
        onSubmit={(event) => {
          event.preventDefault();
          void act(
            async () =>
              `/runs/${(await api.startRun(workflow.name, input.trim() === "" ? undefined : JSON.parse(input))).id}`,
          );
        }}
      >
        <label className="visually-hidden" htmlFor={`input-${workflow.name}`}>
          Input of {workflow.name}, JSON
        </label>
        <input
          id={`input-${workflow.name}`}
          className="input mono"
          style={{ width: 220 }}
          placeholder="Input, JSON (none)"
          value={input}
          onChange={(event) => setInput(event.target.value)}
        />
        <button type="submit" className="button">
          Run now
        </button>
      </form>
      <BackfillForm workflow={workflow.name} begun={(work) => void act(work)} />
      {error !== undefined && <Failure error={error} />}
    </Panel>
  );
}

function triggerText({ kind, ...facts }: Readonly<Record<string, unknown>>): string {
  return `${String(kind)} ${Object.values(facts).map(String).join(" ")}`;
}

function None() {
  return (
    <Page>
      <header>
        <h1>Runs</h1>
      </header>
      <Empty title="No workflow is defined yet">
        <p>
          A workflow is TypeScript that runs at a time, after a commit, or when you say so. Its steps survive a crash.
        </p>
        <p>Put this into a file of your project and start it again:</p>
        <Snippet label="a first workflow" text={FIRST_WORKFLOW} />
      </Empty>
    </Page>
  );
}
