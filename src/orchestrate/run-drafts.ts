import { didYouMean } from "../define/nearest.ts";
import type { Project } from "../define/project.ts";
import type { Workflow } from "../define/read-workflow.ts";
import type { RunCause } from "../define/workflow.ts";
import { MillraceError } from "../errors.ts";
import type { QueuedRun } from "./run-queue.ts";
import { groupOf, type NewRun } from "./run-table.ts";
import { MOST_VALUE_BYTES, recordable } from "./step-values.ts";

/** Runs as their workflows want them: found by name, with an input that can be kept and a place in their concurrency limit. */
export class RunDrafts {
  readonly #project: Project;

  constructor(project: Project) {
    this.#project = project;
  }

  /** @throws WORKFLOW_UNKNOWN */
  workflow(name: string): Workflow {
    const { workflows } = this.#project;
    const workflow = workflows.get(name);
    if (workflow === undefined)
      throw new MillraceError("WORKFLOW_UNKNOWN", { workflow: name, nearest: didYouMean(name, workflows.keys()) });
    return workflow;
  }

  /** An input as a run gets it. @throws RUN_INPUT_INVALID */
  input(workflow: Workflow, input: unknown): unknown {
    try {
      return recordable("its input", input);
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      const reason = `cannot be kept: ${error.message} (at most ${MOST_VALUE_BYTES} bytes)`;
      throw new MillraceError("RUN_INPUT_INVALID", { workflow: workflow.name, reason });
    }
  }

  /** @throws RUN_INPUT_INVALID when the concurrency key cannot be told */
  draft(
    workflow: Workflow,
    run: { cause: RunCause; input: unknown; scheduledAtMs: number; idempotencyKey?: string; parentRun?: string },
  ): NewRun {
    const { name, codeHash, concurrency } = workflow;
    let concurrencyKey: string | undefined;
    try {
      concurrencyKey = concurrency?.key === undefined ? undefined : String(concurrency.key(run.input));
    } catch (error) {
      const reason = `gives no concurrency key: ${error instanceof Error ? error.message : String(error)}`;
      throw new MillraceError("RUN_INPUT_INVALID", { workflow: name, reason });
    }
    return { workflow: name, codeHash, concurrencyKey, limit: concurrency?.limit, ...run };
  }

  /** What the queue is told of a run. */
  queued(row: { id: string; workflow: string; concurrency_key: string | null }): QueuedRun {
    const limit = this.#project.workflows.get(row.workflow)?.concurrency?.limit;
    return { id: row.id, group: groupOf(row.workflow, row.concurrency_key, limit) };
  }
}
