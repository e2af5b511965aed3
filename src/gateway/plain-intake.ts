import type { AcceptedRun } from "./accepted-events.ts";
import { AcceptedEvents } from "./accepted-events.ts";
import type { EventJudge, Refusal } from "./event-judge.ts";
import type { Intake } from "./event-reader.ts";
import type { JsonScanner } from "./json-scanner.ts";
import type { Router } from "./partition-router.ts";
import type { ObjectPlan, ValuePlan } from "./quick-plan.ts";

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
    this.plan = judge.plan;
    this.#accepted = new AcceptedEvents(body, source);
  }

  takeQuick(start: number, end: number, line: boolean): boolean {
    let partition = 0;
    if (this.#router !== undefined) {
      partition = this.#router.ofQuick(this.plan?.object as ObjectPlan, this.#body);
      if (partition < 0) return false;
    }
    if (line) this.#accepted.addLine(partition, start, end);
    else this.#accepted.add(partition, start, end, false);
    return true;
  }

  take(start: number, end: number, scanned: boolean): Refusal | undefined {
    const refusal = this.#judge.judge(this.#body, start, end, scanned);
    if (refusal !== undefined) return refusal;
    const partition = this.#router === undefined ? 0 : this.#router.ofValue(this.#judge.value);
    this.#accepted.add(partition, start, end, this.scanner.lineBreaks);
    return undefined;
  }

  runs(): AcceptedRun[] {
    return this.#accepted.runs();
  }
}
