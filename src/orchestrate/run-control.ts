import type { RunFailure } from "../define/workflow.ts";
import type { Ending } from "./run-records.ts";
import { StepFailure } from "./step-failure.ts";

/** How a run under way is going to stop, as far as that is settled: what the run and its steps look at before they go on. */
export class RunControl {
  /** Set once the run is to end by a failure or a cancel. */
  ending: Ending | undefined;
  /** A failure that no `catch` of the workflow can take back, and after which nothing is undone. */
  fatal: RunFailure | undefined;
  /** The platform stops; a later life goes on. */
  suspended = false;
  /** Nothing more is asked for. */
  over = false;
  /** Aborts what is under way. Undoing has one of its own. */
  abort = new AbortController();
  /** What must have ended before the run does, however long it takes to heed its signal. */
  readonly quiet = new Set<Promise<unknown>>();
  /** Resolves when the workflow's function is not waited for any more. */
  readonly cutOff: Promise<void>;
  cut: () => void = () => undefined;

  constructor(ending: Ending | undefined) {
    this.ending = ending;
    this.cutOff = new Promise((resolve) => {
      this.cut = resolve;
    });
  }

  /** Cuts the function off when what it was told has come through to it. */
  cutSoon(): void {
    setImmediate(() => setImmediate(this.cut));
  }
}

/** What a run that stops here waits for. The platform is going down, and the promise with it. */
export const NEVER = new Promise<never>(() => undefined);

export function endingError({ error }: Ending): StepFailure {
  return new StepFailure(error);
}
