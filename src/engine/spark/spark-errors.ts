/**
 * What a Spark Connect server reports, as the errors of the port. A server's errors come as the status of a gRPC call whose text is
 * `[ERROR_CLASS.SUBCLASS] sentence. SQLSTATE: 42703; line 1 pos 7;` and what it thinks of the plan.
 */
import { status } from "@grpc/grpc-js";
import { MillraceError } from "../../errors.ts";
import { type SparkAddress, shownSparkAddress } from "./spark-address.ts";

interface CallError extends Error {
  readonly code: number;
  readonly details: string;
}

/** True for an error that a gRPC call ended with. */
export function isCallError(error: unknown): error is CallError {
  return error instanceof Error && "details" in error && typeof (error as CallError).code === "number";
}

/** The server may not have got what was asked, or its answer was lost on the way. */
export function isConnectionLost(error: unknown): boolean {
  return isCallError(error) && (error.code === status.UNAVAILABLE || isCutOff(error));
}

/** The connection broke in the middle of a call. */
function isCutOff({ code, details }: CallError): boolean {
  return (
    (code === status.INTERNAL || code === status.CANCELLED || code === status.UNKNOWN) &&
    /RST_STREAM|Stream removed|Connection dropped|ECONNRESET/i.test(details)
  );
}

/** The server no longer knows the session: it was restarted, or has closed it. */
export function isSessionLost(error: unknown): boolean {
  return isCallError(error) && /^\[INVALID_HANDLE\.SESSION_/.test(error.details);
}

/** The server does not know the operation: it never came, or is long released. */
export function isOperationUnknown(error: unknown): boolean {
  return isCallError(error) && /^\[INVALID_HANDLE\.OPERATION_/.test(error.details);
}

/** The server, or the session, was gone in the middle of what it computed. */
export class LostWhileComputing extends Error {
  constructor(cause: unknown) {
    super("the server was lost while it computed", { cause });
  }
}

/** The error of the port. */
export function sparkError(error: unknown, address: SparkAddress): unknown {
  if (error instanceof LostWhileComputing) return lostError(error.cause, address);
  if (!isCallError(error)) return error;
  const { code } = error;
  // Errors of the parser begin with an empty line.
  const details = error.details.trimStart();
  const spark = shownSparkAddress(address);
  const reason = sentence(details);
  const errorClass = /^\[([A-Z0-9_.]+)\]/.exec(details)?.[1];
  if (code === status.UNAUTHENTICATED || code === status.PERMISSION_DENIED)
    return new MillraceError("SPARK_REFUSED", { spark, reason }, { cause: error });
  if (code === status.UNIMPLEMENTED)
    return new MillraceError(
      "SPARK_UNSUPPORTED",
      { spark, got: "a server that does not speak Spark Connect" },
      { cause: error },
    );
  if (MEMORY.test(details)) return new MillraceError("SPARK_OUT_OF_MEMORY", { spark, reason }, { cause: error });
  if (STOPPED.test(details)) return new MillraceError("SPARK_UNAVAILABLE", { spark, reason: DEAD }, { cause: error });
  if (
    errorClass === undefined &&
    (isConnectionLost(error) || TRANSPORT.test(details) || code === status.DEADLINE_EXCEEDED)
  )
    return new MillraceError("SPARK_UNAVAILABLE", { spark, reason }, { cause: error });
  if (isSessionLost(error) || isOperationUnknown(error))
    return new MillraceError(
      "SPARK_UNAVAILABLE",
      { spark, reason: `it lost what was under way (${reason})` },
      { cause: error },
    );
  if (/^OPERATION_CANCELED|^INTERRUPTED/.test(errorClass ?? "") || code === status.CANCELLED)
    return new MillraceError("QUERY_CANCELLED", {}, { cause: error });
  if (FILES.test(details)) return new MillraceError("ENGINE_IO", { reason: `Spark: ${reason}` }, { cause: error });
  const kind = errorClass?.startsWith("PARSE_") ? "SQL_SYNTAX" : "SQL_FAILED";
  return new MillraceError(kind, { reason: `Spark: ${reason}`, place: "" }, { cause: error });
}

/** A driver that runs out of memory is gone, or ends: Spark tells nobody why. */
function lostError(cause: unknown, address: SparkAddress): unknown {
  const error = sparkError(cause, address);
  if (!(error instanceof MillraceError) || error.code !== "SPARK_UNAVAILABLE") return error;
  const spark = shownSparkAddress(address);
  if (isSessionLost(cause))
    return new MillraceError(
      "SPARK_OUT_OF_MEMORY",
      { spark, reason: "it was lost in the middle of this again and again" },
      { cause },
    );
  const reason = "it went away while it computed, as it does for want of memory (spark.driver.memory)";
  return new MillraceError("SPARK_UNAVAILABLE", { spark, reason }, { cause });
}

/** It answers and computes nothing any more. The last is what gRPC says for a server that failed without a word, seen of those without memory. */
const STOPPED = /stopped SparkContext|SparkContext was (?:shut ?down|stopped)|^Application error processing RPC/i;
const DEAD = "it computes nothing any more, as after want of memory (spark.driver.memory), and is to be restarted";

/** An executor's process ends with 52 when its memory is full, and with 137 or 143 when somebody ends it for the memory it took. */
const MEMORY =
  /ExecutorLostFailure[^\n]*(?:code (?:52|137|143)\b|memory|OOM)|OutOfMemoryError|UNABLE_TO_ACQUIRE_MEMORY|UNABLE_TO_BROADCAST|Not enough memory to build and broadcast|spark\.driver\.maxResultSize|GC overhead limit|Java heap space|larger than max \(/i;
const FILES =
  /PATH_NOT_FOUND|FAILED_READ_FILE|FileNotFoundException|No such file|No space left on device|Permission denied|AccessDenied|Mkdirs failed|NoSuchBucket|IOException|ClassNotFoundException: Class org\.apache\.hadoop\.fs/;
/** What a port answers that is none of Spark Connect's, or that speaks TLS where none is expected. */
const TRANSPORT =
  /Protocol error|HTTP|socket|ECONN|EPROTO|TLS|SSL|certificate|Name resolution failed|No connection established/i;

/** The first line, without the class, the state and the plan. */
function sentence(details: string): string {
  const [line = ""] = details.split("\n");
  const text = line
    .replace(/^\[[A-Z0-9_.]+\]\s*/, "")
    .replace(/\s*SQLSTATE: \w+[\s\S]*$/, "")
    .replace(/\s*Resolution note:.*$/, "")
    .replaceAll(/`?__[mw][0-9a-f]{12}(?:_\d+)?`?/g, "an input")
    .replaceAll(/(?:file|s3a):\/*[^\s,;]*\/([^\s/,;]+)/g, "$1")
    .trim()
    .replace(/[.;]+$/, "");
  return text === "" ? "it gave no reason" : text;
}
