import type { Journal } from "./journal.ts";
import type { LogLine } from "./run-records.ts";
import { recordable, storableText } from "./step-values.ts";

/** Lines kept of one attempt of a step. */
export const MOST_LINES = 10_000;
const MOST_MESSAGE = 8_192;

/** What is written down while one run is executed: lines, each known by step, attempt and number. */
export class RunLog {
  readonly #run: string;
  readonly #journal: Journal;
  readonly #clock: () => number;
  readonly #lines = new Map<string, number>();

  constructor(run: string, journal: Journal, clock: () => number) {
    this.#run = run;
    this.#journal = journal;
    this.#clock = clock;
  }

  /** @throws STEP_INVALID when the fields cannot be kept */
  write(step: string, attempt: number, message: string, fields?: Readonly<Record<string, unknown>>): void {
    const place = `${step} ${attempt}`;
    const line = (this.#lines.get(place) ?? 0) + 1;
    this.#lines.set(place, line);
    if (line > MOST_LINES) return;
    const said =
      line === MOST_LINES ? "further lines are not kept" : storableText(String(message)).slice(0, MOST_MESSAGE);
    const entry: LogLine = { run: this.#run, step, attempt, line, atMs: this.#clock(), message: said };
    const plain = fields === undefined ? undefined : (recordable(step, fields) as Record<string, unknown>);
    // Nobody waits for a line; the journal reports one that cannot be written.
    this.#journal.write({ logs: [{ ...entry, fields: plain }] }).catch(() => undefined);
  }
}
