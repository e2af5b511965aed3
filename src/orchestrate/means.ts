import type { CommandOutput, ExternalCommand } from "../define/workflow.ts";
import type { IsolatedCall, IsolatedSurroundings } from "./isolated-step.ts";
import type { RunRow, StepRecord } from "./run-records.ts";

/** What steps do outside of their run. */
export interface Means {
  sql(sql: string, params: readonly unknown[], options: { signal: AbortSignal }): Promise<unknown[]>;
  refresh(
    table: string,
    options: { full: boolean; signal: AbortSignal },
  ): Promise<{ kind: "none" | "full" | "by"; version: number }>;
  /** Resolves when nothing of the command is left. `started` is told the process, and `line` each line it prints. */
  exec(
    command: ExternalCommand,
    options: {
      signal: AbortSignal;
      /** Of an earlier life: ended first. */
      leftOver: StepRecord["detail"];
      started(detail: NonNullable<StepRecord["detail"]>): Promise<void>;
      line(stream: "stdout" | "stderr", text: string): void;
    },
  ): Promise<CommandOutput>;
  /** Calls a function in a process of its own; resolves when nothing of that is left. */
  isolated(call: IsolatedCall, around: Omit<IsolatedSurroundings, "dir" | "env">): Promise<unknown>;
  /** Begins the run of a sub-workflow unless it is there, and resolves with its end. */
  child(parent: RunRow, step: string, workflow: string, input: unknown, signal: AbortSignal): Promise<unknown>;
  /** Resolves with the data of the run's signal. */
  signal(run: string, name: string, signal: AbortSignal): Promise<unknown>;
}
