import { MillraceError } from "../errors.ts";
import type { RunDrafts } from "./run-drafts.ts";
import type { RunRow } from "./run-records.ts";
import { type CreatedRun, childKey, type NewRun } from "./run-table.ts";
import type { Waits } from "./waits.ts";

export interface SubWorkflowParts {
  readonly drafts: RunDrafts;
  readonly waits: Waits;
  readonly clock: () => number;
  readonly create: (run: NewRun) => Promise<CreatedRun>;
  readonly cancel: (run: string, by: string) => Promise<void>;
  /** A run that is being executed here. */
  readonly active: (run: string) => RunRow | undefined;
}

const MOST_DEPTH = 20;

/** Runs that are a step of another. */
export class SubWorkflows {
  readonly #o: SubWorkflowParts;

  constructor(parts: SubWorkflowParts) {
    this.#o = parts;
  }

  /** Makes the run of a sub-workflow unless it is there, and waits for its end. Nothing of a cancelled run goes on: then it is cancelled. */
  async child(parent: RunRow, step: string, name: string, input: unknown, signal: AbortSignal): Promise<unknown> {
    const workflow = this.#o.drafts.workflow(name);
    let depth = 0;
    for (let above: RunRow | undefined = parent; above !== undefined; depth++) {
      if (above.workflow === name && workflow.concurrency !== undefined)
        throw new MillraceError("STEP_INVALID", {
          step,
          reason: `starts ${name}, which this run is part of and whose concurrency is limited: it would wait for itself`,
        });
      above = above.parent_run === null ? undefined : this.#o.active(above.parent_run);
    }
    if (depth > MOST_DEPTH)
      throw new MillraceError("STEP_INVALID", { step, reason: `is sub-workflow number ${depth} below another` });
    const { id } = await this.#o.waits.withState(signal, () =>
      this.#o.create(
        this.#o.drafts.draft(workflow, {
          ...{ cause: { kind: "workflow", by: parent.workflow }, input: this.#o.drafts.input(workflow, input) },
          ...{ scheduledAtMs: this.#o.clock(), parentRun: parent.id, idempotencyKey: childKey(parent.id, step) },
        }),
      ),
    );
    return this.#o.waits.output(id, signal, () =>
      this.#o.cancel(id, `run ${parent.id}`).catch((error: unknown) => {
        if (!(error instanceof MillraceError && error.code === "RUN_STATE")) throw error; // it ended meanwhile
      }),
    );
  }
}
