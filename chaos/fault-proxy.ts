/**
 * A proxy in front of a server that makes the network and the server fail, by a seed and at rates that can be changed while it runs.
 *
 * For HTTP it works request by request, so that it can say which of two things a failure means, and a client cannot tell them apart:
 *
 *     slow-down   503 SlowDown; the request was not passed on
 *     failed      500 InternalError; the request was passed on, and has had its effect
 *     lost        the connection is cut; the request was passed on, and has had its effect
 *     silent      no answer ever; the request was not passed on
 *     mute        no answer ever; the request was passed on, and has had its effect
 *     cut-request half of the body is passed on, then both connections are cut
 *     cut-answer  half of the answer comes back, then the connection is cut
 *     slow        the answer's body comes at `slowBytesPerMs`
 *
 * For any other protocol over TCP it works connection by connection: `lost` (cut after some of the server's bytes), `cut-request` (cut after some of
 * the client's), `silent` (nothing is passed on) and `slow`. `down` refuses all connections and cuts those that there are.
 */
import http from "node:http";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "./random.ts";

export const FAULTS = ["slow-down", "failed", "lost", "silent", "mute", "cut-request", "cut-answer", "slow"] as const;
export type Fault = (typeof FAULTS)[number];
/** Share of the requests (connections) that each fault meets, 0 to 1; together at most 1. */
export type FaultRates = Readonly<Partial<Record<Fault, number>>>;

export interface FaultProxyOptions {
  readonly target: { readonly host: string; readonly port: number };
  readonly protocol: "http" | "tcp";
  readonly seed: number;
  readonly rates?: FaultRates;
  readonly slowBytesPerMs?: number;
}

/** A request as the choice of its fault sees it. */
export interface SeenRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
}

/** A connection's first bytes are greetings; a cut hits what is said then. */
const CUT_WITHIN_BYTES = 64 * 1024;

export class FaultProxy {
  readonly #o: FaultProxyOptions;
  readonly #server: http.Server | net.Server;
  readonly #random: Random;
  readonly #sockets = new Set<net.Socket>();
  readonly #counts = new Map<Fault, number>();
  readonly #agent = new http.Agent({ keepAlive: true });
  #rates: FaultRates;
  #only: (request: SeenRequest) => boolean = () => true;
  #next: Fault[] = [];
  #isDown = false;
  #passed = 0;
  #slowRate: number;

  private constructor(options: FaultProxyOptions) {
    this.#o = options;
    this.#rates = options.rates ?? {};
    this.#slowRate = options.slowBytesPerMs ?? 64;
    this.#random = new Random(options.seed);
    this.#server =
      options.protocol === "http"
        ? http.createServer((request, response) => void this.#request(request, response))
        : net.createServer((socket) => this.#connection(socket));
    this.#server.on("connection", (socket: net.Socket) => {
      if (this.#isDown) socket.resetAndDestroy();
      this.#sockets.add(socket);
      socket.on("error", () => undefined).once("close", () => this.#sockets.delete(socket));
    });
  }

  /** Listens on a port of this machine that the system chooses, unless one is given. */
  static async start(options: FaultProxyOptions, port = 0): Promise<FaultProxy> {
    const proxy = new FaultProxy(options);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once("error", reject).listen(port, "127.0.0.1", resolve);
    });
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** How often each fault was done, and how many requests (connections) went through untouched. */
  get counts(): Readonly<Record<string, number>> {
    return { passed: this.#passed, ...Object.fromEntries(this.#counts) };
  }

  /** From now on these rates count, for the requests that `only` names. */
  set(rates: FaultRates, only: (request: SeenRequest) => boolean = () => true, slowBytesPerMs?: number): void {
    this.#rates = rates;
    this.#only = only;
    this.#slowRate = slowBytesPerMs ?? this.#slowRate;
  }

  /** The next requests that `only` names meet these faults, one each, whatever the rates say. */
  next(faults: readonly Fault[], only: (request: SeenRequest) => boolean = () => true): void {
    this.#next = [...faults];
    this.#only = only;
  }

  /** True: all connections are cut and new ones refused, as if the server were not there. */
  down(isDown: boolean): void {
    this.#isDown = isDown;
    if (isDown) for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    this.#agent.destroy();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #choose(request: SeenRequest): Fault | undefined {
    if (!this.#only(request)) return this.#count(undefined);
    const planned = this.#next.shift();
    if (planned !== undefined) return this.#count(planned);
    let drawn = this.#random.next();
    for (const fault of FAULTS) {
      drawn -= this.#rates[fault] ?? 0;
      if (drawn < 0) return this.#count(fault);
    }
    return this.#count(undefined);
  }

  #count(fault: Fault | undefined): Fault | undefined {
    if (fault === undefined) this.#passed++;
    else this.#counts.set(fault, (this.#counts.get(fault) ?? 0) + 1);
    return fault;
  }

  async #request(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const { method = "GET", url: path = "/" } = request;
    const fault = this.#choose({ method, path });
    request.on("error", () => undefined);
    response.on("error", () => undefined);
    if (fault === "silent") return void request.resume();
    if (fault === "slow-down") {
      request.resume();
      return this.#refuse(response, 503, "SlowDown", "Please reduce your request rate.");
    }
    const { expect: _, ...headers } = request.headers;
    const { host, port } = this.#o.target;
    const onward = http.request({ host, port, method, path, headers, agent: this.#agent });
    onward.on("error", () => response.destroy());
    if (fault === "cut-request") {
      let left = Number(request.headers["content-length"] ?? 0) / 2;
      request.on("data", (piece: Buffer) => {
        onward.write(piece.subarray(0, Math.max(0, left)));
        left -= piece.length;
      });
      request.once("end", () => {
        onward.destroy();
        response.destroy();
      });
      return;
    }
    request.pipe(onward);
    onward.once("response", (answer) => {
      answer.on("error", () => response.destroy());
      void this.#answer(fault, answer, response);
    });
  }

  async #answer(fault: Fault | undefined, answer: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    if (fault === "failed" || fault === "lost" || fault === "mute") {
      answer.resume();
      await new Promise((resolve) => answer.once("close", resolve));
      if (fault === "lost") response.destroy();
      if (fault === "failed")
        this.#refuse(response, 500, "InternalError", "We encountered an internal error. Please try again.");
      return;
    }
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    if (fault === undefined) return void answer.pipe(response);
    let left =
      fault === "cut-answer" ? Math.floor(Number(answer.headers["content-length"] ?? 2) / 2) : Number.POSITIVE_INFINITY;
    // An answer without a body is cut before its end is told.
    if (left === 0) return void response.destroy();
    try {
      for await (const piece of answer as AsyncIterable<Buffer>) {
        const part = piece.subarray(0, left);
        if (fault === "slow") await sleep(part.length / this.#slowRate, undefined, { ref: false });
        if (response.destroyed) return;
        response.write(part);
        left -= part.length;
        if (left > 0) continue;
        // What was written goes out first.
        setImmediate(() => response.destroy());
        return;
      }
    } catch {
      response.destroy(); // the server cut it by itself
      return;
    }
    response.end();
  }

  #refuse(response: http.ServerResponse, status: number, code: string, message: string): void {
    const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`;
    response.writeHead(status, { "content-type": "application/xml", "content-length": Buffer.byteLength(body) });
    response.end(body);
  }

  #connection(client: net.Socket): void {
    const fault = this.#choose({ method: "CONNECT", path: "/" });
    if (fault === "silent") return void client.resume();
    const server = net.connect(this.#o.target);
    const end = () => {
      client.destroy();
      server.destroy();
    };
    server.once("error", end).once("close", end);
    client.once("error", end).once("close", end);
    const cutAfter = Math.ceil(this.#random.next() * CUT_WITHIN_BYTES);
    const isCut = fault === "lost" || fault === "cut-answer" || fault === "failed";
    this.#pass(client, server, fault === "cut-request" ? cutAfter : undefined, false, end);
    this.#pass(server, client, isCut ? cutAfter : undefined, fault === "slow", end);
  }

  #pass(from: net.Socket, to: net.Socket, cutAfter: number | undefined, slow: boolean, cut: () => void): void {
    let left = cutAfter ?? Number.POSITIVE_INFINITY;
    from.on("data", async (piece: Buffer) => {
      from.pause();
      if (slow) await sleep(piece.length / this.#slowRate, undefined, { ref: false });
      const part = piece.subarray(0, left);
      left -= part.length;
      if (to.destroyed) return;
      to.write(part, () => {
        if (left > 0) from.resume();
        else cut();
      });
    });
    from.once("end", () => to.end());
  }
}
