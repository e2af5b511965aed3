/**
 * What a failed request means. Services name a fault by a code in the body of the answer, which the client library gives as the error's
 * name; where there is no answer, or none in S3's words, the status or the network's own error has to do.
 */
import { type ErrorCode, MillraceError } from "../../errors.ts";
import type { S3Location } from "./s3-location.ts";

export type StoreOperation = "read" | "write" | "list" | "delete";

export type Fault =
  /** There is no such object, in a bucket that is there. */
  | { readonly kind: "absent" }
  /** There is such an object already. */
  | { readonly kind: "exists" }
  /** What was asked for may have happened or not, and asking again can help. */
  | { readonly kind: "passing"; readonly reason: string; readonly retryAfterMs: number | undefined }
  /** Asking again at once will not help. */
  | { readonly kind: "lasting"; readonly code: ErrorCode; readonly reason: string };

/** Answers after which the same request may succeed. `RequestTimeout`: the service did not get the body in time. */
const PASSING = new Set(
  `SlowDown SlowDownRead SlowDownWrite ServiceUnavailable InternalError RequestTimeout RequestTimeoutException ThrottlingException
   Throttling RequestThrottled RequestLimitExceeded BandwidthLimitExceeded ConditionalRequestConflict OperationAborted IncompleteBody
   BadDigest XAmzContentSHA256Mismatch XAmzContentChecksumMismatch ExpiredToken TokenRefreshRequired RequestExpired
   XMinioServerNotInitialized TimeoutError AbortError`.split(/\s+/),
);

/** The connection broke before the answer had said what it means. */
const CUT = new Set(["ECONNRESET", "EPIPE", "ETIMEDOUT", "ERR_STREAM_PREMATURE_CLOSE"]);

const LASTING: Record<string, ErrorCode> = {
  NoSuchBucket: "STORE_BUCKET_MISSING",
  InvalidBucketName: "STORE_BUCKET_MISSING",
  AccessDenied: "STORE_ACCESS_DENIED",
  AllAccessDisabled: "STORE_ACCESS_DENIED",
  AccountProblem: "STORE_ACCESS_DENIED",
  InvalidAccessKeyId: "STORE_CREDENTIALS",
  SignatureDoesNotMatch: "STORE_CREDENTIALS",
  InvalidToken: "STORE_CREDENTIALS",
  CredentialsProviderError: "STORE_CREDENTIALS",
  TokenProviderError: "STORE_CREDENTIALS",
  PermanentRedirect: "STORE_REGION",
  Redirect: "STORE_REGION",
  AuthorizationHeaderMalformed: "STORE_REGION",
  IllegalLocationConstraintException: "STORE_REGION",
  RequestTimeTooSkewed: "STORE_CLOCK_SKEW",
  NotImplemented: "STORE_UNSUPPORTED",
  ServerSideEncryptionConfigurationNotFoundError: "STORE_ENCRYPTION",
  InvalidEncryptionAlgorithmError: "STORE_ENCRYPTION",
};

/** Said of many things, encryption among them. */
const REFUSED = new Set(["NotImplemented", "InvalidArgument", "InvalidRequest", "AccessDenied"]);

interface ServiceError extends Error {
  readonly code?: string;
  readonly Code?: string;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly clockSkewCorrected?: boolean };
  readonly $response?: { readonly statusCode?: number; readonly headers?: Record<string, string> };
}

export function readFault(thrown: unknown): Fault {
  const error = (thrown instanceof Error ? thrown : new Error(String(thrown))) as ServiceError;
  const status = error.$metadata?.httpStatusCode ?? error.$response?.statusCode;
  const name = error.Code ?? error.name;
  const reason = reasonOf(error, name, status);
  if (name === "NoSuchKey") return { kind: "absent" };
  if (name === "PreconditionFailed" || status === 412) return { kind: "exists" };
  // The library has noted how far the clocks are apart and signs the next request accordingly.
  if (name === "RequestTimeTooSkewed" && error.$metadata?.clockSkewCorrected === true) return passing(error, reason);
  if (/kms/i.test(name) || (REFUSED.has(name) && /kms|encrypt/i.test(error.message))) {
    return { kind: "lasting", code: "STORE_ENCRYPTION", reason };
  }
  const known = LASTING[name];
  if (known !== undefined) return { kind: "lasting", code: known, reason };
  if (/region is missing/i.test(error.message)) return { kind: "lasting", code: "STORE_REGION", reason };
  if (PASSING.has(name)) return passing(error, reason);
  if (CUT.has(error.code ?? "")) return passing(error, reason);
  // Any status of the 4xx that S3 would have named otherwise; a page of some proxy in between must not pass for "no such object".
  if (status === 403 || status === 401) return { kind: "lasting", code: "STORE_ACCESS_DENIED", reason };
  if (status === 301 || status === 307) return { kind: "lasting", code: "STORE_REGION", reason };
  if (status === 501) return { kind: "lasting", code: "STORE_UNSUPPORTED", reason };
  if (status !== undefined && status >= 400 && status < 500 && status !== 408 && status !== 429) {
    return { kind: "lasting", code: "STORE_UNAVAILABLE", reason };
  }
  return passing(error, reason);
}

/** The error of the platform for a fault that ends an operation. */
export function storeError(
  fault: Exclude<Fault, { kind: "absent" | "exists" }>,
  at: S3Location & { readonly encryption: string },
  operation: StoreOperation,
  key: string,
  cause: unknown,
): MillraceError {
  const code = fault.kind === "passing" ? "STORE_UNAVAILABLE" : fault.code;
  const { place, bucket, endpoint, region, encryption: asked } = at;
  const reason = code === "STORE_UNSUPPORTED" ? `it does not ${operation} "${key}" (${fault.reason})` : fault.reason;
  const params = { operation, key, reason, place, bucket, endpoint, region, asked, apart: "too far" };
  return new MillraceError(code, params, { cause, retryAfterS: 1 });
}

function passing(error: ServiceError, reason: string): Fault {
  const seconds = Number(error.$response?.headers?.["retry-after"]);
  return { kind: "passing", reason, retryAfterMs: seconds > 0 ? seconds * 1000 : undefined };
}

/** Short, in the service's own words where it has some. */
function reasonOf(error: ServiceError, name: string, status: number | undefined): string {
  const answered = status === undefined ? "" : `${status} `;
  // Errors of the network come bare or in bunches (one for each address of a host), and then without a message of their own.
  const inner = error instanceof AggregateError ? (error.errors[0] as Error | undefined) : undefined;
  const message = (error.message || inner?.message || "no reason given").split("\n")[0] ?? "";
  const named = ["Error", "AggregateError", "SyntaxError", "TypeError"].includes(name) ? "" : `${name}: `;
  return `${answered}${named}${message}`.replace(/[.\s]+$/, "").slice(0, 300);
}
