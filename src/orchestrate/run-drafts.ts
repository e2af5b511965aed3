import { didYouMean } from "../define/nearest.ts";
import type { Project } from "../define/project.ts";
import type { Workflow } from "../define/read-workflow.ts";
import type { RunCause } from "../define/workflow.ts";
import { MillraceError } from "../errors.ts";
import type { QueuedRun } from "./run-queue.ts";
import { groupOf, type NewRun } from "./run-table.ts";
import { MOST_VALUE_BYTES, recordable, storableText } from "./step-values.ts";

/** The queue has a run's concurrency key in an index, whose entries are short. */
const MOST_KEY_BYTES = 2_000;

type DraftedRun = {
  readonly cause: RunCause;
  readonly input: unknown;
  readonly scheduledAtMs: number;
  readonly idempotencyKey?: string;
  readonly parentRun?: string;
};

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
  draft(workflow: Workflow, run: DraftedRun): NewRun {
    const { name, codeHash, concurrency } = workflow;
    const concurrencyKey = this.concurrencyKey(workflow, run.input);
    return { workflow: name, codeHash, concurrencyKey, limit: concurrency?.limit, ...run };
  }

  /**
   * The same for a run that a trigger asks for, where nobody is there to be told: what cannot be is a run that has failed, so that it is seen,
   * and that what the trigger asks for beside it is made.
   */
  triggered(workflow: Workflow, run: DraftedRun): NewRun {
    try {
      return this.draft(workflow, run);
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      return { workflow: workflow.name, codeHash: workflow.codeHash, refused: error, ...run };
    }
  }

  /** The value whose runs are limited together; undefined where the workflow has no `key`. @throws RUN_INPUT_INVALID */
  concurrencyKey({ name, concurrency }: Workflow, input: unknown): string | undefined {
    if (concurrency?.key === undefined) return undefined;
    const refuse = (why: string) =>
      new MillraceError("RUN_INPUT_INVALID", { workflow: name, reason: `gives no concurrency key: ${why}` });
    let key: string;
    try {
      key = String(concurrency.key(input));
    } catch (error) {
      throw refuse(error instanceof Error ? error.message : String(error));
    }
    if (key !== storableText(key)) throw refuse("PostgreSQL cannot hold U+0000 or half of a surrogate pair");
    const bytes = Buffer.byteLength(key);
    if (bytes > MOST_KEY_BYTES) throw refuse(`it has ${bytes} bytes, and ${MOST_KEY_BYTES} are allowed`);
    return key;
  }

  /** What the queue is told of a run. */
  queued(row: { id: string; workflow: string; concurrency_key: string | null }): QueuedRun {
    const limit = this.#project.workflows.get(row.workflow)?.concurrency?.limit;
    return { id: row.id, group: groupOf(row.workflow, row.concurrency_key, limit) };
  }
}
