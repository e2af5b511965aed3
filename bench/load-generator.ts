/**
 * Puts load on the HTTP door and says what came back: `node bench/load-generator.ts '{"port":8080,…}'`.
 *
 * It speaks HTTP/1.1 on bare sockets and reads of an answer only its status and its length, because it shares the machine with what
 * it measures; its own CPU time is part of its result. Requests are made ahead and their ids renewed in place.
 *
 * Prints one line of JSON: `LoadResult`. As a child process it costs the server no time of its own event loop.
 */
import { connect, type Socket } from "node:net";
import { type AccessKey, putRecordsBody, signedPutRecords } from "./kinesis-requests.ts";
import { SegmentMessages } from "./segment-messages.ts";
import { TelemetryEvents } from "./telemetry.ts";

export interface LoadOptions {
  readonly host?: string;
  readonly port: number;
  readonly path: string;
  readonly key: string;
  /** Connections, each with one request under way. */
  readonly connections: number;
  /** Requests each connection sends before it reads the first answer (HTTP pipelining). Default 1. */
  readonly pipelined?: number;
  readonly eventsPerRequest: number;
  /** Batches of Segment's messages instead of telemetry. */
  readonly segment?: boolean;
  /** PutRecords of telemetry, signed ahead with this key. */
  readonly kinesis?: AccessKey;
  readonly durationMs: number;
  /** Not measured: the server's code is still being compiled. */
  readonly warmupMs?: number;
  /** Tells apart the ids of generators that run side by side; 0 to 255. */
  readonly sender?: number;
  /** Requests per second of all connections together; without it as many as come through. */
  readonly requestsPerSecond?: number;
  /**
   * With `requestsPerSecond`: a request that is due goes out on a connection with none under way, and is given up when there is none
   * (`unsent`). Without it requests queue up on the connections, as `pipelined` ones do.
   */
  readonly oneAtATime?: boolean;
}

export interface LoadResult {
  readonly requests: number;
  readonly events: number;
  /** Requests that were refused. */
  readonly failed: number;
  /** Answers by status. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Requests that were due and found no free connection. */
  readonly unsent: number;
  /** The least and the largest Retry-After of a refusal; 0 when there was none. */
  readonly retryAfterS: { readonly least: number; readonly most: number };
  readonly seconds: number;
  readonly requestsPerSecond: number;
  /** Of accepted requests alone, as are the latencies. */
  readonly eventsPerSecond: number;
  readonly latencyMs: { readonly p50: number; readonly p90: number; readonly p99: number; readonly max: number };
  /** CPU time of this process over the measured time: 1 is one core in full. */
  readonly generatorCores: number;
}

export async function generateLoad(options: LoadOptions): Promise<LoadResult> {
  const { warmupMs = 1000, durationMs } = options;
  const meter = new Meter();
  const makers = Array.from({ length: options.connections }, () => new RequestMaker(options));
  const lanes = await Promise.all(makers.map((maker) => Lane.open(options, maker, meter)));
  const pace = options.requestsPerSecond;
  const stopPacing =
    pace === undefined ? undefined : options.oneAtATime ? pacedSingly(lanes, pace, meter) : paced(lanes, pace);
  if (stopPacing === undefined) for (const lane of lanes) lane.start();
  await sleep(warmupMs);
  meter.begin();
  const cpuBefore = process.cpuUsage();
  const startedMs = performance.now();
  await sleep(durationMs);
  const seconds = (performance.now() - startedMs) / 1000;
  const { user, system } = process.cpuUsage(cpuBefore);
  const measured = meter.end();
  stopPacing?.();
  for (const lane of lanes) lane.close();
  const events = (measured.requests - measured.failed) * options.eventsPerRequest;
  return {
    ...measured,
    events,
    seconds: round(seconds),
    requestsPerSecond: Math.round(measured.requests / seconds),
    eventsPerSecond: Math.round(events / seconds),
    generatorCores: round((user + system) / 1e6 / seconds),
  };
}

/** Requests of one connection. The same bytes are sent again and again, with new events in them. */
class RequestMaker {
  readonly #head: Buffer = EMPTY;
  readonly #body: () => Buffer = () => EMPTY;
  /** Whole requests that were made ahead. */
  readonly #pool: Buffer[] = [];
  #sent = 0;

  constructor(options: LoadOptions) {
    const { path, host = "127.0.0.1", port, key, eventsPerRequest, sender = 1, segment = false, kinesis } = options;
    const own = (sender + makersMade++) % 256;
    const events = new TelemetryEvents({ sender: own, seed: makersMade });
    if (kinesis !== undefined) {
      const request = () => putRecordsBody(events, eventsPerRequest);
      this.#pool = Array.from({ length: SIGNED_AHEAD }, () =>
        signedPutRecords(request(), `${host}:${port}`, kinesis, Date.now()),
      );
      return;
    }
    const messages = new SegmentMessages(eventsPerRequest, own);
    this.#body = segment
      ? () => messages.batch()
      : eventsPerRequest === 1
        ? () => events.one()
        : () => events.ndjson(eventsPerRequest);
    const length = this.#body().length;
    const type = eventsPerRequest === 1 || segment ? "application/json" : "application/x-ndjson";
    this.#head = Buffer.from(
      `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${key}\r\nContent-Type: ${type}\r\nContent-Length: ${length}\r\n\r\n`,
    );
  }

  next(): Buffer {
    if (this.#pool.length > 0) return this.#pool[this.#sent++ % this.#pool.length] as Buffer;
    return Buffer.concat([this.#head, this.#body()]);
  }
}

let makersMade = 0;
const EMPTY = Buffer.alloc(0);
/** Requests of each connection: enough that the door's caches do not know them by heart. */
const SIGNED_AHEAD = 16;

/** One connection and the requests under way on it. */
class Lane {
  readonly #socket: Socket;
  readonly #maker: RequestMaker;
  readonly #meter: Meter;
  readonly #pipelined: number;
  readonly #sentMs: number[] = [];
  #rest: Buffer = Buffer.alloc(0);
  #closed = false;
  /** Requests are sent by a clock, not by answers. */
  paced = false;
  /** Hears when nothing is under way any more. */
  onFree: (() => void) | undefined;

  private constructor(socket: Socket, options: LoadOptions, maker: RequestMaker, meter: Meter) {
    this.#socket = socket;
    this.#maker = maker;
    this.#meter = meter;
    this.#pipelined = options.pipelined ?? 1;
    socket.setNoDelay(true);
    socket.on("data", (chunk) => this.#receive(chunk));
    socket.on("close", () => {
      if (!this.#closed) throw new Error("the server closed a connection under load");
    });
  }

  static open(options: LoadOptions, maker: RequestMaker, meter: Meter): Promise<Lane> {
    return new Promise((resolve, reject) => {
      const socket = connect(options.port, options.host ?? "127.0.0.1");
      socket.once("error", reject);
      socket.once("connect", () => resolve(new Lane(socket, options, maker, meter)));
    });
  }

  get underWay(): number {
    return this.#sentMs.length;
  }

  start(): void {
    for (let i = 0; i < this.#pipelined; i++) this.send();
  }

  send(): void {
    this.#sentMs.push(performance.now());
    this.#socket.write(this.#maker.next());
  }

  close(): void {
    this.#closed = true;
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    for (;;) {
      const size = answerSize(bytes);
      if (size === undefined || bytes.length < size) break;
      const latencyMs = performance.now() - (this.#sentMs.shift() as number);
      const accepted = bytes[9] === 0x32; // "HTTP/1.1 202", of the protocol doors 200
      if (accepted) this.#meter.accepted(latencyMs);
      else this.#meter.refused(bytes.toString("latin1", 0, size));
      bytes = bytes.subarray(size);
      if (!this.paced && !this.#closed) this.send();
      else if (this.#sentMs.length === 0) this.onFree?.();
    }
    this.#rest = bytes;
  }
}

const END_OF_HEADERS = Buffer.from("\r\n\r\n");
const CONTENT_LENGTH = Buffer.from("Content-Length: ");

/** Bytes of the first answer, head and body; undefined while its head is not whole. */
function answerSize(bytes: Buffer): number | undefined {
  const head = bytes.indexOf(END_OF_HEADERS);
  if (head < 0) return undefined;
  let at = bytes.indexOf(CONTENT_LENGTH) + CONTENT_LENGTH.length;
  let length = 0;
  for (; (bytes[at] as number) >= 0x30; at++) length = length * 10 + (bytes[at] as number) - 0x30;
  return head + END_OF_HEADERS.length + length;
}

/** Sends at a steady rate, whatever the answers do, so that waiting shows as latency and not as fewer requests. */
function paced(lanes: readonly Lane[], requestsPerSecond: number): () => void {
  for (const lane of lanes) lane.paced = true;
  const startedMs = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - startedMs) / 1000) * requestsPerSecond);
    for (; sent < due; sent++) (lanes[sent % lanes.length] as Lane).send();
  }, 1);
  return () => clearInterval(timer);
}

/** The same on connections with nothing under way, whose number is then what bounds the requests waiting for an answer. */
function pacedSingly(lanes: readonly Lane[], requestsPerSecond: number, meter: Meter): () => void {
  const free = [...lanes];
  for (const lane of lanes) {
    lane.paced = true;
    lane.onFree = () => free.push(lane);
  }
  const startedMs = performance.now();
  let due = 0;
  const timer = setInterval(() => {
    const dueNow = Math.floor(((performance.now() - startedMs) / 1000) * requestsPerSecond);
    for (; due < dueNow; due++) {
      const lane = free.pop();
      if (lane === undefined) meter.unsent();
      else lane.send();
    }
  }, 1);
  return () => clearInterval(timer);
}

class Meter {
  #latenciesMs: number[] = [];
  #statuses: Record<string, number> = {};
  #failed = 0;
  #unsent = 0;
  #least = Number.POSITIVE_INFINITY;
  #most = 0;
  #measuring = false;

  begin(): void {
    this.#measuring = true;
  }

  accepted(latencyMs: number): void {
    if (this.#measuring) this.#latenciesMs.push(latencyMs);
  }

  refused(answer: string): void {
    if (!this.#measuring) return;
    this.#failed++;
    const status = answer.slice(9, 12);
    this.#statuses[status] = (this.#statuses[status] ?? 0) + 1;
    const retryAfterS = Number(/\r\nRetry-After: (\d+)\r\n/.exec(answer)?.[1] ?? Number.NaN);
    if (Number.isNaN(retryAfterS)) return;
    this.#least = Math.min(this.#least, retryAfterS);
    this.#most = Math.max(this.#most, retryAfterS);
  }

  unsent(): void {
    if (this.#measuring) this.#unsent++;
  }

  end(): Pick<LoadResult, "requests" | "failed" | "statuses" | "unsent" | "retryAfterS" | "latencyMs"> {
    this.#measuring = false;
    const sorted = Float64Array.from(this.#latenciesMs).sort();
    const at = (share: number) =>
      round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN);
    return {
      requests: sorted.length + this.#failed,
      failed: this.#failed,
      statuses: { ...(sorted.length > 0 && { 202: sorted.length }), ...this.#statuses },
      unsent: this.#unsent,
      retryAfterS: { least: this.#most === 0 ? 0 : this.#least, most: this.#most },
      latencyMs: { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) },
    };
  }
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

if (import.meta.main) {
  const options = JSON.parse(process.argv[2] ?? "{}") as LoadOptions;
  process.stdout.write(`${JSON.stringify(await generateLoad(options))}\n`);
}
