/** What can go wrong with Kafka, in the words of the registry: which setting, which broker, which topic. */
import { protocolErrorsCodesById } from "@platformatic/kafka";
import { MillraceError } from "../../errors.ts";
import type { ConnectSettings } from "./connect-settings.ts";

/** An error code of the protocol that a broker answered, such as NOT_LEADER_OR_FOLLOWER. */
export class BrokerRefusal extends Error {
  readonly refusal: string;
  constructor(refusal: string, detail?: string | null) {
    super(detail ? `${refusal}: ${detail}` : refusal);
    this.refusal = refusal;
  }
}

export function refusalName(code: number): string {
  return (protocolErrorsCodesById as Record<number, string>)[code] ?? `error ${code}`;
}

/** Throws when the code says anything but success. */
export function check(code: number, detail?: string | null): void {
  if (code !== 0) throw new BrokerRefusal(refusalName(code), detail);
}

/** The answer of a call of the client library, which rejects when any part of the answer holds an error code. */
export async function answerOf<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    const { response } = error as { response?: T };
    if (response === undefined) throw error;
    return response;
  }
}

/** Refusals that pass when leaders are known again, replicas are back or a coordinator is found. */
const PASSING = new Set([
  "CORRUPT_MESSAGE",
  "UNKNOWN_TOPIC_OR_PARTITION",
  "LEADER_NOT_AVAILABLE",
  "NOT_LEADER_OR_FOLLOWER",
  "REQUEST_TIMED_OUT",
  "BROKER_NOT_AVAILABLE",
  "REPLICA_NOT_AVAILABLE",
  "NETWORK_EXCEPTION",
  "COORDINATOR_LOAD_IN_PROGRESS",
  "COORDINATOR_NOT_AVAILABLE",
  "NOT_COORDINATOR",
  "NOT_ENOUGH_REPLICAS",
  "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
  "NOT_CONTROLLER",
  "KAFKA_STORAGE_ERROR",
  "FENCED_LEADER_EPOCH",
  "UNKNOWN_LEADER_EPOCH",
  "OFFSET_NOT_AVAILABLE",
  "UNSTABLE_OFFSET_COMMIT",
  "THROTTLING_QUOTA_EXCEEDED",
  "UNKNOWN_TOPIC_ID",
]);

/** Whether the same call can succeed later: what the network does, and what brokers say of themselves. */
export function passes(error: unknown): boolean {
  if (error instanceof BrokerRefusal) return PASSING.has(error.refusal);
  if (error instanceof MillraceError) return error.retryable;
  const { code } = error as { code?: unknown };
  return code === "PLT_KFK_NETWORK" || code === "PLT_KFK_TIMEOUT" || code === "PLT_KFK_UNEXPECTED_CORRELATION_ID";
}

/** The innermost message of an error: the library wraps what the socket said. */
export function reasonOf(error: unknown): string {
  let innermost = error as Error & { errors?: unknown[] };
  for (let depth = 0; depth < 8; depth++) {
    const next = innermost.cause ?? innermost.errors?.[0];
    if (!(next instanceof Error)) break;
    innermost = next as typeof innermost;
  }
  const { message, code } = innermost as { message: string; code?: unknown };
  return message || String(code ?? error);
}

/** A connection that did not come about. Which of the settings is wrong shows in what the socket and the broker say. */
export function connectFailure(error: unknown, broker: string, settings: ConnectSettings): MillraceError {
  if (error instanceof MillraceError) return error;
  const chain = chainOf(error);
  const reason = reasonOf(error);
  const says = (pattern: RegExp): boolean =>
    chain.some(({ code, apiId, message }) => pattern.test(`${code} ${apiId} ${message}`));
  if (says(/PLT_KFK_AUTHENTICATION|SASL_AUTHENTICATION_FAILED|UNSUPPORTED_SASL_MECHANISM|ILLEGAL_SASL_STATE|SASL /)) {
    const told = says(/ILLEGAL_SASL_STATE/)
      ? "it takes no credentials on this port"
      : says(/UNSUPPORTED_SASL_MECHANISM/)
        ? `it does not offer the mechanism ${settings.sasl?.mechanism}`
        : reason;
    return new MillraceError("KAFKA_CREDENTIALS", { broker, reason: told }, { cause: error });
  }
  if (says(/CERT|SSL|TLS|SELF_SIGNED|UNABLE_TO_|ERR_OSSL/))
    return new MillraceError("KAFKA_TLS", { broker, reason }, { cause: error });
  if (settings.tls && says(/ECONNRESET|socket hang up|disconnected/))
    return new MillraceError(
      "KAFKA_TLS",
      { broker, reason: `${reason}; it may not speak TLS on this port` },
      { cause: error },
    );
  return new MillraceError("KAFKA_UNREACHABLE", { broker, reason }, { cause: error });
}

/** An error and its causes; `code` is that of the socket or the library, `apiId` that of the protocol. */
function chainOf(error: unknown): { code?: unknown; apiId?: unknown; message: string }[] {
  const chain: (Error & { code?: unknown; apiId?: unknown })[] = [];
  for (let next: unknown = error; next instanceof Error && chain.length < 10; ) {
    chain.push(next);
    next = next.cause ?? (next as { errors?: unknown[] }).errors?.[0];
  }
  return chain;
}

/** What Kafka denies by its access rules; undefined for any other refusal. */
export function denied(
  error: unknown,
  resource: string,
  operation: string,
  settings: ConnectSettings,
): MillraceError | undefined {
  if (!(error instanceof BrokerRefusal) || !error.refusal.endsWith("_AUTHORIZATION_FAILED")) return undefined;
  const user = settings.sasl ? `user "${settings.sasl.username}"` : "a client without credentials";
  return new MillraceError("KAFKA_NOT_ALLOWED", { user, operation, resource }, { cause: error });
}
