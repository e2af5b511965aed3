import type { IncomingHttpHeaders, OutgoingHttpHeaders } from "node:http";
import { Agent, request } from "node:http";
import { connect, type Socket } from "node:net";
import { Registry } from "prom-client";
import type { z } from "zod";
import { toJSONSchema } from "zod";
import type { Column, Stream } from "../../src/define/project.ts";
import type { AdmissionPorts } from "../../src/gateway/admission.ts";
import type { Principal, Scope } from "../../src/gateway/auth.ts";
import type { DeadLetterEntry } from "../../src/gateway/dead-letter-sink.ts";
import type { Gateway, GatewayDeps, GatewaySettings, GatewayTiming } from "../../src/gateway/gateway.ts";
import { createGateway } from "../../src/gateway/gateway.ts";
import { partitionOf } from "../../src/log/partitioner.ts";
import { MemoryLog } from "./memory-log.ts";

/** A stream over a schema, with the columns given. */
export function streamOf(
  name: string,
  schema: z.ZodType | Record<string, unknown>,
  columns: readonly Column[],
  more: Partial<Stream> = {},
): Stream {
  const jsonSchema =
    "_zod" in schema ? (toJSONSchema(schema as z.ZodType, { io: "input" }) as Record<string, unknown>) : schema;
  return {
    name,
    columns,
    jsonSchema,
    id: [],
    key: undefined,
    time: undefined,
    horizonMs: 0,
    file: "streams.ts",
    ...more,
  };
}

export interface DoorOptions {
  readonly streams: readonly Stream[];
  readonly settings?: Partial<GatewaySettings>;
  readonly timing?: GatewayTiming;
  readonly admissionPorts?: AdmissionPorts;
  readonly partitions?: number;
  readonly log?: MemoryLog;
  readonly kinesis?: NonNullable<GatewayDeps["kinesis"]>;
  readonly recordDeadLetters?: (entries: readonly DeadLetterEntry[]) => Promise<void>;
  readonly ready?: () => Promise<{ ready: boolean; checks: Record<string, { ok: boolean; message?: string }> }>;
}

export const KEYS: Readonly<Record<string, readonly Scope[]>> = {
  "ingest-key": ["ingest"],
  "query-key": ["query"],
  "admin-key": ["admin"],
  "write-key": ["write:app"],
};

/** The Kinesis door is there, as it always is, and nobody has an access key. */
const NOBODYS_KINESIS: NonNullable<GatewayDeps["kinesis"]> = {
  accessKeys: { accessKey: () => undefined },
  tags: { list: async () => [], add: async () => false, remove: async () => {} },
  createdAtMs: 0,
  retentionMs: 0,
  clock: Date.now,
};

export interface OpenDoor extends AsyncDisposable {
  readonly gateway: Gateway;
  readonly log: MemoryLog;
  readonly deadLetters: DeadLetterEntry[];
  /** Failures that were reported because the answer does not show them. */
  readonly failures: unknown[];
  readonly url: string;
  readonly port: number;
  readonly registry: Registry;
  call(method: string, path: string, options?: CallOptions): Promise<Answer>;
  /** Posts to a stream with the ingest key. */
  post(stream: string, body: string | Uint8Array, headers?: OutgoingHttpHeaders | string): Promise<Answer>;
  /** A bare connection. */
  socket(): Promise<RawConnection>;
}

export interface CallOptions {
  readonly key?: string | undefined;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string | Uint8Array;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever came
  readonly json: any;
}

/** A gateway on a free port over a log in memory. */
export async function openDoor(options: DoorOptions): Promise<OpenDoor> {
  const log = options.log ?? new MemoryLog();
  for (const stream of options.streams) await log.open(stream.name, { partitions: options.partitions ?? 1 });
  const deadLetters: DeadLetterEntry[] = [];
  const failures: unknown[] = [];
  const registry = new Registry();
  const principals = new Map<string, Principal>(
    Object.entries(KEYS).map(([token, scopes]) => [token, { id: token, name: token, scopes: new Set(scopes) }]),
  );
  const gateway = createGateway({
    log,
    streams: new Map(options.streams.map((stream) => [stream.name, stream])),
    keys: { verify: (token) => principals.get(token) },
    deadLetters: {
      record: async (entries) => {
        await options.recordDeadLetters?.(entries);
        deadLetters.push(...entries.map((entry) => ({ ...entry, payload: Buffer.from(entry.payload) })));
      },
    },
    ready: options.ready ?? (async () => ({ ready: true, checks: {} })),
    registry,
    settings: {
      host: "127.0.0.1",
      port: 0,
      maxBodyBytes: 1024 * 1024,
      maxEventBytes: 64 * 1024,
      maxNesting: 64,
      inflightBytes: 16 * 1024 * 1024,
      requestTimeoutMs: 5000,
      ...options.settings,
    },
    ...(options.timing === undefined ? {} : { timing: options.timing }),
    kinesis: options.kinesis ?? NOBODYS_KINESIS,
    ...(options.admissionPorts === undefined ? {} : { admissionPorts: options.admissionPorts }),
    partitionOf,
    report: (error) => failures.push(error),
  });
  const { url, port } = await gateway.listen();
  const agent = new Agent({ keepAlive: true });
  const call: OpenDoor["call"] = (method, path, { key = "admin-key", headers = {}, body } = {}) =>
    new Promise((resolve, reject) => {
      const authorization = key === "" ? {} : { authorization: `Bearer ${key}` };
      const length = body === undefined ? {} : { "content-length": Buffer.byteLength(body) };
      const chunked = Object.keys(headers).some((name) => name.toLowerCase() === "transfer-encoding");
      const sent = request({
        host: "127.0.0.1",
        port,
        method,
        path,
        agent,
        headers: { ...authorization, ...(chunked ? {} : length), ...headers },
      });
      sent.on("error", reject);
      sent.on("response", (response) => {
        const parts: Buffer[] = [];
        response.on("data", (part: Buffer) => parts.push(part));
        response.on("error", reject);
        response.on("end", () => {
          const text = Buffer.concat(parts).toString("utf8");
          resolve({ status: response.statusCode as number, headers: response.headers, text, json: parsed(text) });
        });
      });
      sent.end(body);
    });
  return {
    gateway,
    log,
    deadLetters,
    failures,
    url,
    port,
    registry,
    call,
    post: (stream, body, headers = "application/json") =>
      call("POST", `/v1/streams/${stream}/events`, {
        key: "ingest-key",
        headers: typeof headers === "string" ? { "content-type": headers } : headers,
        body,
      }),
    socket: () => RawConnection.open(port),
    async [Symbol.asyncDispose]() {
      agent.destroy();
      await gateway.close();
    },
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A connection on which a test writes bytes as it likes. */
export class RawConnection {
  readonly socket: Socket;
  received = "";
  closed = false;
  #changed: (() => void)[] = [];

  private constructor(socket: Socket) {
    this.socket = socket;
    const changed = () => {
      for (const wake of this.#changed.splice(0)) wake();
    };
    socket.on("data", (part: Buffer) => {
      this.received += part.toString("latin1");
      changed();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.closed = true;
      changed();
    });
  }

  static open(port: number): Promise<RawConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, "127.0.0.1", () => resolve(new RawConnection(socket)));
      socket.once("error", reject);
    });
  }

  write(text: string | Uint8Array): void {
    this.socket.write(text);
  }

  /** Waits until what came holds `wanted` (or `count` of them), or the connection is closed. */
  async until(wanted: string | RegExp, count = 1): Promise<string> {
    const pattern =
      typeof wanted === "string" ? new RegExp(wanted.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"), "g") : wanted;
    while (!this.closed && (this.received.match(pattern)?.length ?? 0) < count) await this.#change();
    return this.received;
  }

  async untilClosed(): Promise<string> {
    while (!this.closed) await this.#change();
    return this.received;
  }

  end(): void {
    this.socket.destroy();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#changed.push(resolve));
  }
}
