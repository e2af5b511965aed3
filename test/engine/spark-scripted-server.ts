/** A server that speaks Spark Connect and does what a test says: what a real one does only when it is in trouble. */
import { fileURLToPath } from "node:url";
import { loadPackageDefinition, Server, ServerCredentials, type ServerWritableStream, status } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import type { SparkAddress } from "../../src/engine/spark/spark-address.ts";

export type Call = Readonly<Record<string, unknown>> & {
  readonly operationId?: string;
  readonly sessionId?: string;
  readonly lastResponseId?: string;
};

export interface Script {
  readonly version?: string;
  /** An error for every call. */
  readonly refuse?: { readonly code: number; readonly details: string };
  /** What a statement is answered with; `attempt` counts ExecutePlan from 1. */
  readonly execute?: (call: ServerWritableStream<Call, unknown>, attempt: number) => void;
  readonly reattach?: (call: ServerWritableStream<Call, unknown>) => void;
}

export class ScriptedServer {
  readonly calls: { readonly method: string; readonly request: Call }[] = [];
  readonly address: SparkAddress;
  readonly #server: Server;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.address = { host: "127.0.0.1", port, tls: false, token: undefined, userId: "test", headers: {} };
  }

  static async start(script: Script): Promise<ScriptedServer> {
    const definition = loadSync("spark/connect/base.proto", {
      includeDirs: [fileURLToPath(new URL("../../src/engine/spark/proto", import.meta.url))],
      ...{ longs: Number, enums: String, oneofs: true },
    });
    const { spark } = loadPackageDefinition(definition) as unknown as {
      spark: {
        connect: { SparkConnectService: { service: Record<string, { path: string; requestStream: boolean }> } };
      };
    };
    const server = new Server();
    const calls: ScriptedServer["calls"] = [];
    const running = new Map<string, ServerWritableStream<Call, unknown>>();
    let attempts = 0;
    const unary =
      (method: string, answer: object) =>
      (call: { request: Call }, done: (error: object | null, value?: object) => void) => {
        calls.push({ method, request: call.request });
        const interrupted = method === "Interrupt" && running.get(call.request.operationId ?? "");
        if (interrupted) fails(interrupted, "[OPERATION_CANCELED] Operation has been canceled. SQLSTATE: HY008");
        if (script.refuse) done(script.refuse);
        else done(null, { serverSideSessionId: "server-1", ...answer });
      };
    const stream =
      (method: string, answer: (call: ServerWritableStream<Call, unknown>) => void) =>
      (call: ServerWritableStream<Call, unknown>) => {
        calls.push({ method, request: call.request });
        running.set(call.request.operationId ?? "", call);
        answer(call);
      };
    server.addService(spark.connect.SparkConnectService.service as never, {
      AnalyzePlan: unary("AnalyzePlan", { sparkVersion: { version: script.version ?? "4.0.1" } }),
      Config: unary("Config", {}),
      Interrupt: unary("Interrupt", {}),
      ReleaseExecute: unary("ReleaseExecute", {}),
      ReleaseSession: unary("ReleaseSession", {}),
      ExecutePlan: stream("ExecutePlan", (call) => (script.execute ?? complete)(call, ++attempts)),
      ReattachExecute: stream("ReattachExecute", (call) => (script.reattach ?? complete)(call)),
    });
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    const started = new ScriptedServer(server, port);
    started.calls.push(...calls);
    Object.defineProperty(started, "calls", { value: calls });
    return started;
  }

  made(method: string): Call[] {
    return this.calls.filter((call) => call.method === method).map(({ request }) => request);
  }

  stop(): void {
    this.#server.forceShutdown();
  }
}

export const SCHEMA = { struct: { fields: [{ name: "n", dataType: { integer: {} } }] } };

/** A statement without rows. */
export function complete(call: ServerWritableStream<Call, unknown>): void {
  call.write({ responseId: "r1", schema: SCHEMA });
  call.write({ responseId: "r2", resultComplete: {} });
  call.end();
}

export function fails(
  call: ServerWritableStream<Call, unknown>,
  details: string,
  code: number = status.INTERNAL,
): void {
  call.emit("error", { code, details });
}
