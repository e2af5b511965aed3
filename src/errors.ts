/**
 * The registry of error codes. Every failure a user can meet has one code here: its HTTP status, whether trying again
 * can help, the sentence that says what happened, and the next step. Codes are never reused for another meaning.
 * `docs/errors.md` is this registry, and a test holds the two together.
 */
interface ErrorSpec {
  /** HTTP status when the error ends a request. */
  readonly status: number;
  /** True when the same request can succeed later without being changed. */
  readonly retryable: boolean;
  /** One sentence: what, got, allowed. `{name}` takes the parameter of that name. */
  readonly message: string;
  /** What to do next. Takes parameters as the message does. */
  readonly hint: string;
}

export const ERRORS = {
  // --- general
  INTERNAL: {
    status: 500,
    retryable: false,
    message: "{what} failed unexpectedly",
    hint: "The server's log has the cause; nothing that was acknowledged is lost.",
  },
  SHUTTING_DOWN: {
    status: 503,
    retryable: true,
    message: "the platform is stopping and takes nothing new",
    hint: "Send the request again in a moment.",
  },
  // --- definitions (a project that does not load)
  // --- gateway
  // --- log
  // --- lake
  // --- engine
  // --- flow
  // --- serve
  // --- state
  // --- config and command line
} as const satisfies Record<string, ErrorSpec>;

export type ErrorCode = keyof typeof ERRORS;

export interface ErrorOptions {
  cause?: unknown;
  /** Structured facts for programs, shown under `details`. */
  details?: unknown;
  /** Seconds a client should wait before it tries again. */
  retryAfterS?: number;
}

/** An error with a code of the registry; its message is ready to be shown to the user. */
export class MillraceError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly retryable: boolean;
  readonly hint: string;
  readonly details: unknown;
  readonly retryAfterS: number | undefined;

  constructor(code: ErrorCode, params: Record<string, unknown> = {}, options: ErrorOptions = {}) {
    const spec: ErrorSpec = ERRORS[code];
    super(fill(spec.message, params), options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "MillraceError";
    this.code = code;
    this.status = spec.status;
    this.retryable = spec.retryable;
    this.hint = fill(spec.hint, params);
    this.details = options.details;
    this.retryAfterS = options.retryAfterS;
  }

  /** The `error` object of an HTTP answer. */
  toJSON(): { code: ErrorCode; message: string; hint: string; details?: unknown } {
    const base = { code: this.code, message: this.message, hint: this.hint };
    return this.details === undefined ? base : { ...base, details: this.details };
  }
}

function fill(template: string, params: Record<string, unknown>): string {
  return template.replaceAll(/\{(\w+)\}/g, (whole, name: string) =>
    name in params ? String(params[name]) : whole,
  );
}
