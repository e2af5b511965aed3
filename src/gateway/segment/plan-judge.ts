/** Holds messages to their source's tracking plan, beside the contract of all messages. */
import type { ValidateFunction } from "ajv";
import { Ajv } from "ajv";
import type { Stream } from "../../define/project.ts";
import type { OnViolation, TrackingPlan } from "../../define/tracking-plan.ts";
import { MillraceError } from "../../errors.ts";
import type { JudgeLimits, Refusal } from "../event-judge.ts";
import { EventJudge, refuse } from "../event-judge.ts";
import { FORMATS } from "../formats.ts";
import { keptViolation, violationText } from "../violation.ts";

/** The judge of a stream's events. @throws CONTRACT_NOT_COMPILABLE */
export function judgeOf(stream: Stream, limits: JudgeLimits): EventJudge {
  const plan = stream.segment?.plan;
  return plan === undefined ? new EventJudge(stream, limits) : new PlanJudge(stream, plan, limits);
}

export class PlanJudge extends EventJudge {
  /** What is wrong with the message judged last, where the plan only flags that. */
  flagged: string | undefined;
  readonly #plan: TrackingPlan;
  readonly #events = new Map<string, ValidateFunction>();

  constructor(stream: Stream, plan: TrackingPlan, limits: JudgeLimits) {
    super(stream, limits);
    this.#plan = plan;
    for (const { name, schema } of plan.events) this.#events.set(name, compile(stream, name, schema));
  }

  override judge(bytes: Buffer, start: number, end: number, scanned = false): Refusal | undefined {
    this.flagged = undefined;
    const refusal = super.judge(bytes, start, end, scanned);
    if (refusal !== undefined) return refusal;
    const message = this.value as { readonly type: string; readonly event: string };
    if (message.type !== "track") return undefined;
    const validate = this.#events.get(message.event);
    if (validate === undefined) {
      if (this.#plan.unplanned === "allow") return undefined;
      return this.#found(this.#plan.unplanned, `the plan has no event ${JSON.stringify(message.event)}`);
    }
    if (validate(message)) return undefined;
    const violation = violationText(keptViolation(validate.errors ?? [], message));
    return this.#found(this.#plan.violations, violation);
  }

  #found(what: OnViolation, violation: string): Refusal | undefined {
    if (what === "reject") return refuse("PLAN_VIOLATED", { violation });
    this.flagged = violation;
    return undefined;
  }
}

function compile(stream: Stream, event: string, schema: object): ValidateFunction {
  try {
    const ajv = new Ajv({ strict: false, verbose: true, ownProperties: true });
    for (const [name, test] of FORMATS) ajv.addFormat(name, { type: "string", validate: test });
    return ajv.compile(schema);
  } catch (cause) {
    const reason = `of the planned event ${JSON.stringify(event)}: ${cause instanceof Error ? cause.message : cause}`;
    throw new MillraceError("CONTRACT_NOT_COMPILABLE", { stream: stream.name, file: stream.file, reason }, { cause });
  }
}
