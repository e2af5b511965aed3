/**
 * The one client of the platform's HTTP API. Types are those of the routes themselves, so what they say and what is read here cannot drift apart; a test
 * calls every method against a running platform.
 */

import type { BackfillView } from "../../../src/orchestrate/backfill-view.ts";
import type { LogView, RunView, StepView } from "../../../src/orchestrate/read-runs.ts";
import type { KeyView, LedgerView, PlatformStatus, SettingView } from "../../../src/serve/admin-route.ts";
import type { TableDetails, TableSummary } from "../../../src/serve/catalogue.ts";
import type { LedgerHistoryView } from "../../../src/serve/ledger-history-route.ts";
import type { LineageView } from "../../../src/serve/lineage-route.ts";
import type { ProjectMap } from "../../../src/serve/map-route.ts";
import type { NotebookDraft } from "../../../src/serve/notebooks-route.ts";
import type { QueryView } from "../../../src/serve/running-queries.ts";
import type { SessionView } from "../../../src/serve/session-route.ts";
import type { SystemView } from "../../../src/serve/system-route.ts";
import type { WorkerView } from "../../../src/serve/workers-route.ts";
import type { NotebookView } from "./pages/sql/notebook.ts";

/** What the platform refused, as it said it. */
export class ApiError extends Error {
  readonly code: string;
  readonly hint: string | undefined;
  readonly details: unknown;
  readonly status: number;

  constructor(status: number, error: { code: string; message: string; hint?: string; details?: unknown }) {
    super(error.message);
    this.name = "ApiError";
    this.status = status;
    this.code = error.code;
    this.hint = error.hint;
    this.details = error.details;
  }
}

export type { BackfillView, LogView, RunView, StepView };

/** Called when a request is refused because nobody is signed in any more. */
let signedOut: () => void = () => undefined;
export function onSignedOut(listener: () => void): void {
  signedOut = listener;
}

interface Call {
  readonly method?: "GET" | "POST" | "PUT" | "DELETE";
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
  readonly accept?: string;
}

async function request(
  path: string,
  { method = "GET", body, signal, accept = "application/json" }: Call = {},
): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers: { Accept: accept, ...(body !== undefined && { "Content-Type": "application/json" }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(signal !== undefined && { signal }),
    });
  } catch (cause) {
    if (signal?.aborted) throw cause;
    throw new ApiError(0, {
      code: "UNREACHABLE",
      message: "the platform does not answer",
      hint: "Is it running? The page goes on by itself once it is back.",
    });
  }
  if (response.ok) return response;
  const text = await response.text();
  const error = errorOf(text) ?? {
    code: `HTTP_${response.status}`,
    message: text.slice(0, 500) || response.statusText,
  };
  if (response.status === 401 && path !== "/v1/session") signedOut();
  throw new ApiError(response.status, error);
}

function errorOf(text: string): { code: string; message: string } | undefined {
  try {
    return (JSON.parse(text) as { error?: { code: string; message: string } }).error;
  } catch {
    return undefined;
  }
}

async function json<T>(path: string, call?: Call): Promise<T> {
  const response = await request(path, call);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

const at = encodeURIComponent;

function query(parameters: Readonly<Record<string, string | number | undefined>>): string {
  const given = Object.entries(parameters).flatMap(([name, value]) =>
    value === undefined || value === "" ? [] : [`${name}=${at(String(value))}`],
  );
  return given.length === 0 ? "" : `?${given.join("&")}`;
}

/** As it comes over the wire: moments are texts. */
type Wire<T> = T extends Date
  ? string
  : T extends readonly (infer Item)[]
    ? Wire<Item>[]
    : T extends object
      ? { [Name in keyof T]: Wire<T[Name]> }
      : T;

export interface ResultColumn {
  readonly name: string;
  readonly type: string;
}

export interface SqlResult {
  readonly columns: readonly ResultColumn[];
  readonly rows: readonly (readonly unknown[])[];
  readonly rowCount: number;
  readonly elapsedMs: number;
  readonly truncated?: boolean;
}

export interface StreamView {
  readonly name: string;
  readonly fields: readonly string[];
  readonly id: readonly string[];
  readonly key: string | null;
  readonly time: string | null;
  /** Takes what Segment's SDKs send. */
  readonly segment: boolean;
  readonly partitions: readonly { readonly partition: number; readonly start: number; readonly end: number }[];
}

export interface IngestAnswer {
  readonly accepted: number;
  readonly rejected: readonly { readonly index: number; readonly code: string; readonly message: string }[];
  readonly partitions: readonly { readonly partition: number; readonly from: number; readonly to: number }[];
}

export interface LetterView {
  readonly id: string;
  readonly stream: string;
  readonly table: string | null;
  readonly stage: string;
  readonly code: string;
  readonly message: string;
  readonly status: string;
  readonly attempts: number;
  readonly firstSeen: string;
  readonly partition: number | null;
  readonly offset: number | null;
  readonly source: string;
  /** Of the newest attempt. */
  readonly lastCode: string;
  readonly lastMessage: string;
  readonly lastActionAt: string | null;
  readonly actor: string | null;
  /** Why it was discarded. */
  readonly reason: string | null;
  readonly retriedPartition: number | null;
  readonly retriedOffset: number | null;
  readonly payload?: string;
  readonly payloadBase64?: string;
}

export interface AlertView {
  readonly id: string;
  readonly kind: string;
  readonly name: string;
  readonly key: string;
  readonly severity: "info" | "warning" | "critical";
  readonly state: "firing" | "acknowledged" | "resolved";
  readonly summary: string;
  readonly details: unknown;
  readonly at: string;
  readonly acknowledgedAt: string | null;
  readonly acknowledgedBy: string | null;
  readonly resolvedAt: string | null;
  readonly resolvedBy: string | null;
  readonly note: string | null;
  readonly silencedUntil: string | null;
}

export interface SilenceView {
  readonly id: string;
  readonly state: "active" | "waiting" | "over";
  readonly match: Readonly<Partial<Record<"kind" | "name" | "key" | "severity", string>>>;
  readonly reason: string;
  readonly createdBy: string;
  readonly createdAt: string;
  readonly from: string;
  readonly to: string | null;
  readonly repeat: { readonly cron: string; readonly timezone: string; readonly forMs: number } | null;
  readonly endedAt: string | null;
  readonly endedBy: string | null;
}

export interface RetryAnswer {
  readonly retried: number;
  readonly failed: number;
  readonly results: readonly {
    readonly id: string;
    readonly outcome: string;
    readonly stage?: string;
    readonly code?: string;
    readonly message?: string;
    readonly partition?: number;
    readonly offset?: number;
  }[];
}

export interface WorkflowView {
  readonly name: string;
  readonly triggers: readonly Readonly<Record<string, unknown>>[];
  readonly file: string;
  readonly timeoutMs: number | null;
  readonly concurrency: number | null;
}

export interface LetterChoice {
  readonly ids?: readonly string[];
  readonly filter?: Readonly<Partial<Record<"stream" | "table" | "stage" | "code", string>>>;
}

export interface CreatedKey {
  readonly key: Wire<KeyView>;
  /** Told this once. */
  readonly token: string;
  readonly accessKey?: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

export type WholeNotebook = NotebookView & { readonly cells: readonly unknown[] };

export type TableView = Omit<TableDetails, "columns"> & {
  readonly columns: readonly (TableDetails["columns"][number] & { readonly typeName: string })[];
};

export const api = {
  session: () => json<{ session: SessionView | null }>("/v1/session").then(({ session }) => session),
  signIn: (key: string) =>
    json<{ session: SessionView }>("/v1/session", { method: "POST", body: { key } }).then(({ session }) => session),
  signOut: () => json<void>("/v1/session", { method: "DELETE" }),

  map: (signal?: AbortSignal) => json<ProjectMap>("/v1/map", { signal }),
  status: (signal?: AbortSignal) => json<PlatformStatus>("/v1/status", { signal }),
  ledger: (signal?: AbortSignal) => json<LedgerView>("/v1/ledger", { signal }),
  lineage: (table: string, column: string, signal?: AbortSignal) =>
    json<LineageView>(`/v1/lineage${query({ table, column })}`, { signal }),
  ledgerHistory: (hours: number, signal?: AbortSignal) =>
    json<LedgerHistoryView>(`/v1/ledger/history?hours=${hours}`, { signal }),
  settings: (signal?: AbortSignal) =>
    json<{ settings: SettingView[] }>("/v1/config", { signal }).then(({ settings }) => settings),
  createKey: (key: { name: string; scopes: readonly string[]; aws?: boolean }) =>
    json<CreatedKey>("/v1/keys", { method: "POST", body: key }),
  revokeKey: (id: string) => json<{ key: Wire<KeyView> }>(`/v1/keys/${at(id)}`, { method: "DELETE" }),
  system: (signal?: AbortSignal) => json<SystemView>("/v1/system", { signal }),
  workers: (signal?: AbortSignal) =>
    json<{ workers: (Wire<WorkerView> & { self: boolean })[] }>("/v1/workers", { signal }).then(
      ({ workers }) => workers,
    ),
  keys: (signal?: AbortSignal) => json<{ keys: Wire<KeyView>[] }>("/v1/keys", { signal }).then(({ keys }) => keys),

  streams: (signal?: AbortSignal) =>
    json<{ streams: StreamView[] }>("/v1/streams", { signal }).then(({ streams }) => streams),
  schema: (stream: string, signal?: AbortSignal) => json<unknown>(`/v1/streams/${at(stream)}/schema`, { signal }),
  send: (stream: string, event: unknown) =>
    json<IngestAnswer>(`/v1/streams/${at(stream)}/events`, { method: "POST", body: event }),
  receipt: (stream: string, id: string, signal?: AbortSignal) =>
    json<Record<string, unknown>>(`/v1/streams/${at(stream)}/events/${at(id)}`, { signal }),

  tables: (signal?: AbortSignal) =>
    json<{ tables: TableSummary[] }>("/v1/tables", { signal }).then(({ tables }) => tables),
  table: (name: string, signal?: AbortSignal) => json<TableView>(`/v1/tables/${at(name)}`, { signal }),

  sql: (
    sql: string,
    options: { params?: readonly unknown[]; maxRows?: number; id?: string; signal?: AbortSignal } = {},
  ) => {
    const { signal, ...rest } = options;
    return json<SqlResult>("/v1/sql", { method: "POST", body: { sql, ...rest }, signal });
  },
  sqlAs: (sql: string, accept: string, params: readonly unknown[] = [], signal?: AbortSignal) =>
    request("/v1/sql", { method: "POST", body: { sql, params }, accept, signal }),
  queries: (signal?: AbortSignal) =>
    json<{ queries: QueryView[] }>("/v1/queries", { signal }).then(({ queries }) => queries),
  cancelQuery: (id: string) => json<void>(`/v1/queries/${at(id)}`, { method: "DELETE" }),

  notebooks: (signal?: AbortSignal) =>
    json<{ notebooks: NotebookView[] }>("/v1/notebooks", { signal }).then(({ notebooks }) => notebooks),
  notebook: (id: string, signal?: AbortSignal) =>
    json<{ notebook: WholeNotebook }>(`/v1/notebooks/${at(id)}`, { signal }).then(({ notebook }) => notebook),
  createNotebook: (draft: NotebookDraft) =>
    json<{ notebook: WholeNotebook }>("/v1/notebooks", { method: "POST", body: draft }).then(
      ({ notebook }) => notebook,
    ),
  replaceNotebook: (id: string, version: number, draft: NotebookDraft) =>
    json<{ notebook: WholeNotebook }>(`/v1/notebooks/${at(id)}`, { method: "PUT", body: { version, ...draft } }).then(
      ({ notebook }) => notebook,
    ),
  removeNotebook: (id: string) => json<void>(`/v1/notebooks/${at(id)}`, { method: "DELETE" }),

  workflows: (signal?: AbortSignal) =>
    json<{ workflows: WorkflowView[] }>("/v1/workflows", { signal }).then(({ workflows }) => workflows),
  startRun: (workflow: string, input: unknown) =>
    json<{ run: RunView }>(`/v1/workflows/${at(workflow)}/runs`, {
      method: "POST",
      body: input === undefined ? {} : { input },
    }).then(({ run }) => run),
  runs: (
    filter: { workflow?: string; status?: string; backfill?: string; limit?: number; before?: string } = {},
    signal?: AbortSignal,
  ) => json<{ runs: RunView[]; next?: string }>(`/v1/runs${query(filter)}`, { signal }),
  run: (id: string, signal?: AbortSignal) =>
    json<{ run: RunView; steps: StepView[] }>(`/v1/runs/${at(id)}`, { signal }),
  runLogs: (id: string, signal?: AbortSignal) =>
    json<{ logs: LogView[] }>(`/v1/runs/${at(id)}/logs?limit=1000`, { signal }).then(({ logs }) => logs),
  cancelRun: (id: string) => json<{ run: RunView }>(`/v1/runs/${at(id)}/cancel`, { method: "POST" }),
  retryRun: (id: string) => json<{ run: RunView }>(`/v1/runs/${at(id)}/retry`, { method: "POST" }),
  backfill: (
    workflow: string,
    what: ({ from: string; to: string; by: string } | { partitions: readonly string[] }) & { concurrency?: number },
  ) =>
    json<{ backfill: BackfillView }>(`/v1/workflows/${at(workflow)}/backfills`, { method: "POST", body: what }).then(
      ({ backfill }) => backfill,
    ),
  showBackfill: (id: string, signal?: AbortSignal) =>
    json<{ backfill: BackfillView }>(`/v1/backfills/${at(id)}`, { signal }).then(({ backfill }) => backfill),
  cancelBackfill: (id: string) =>
    json<{ backfill: BackfillView & { readonly cancelled: number } }>(`/v1/backfills/${at(id)}/cancel`, {
      method: "POST",
    }),

  deadLetters: (
    filter: {
      stream?: string;
      table?: string;
      stage?: string;
      code?: string;
      status?: string;
      limit?: number;
      before?: number;
    } = {},
    signal?: AbortSignal,
  ) => json<{ deadLetters: LetterView[]; next?: number }>(`/v1/dead-letters${query(filter)}`, { signal }),
  deadLetter: (id: string, signal?: AbortSignal) =>
    json<{ deadLetter: LetterView }>(`/v1/dead-letters/${at(id)}`, { signal }).then(({ deadLetter }) => deadLetter),

  retryLetters: (choice: LetterChoice & { payload?: string }) =>
    json<RetryAnswer>("/v1/dead-letters/retry", { method: "POST", body: choice }),
  discardLetters: (choice: LetterChoice & { reason: string }) =>
    json<{ discarded: number }>("/v1/dead-letters/discard", { method: "POST", body: choice }),

  alerts: (
    filter: { state?: string; name?: string; severity?: string; limit?: number; before?: number } = {},
    signal?: AbortSignal,
  ) => json<{ alerts: AlertView[]; next?: number }>(`/v1/alerts${query(filter)}`, { signal }),
  alert: (id: string, signal?: AbortSignal) =>
    json<{ alert: AlertView }>(`/v1/alerts/${at(id)}`, { signal }).then(({ alert }) => alert),
  acknowledge: (id: string, note?: string) =>
    json<{ alert: AlertView }>(`/v1/alerts/${at(id)}/ack`, { method: "POST", body: note ? { note } : {} }),
  resolve: (id: string, note?: string) =>
    json<{ alert: AlertView }>(`/v1/alerts/${at(id)}/resolve`, { method: "POST", body: note ? { note } : {} }),
  silences: (signal?: AbortSignal) =>
    json<{ silences: SilenceView[] }>("/v1/silences", { signal }).then(({ silences }) => silences),
  silence: (silence: { match: SilenceView["match"]; reason: string; for: string }) =>
    json<{ silence: SilenceView }>("/v1/silences", { method: "POST", body: silence }),
  endSilence: (id: string) => json<{ silence: SilenceView }>(`/v1/silences/${at(id)}`, { method: "DELETE" }),
} as const;
