import type { AcceptedRun } from "./accepted-events.ts";
import { AcceptedEvents } from "./accepted-events.ts";
import type { EventJudge, Refusal } from "./event-judge.ts";
import type { Intake } from "./event-reader.ts";
import type { JsonScanner } from "./json-scanner.ts";
import type { Router } from "./partition-router.ts";
import type { ValuePlan } from "./quick-plan.ts";

/** Takes events as they stand in the body. */
export class PlainIntake implements Intake {
  readonly plan: ValuePlan | undefined;
  readonly scanner: JsonScanner;
  readonly #body: Buffer;
  readonly #judge: EventJudge;
  readonly #router: Router | undefined;
  readonly #accepted: AcceptedEvents;

  constructor(body: Buffer, source: string, judge: EventJudge, router: Router | undefined) {
    this.#body = body;
    this.#judge = judge;
    this.#router = router;
    this.scanner = judge.scanner;
    // A router needs the event's value, which the quick scanner does not build.
    this.plan = router === undefined ? judge.plan : undefined;
    this.#accepted = new AcceptedEvents(body, source);
  }

  takeQuick(start: number, end: number, line: boolean): void {
    if (line) this.#accepted.addLine(start, end);
    else this.#accepted.add(0, start, end, false);
  }

  take(start: number, end: number, scanned: boolean): Refusal | undefined {
    const refusal = this.#judge.judge(this.#body, start, end, scanned);
    if (refusal !== undefined) return refusal;
    const partition = this.#router === undefined ? 0 : this.#router(this.#judge.value);
    this.#accepted.add(partition, start, end, this.scanner.lineBreaks);
    return undefined;
  }

  runs(): AcceptedRun[] {
    return this.#accepted.runs();
  }
}
