/**
 * Spark Connect on the wire: gRPC calls of `spark.connect.SparkConnectService`, whose messages are those of Apache's protocol files in
 * `proto/` (kept as released, with their licence). Only what this engine says and hears is typed here.
 */
import { fileURLToPath } from "node:url";
import { type ChannelCredentials, Client, credentials, loadPackageDefinition, Metadata } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import type { SparkAddress } from "./spark-address.ts";

/** A relation of `relations.proto`: exactly one of these. */
export type ConnectRelation =
  | {
      readonly read: {
        readonly dataSource: {
          readonly format: string;
          readonly schema: string;
          readonly options: Readonly<Record<string, string>>;
          readonly paths: readonly string[];
        };
      };
    }
  | { readonly project: { readonly input: ConnectRelation; readonly expressions: readonly ConnectExpression[] } }
  | { readonly sql: { readonly query: string } }
  | { readonly subqueryAlias: { readonly input: ConnectRelation; readonly alias: string } }
  | { readonly withRelations: { readonly root: ConnectRelation; readonly references: readonly ConnectRelation[] } };

/** An expression of `expressions.proto`, for what SQL cannot reach. */
export type ConnectExpression =
  | { readonly unresolvedStar: Readonly<Record<string, never>> }
  | { readonly unresolvedAttribute: { readonly unparsedIdentifier: string } }
  | { readonly alias: { readonly expr: ConnectExpression; readonly name: readonly string[] } };

export interface ConnectWrite {
  readonly writeOperation: {
    readonly input: ConnectRelation;
    readonly source: "parquet";
    readonly path: string;
    readonly mode: "SAVE_MODE_ERROR_IF_EXISTS";
    readonly partitioningColumns: readonly string[];
    readonly options: Readonly<Record<string, string>>;
  };
}

export type ConnectPlan = { readonly root: ConnectRelation } | { readonly command: ConnectWrite };

/** Who asks, in every request. */
export interface Caller {
  readonly sessionId: string;
  readonly userContext: { readonly userId: string; readonly userName: string };
  readonly clientType: string;
  /** Set once the server has told it: a server that was restarted then refuses instead of going on without our settings. */
  readonly clientObservedServerSideSessionId?: string;
}

export interface ExecuteResponse {
  readonly serverSideSessionId?: string;
  readonly responseId?: string;
  readonly schema?: DataType;
  readonly arrowBatch?: { readonly data: Uint8Array; readonly rowCount: number };
  readonly resultComplete?: object;
  readonly executionProgress?: {
    readonly stages?: readonly { readonly numTasks?: number; readonly numCompletedTasks?: number }[];
  };
}

/** A type of `types.proto`: one property, named as the kind. */
export interface DataType {
  readonly kind?: string;
  readonly [kind: string]: unknown;
}

type Unary = "AnalyzePlan" | "Config" | "Interrupt" | "ReleaseExecute" | "ReleaseSession";
type Streaming = "ExecutePlan" | "ReattachExecute";

/** The responses of one call, and a way to let go of it. */
export interface Responses extends AsyncIterable<ExecuteResponse> {
  cancel(): void;
}

/** One connection to a server, shared by all calls. It connects with the first of them and again whenever it was lost. */
export class ConnectClient {
  readonly #client: Client;
  readonly #metadata: Metadata;

  constructor(address: SparkAddress) {
    this.#client = new Client(`${address.host}:${address.port}`, channelCredentials(address), CHANNEL_OPTIONS);
    this.#metadata = new Metadata();
    for (const [name, value] of Object.entries(address.headers)) this.#metadata.set(name, value);
    if (address.token !== undefined) this.#metadata.set("authorization", `Bearer ${address.token}`);
  }

  async call<T>(method: Unary, request: object, timeoutMs: number): Promise<T> {
    const { path, requestSerialize, responseDeserialize } = service()[method]!;
    return await new Promise<T>((resolve, reject) => {
      this.#client.makeUnaryRequest(
        path,
        requestSerialize as (value: object) => Buffer,
        responseDeserialize as (bytes: Buffer) => T,
        request,
        this.#metadata,
        { deadline: new Date(Date.now() + timeoutMs) },
        (error, value) => (error ? reject(error) : resolve(value as T)),
      );
    });
  }

  stream(method: Streaming, request: object): Responses {
    const { path, requestSerialize, responseDeserialize } = service()[method]!;
    const call = this.#client.makeServerStreamRequest(
      path,
      requestSerialize as (value: object) => Buffer,
      responseDeserialize as (bytes: Buffer) => ExecuteResponse,
      request,
      this.#metadata,
      {},
    );
    return {
      cancel: () => call.cancel(),
      [Symbol.asyncIterator]: () => call[Symbol.asyncIterator]() as AsyncIterator<ExecuteResponse>,
    };
  }

  close(): void {
    this.#client.close();
  }
}

/** A batch of rows is at most 4 MiB by the server's default; one row may be larger. */
const MOST_MESSAGE_BYTES = 128 * 1024 * 1024;

const CHANNEL_OPTIONS = {
  "grpc.max_receive_message_length": MOST_MESSAGE_BYTES,
  "grpc.max_send_message_length": MOST_MESSAGE_BYTES,
  // A connection that a network has silently dropped is found by the next of these.
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.initial_reconnect_backoff_ms": 200,
  "grpc.max_reconnect_backoff_ms": 5_000,
};

function channelCredentials({ tls }: SparkAddress): ChannelCredentials {
  return tls ? credentials.createSsl() : credentials.createInsecure();
}

interface Method {
  readonly path: string;
  readonly requestSerialize: (value: never) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => unknown;
}

let loaded: Readonly<Record<string, Method>> | undefined;

/** Read once, when the first server is spoken to. */
function service(): Readonly<Record<string, Method>> {
  if (loaded === undefined) {
    const definition = loadSync("spark/connect/base.proto", {
      includeDirs: [fileURLToPath(new URL("proto", import.meta.url))],
      longs: Number,
      enums: String,
      oneofs: true,
    });
    const { spark } = loadPackageDefinition(definition) as unknown as {
      spark: { connect: { SparkConnectService: { service: Readonly<Record<string, Method>> } } };
    };
    loaded = spark.connect.SparkConnectService.service;
  }
  return loaded;
}
