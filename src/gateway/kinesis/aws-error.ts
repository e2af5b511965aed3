/** Errors as AWS says them: a name (`__type`), a sentence, and the status that its SDKs go by: 400 is final, but for throttling; 5xx is sent again. */
import type { MillraceError } from "../../errors.ts";

export class AwsError extends Error {
  readonly type: string;
  readonly status: number;
  readonly retryAfterS: number | undefined;

  constructor(type: string, message: string, status = 400, retryAfterS: number | undefined = undefined) {
    super(message);
    this.type = type;
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

export function invalidArgument(message: string): AwsError {
  return new AwsError("InvalidArgumentException", message);
}

/** What AWS says of a parameter that breaks its model. */
export function validation(value: unknown, parameter: string, constraint: string): AwsError {
  const shown = typeof value === "string" && value.length > 100 ? `${value.slice(0, 100)}…` : value;
  const said = value === undefined ? "null" : typeof shown === "object" ? JSON.stringify(shown).slice(0, 100) : shown;
  const message = `1 validation error detected: Value '${said}' at '${parameter}' failed to satisfy constraint: ${constraint}`;
  return new AwsError("ValidationException", message);
}

export function serialization(message: string): AwsError {
  return new AwsError("SerializationException", message);
}

/** An error of the platform in AWS's terms. */
export function asAwsError(error: MillraceError): AwsError {
  const { code, message, status, retryAfterS } = error;
  const said = `${code}: ${message}`;
  switch (code) {
    case "OVERLOADED":
    case "SHARE_EXCEEDED":
      return new AwsError("ProvisionedThroughputExceededException", said, 400, retryAfterS ?? 1);
    case "BODY_TOO_LARGE":
      return new AwsError("RequestEntityTooLargeException", said, 413);
    case "REQUEST_TIMEOUT":
      return new AwsError("RequestTimeoutException", said, 408);
    default:
  }
  if (status === 503) return new AwsError("ServiceUnavailable", said, 503, retryAfterS ?? 1);
  if (status >= 500) return new AwsError("InternalFailure", said, 500);
  return serialization(said);
}
