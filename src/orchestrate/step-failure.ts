import type { RunFailure } from "../define/workflow.ts";

/**
 * What a failed step throws into its workflow: rebuilt from the record, the first time as well, so that `catch` sees the same before and
 * after a crash. `code` and `name` are those of the error the step ended with; its class is not.
 */
export class StepFailure extends Error {
  readonly code: string;
  readonly step: string | undefined;
  readonly details: unknown;

  constructor(failure: RunFailure & { readonly name?: string }) {
    super(failure.message);
    this.name = failure.name ?? "StepFailure";
    this.code = failure.code;
    this.step = failure.step;
    this.details = failure.details;
  }
}

const MOST_MESSAGE = 4_000;

/** An error as it is recorded: code (else its name), message and, where it has them, details that JSON can say. */
export function failureOf(error: unknown, step?: string): RunFailure & { readonly name: string } {
  const {
    code,
    name,
    message,
    details,
    step: own,
  } = (typeof error === "object" && error !== null ? error : { message: String(error) }) as Record<string, unknown>;
  const kind = typeof name === "string" ? name : "Error";
  const at = step ?? own;
  const said = plainDetails(details);
  return {
    code: typeof code === "string" || typeof code === "number" ? String(code) : kind,
    name: kind,
    message: String(message ?? error)
      .slice(0, MOST_MESSAGE)
      .replaceAll("\0", "\uFFFD")
      .toWellFormed(),
    ...(typeof at === "string" ? { step: at } : {}),
    ...(said === undefined ? {} : { details: said }),
  };
}

/** Details in so far as they are short and JSON: a failure must never fail to be recorded. */
function plainDetails(details: unknown): unknown {
  if (details === undefined) return undefined;
  try {
    const text = JSON.stringify(details);
    if (text === undefined || text.length > 16_384 || /\\u(0000|d[89a-f])/i.test(text)) return undefined;
    return JSON.parse(text) as unknown;
  } catch {
    return undefined; // circular or throwing: the message has to do
  }
}
