/**
 * The HTTP server: one port for everything. The hot path is asked first; what it does not take goes to fastify, on
 * which all other routes are registered. Every answer that is an error has one form, also where no request came about.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { FastifyError, FastifyInstance, FastifyReply } from "fastify";
import fastify from "fastify";
import { MillraceError } from "../errors.ts";
import type { FailureReport } from "./error-answer.ts";
import { answerError, asMillraceError, errorBody, errorHeaders, rawErrorAnswer } from "./error-answer.ts";
import { type Http2Connections, takeHttp2 } from "./http2-connections.ts";

/** Takes a request and answers it, or returns false to leave it to fastify. `mustContinue`: see RFC 9110, "100-continue". */
export type HotPath = (request: IncomingMessage, response: ServerResponse, mustContinue: boolean) => boolean;

export interface HttpServerOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly maxBodyBytes: number;
  /** For a whole request to arrive. */
  readonly requestTimeoutMs: number;
  /** For the headers of a request to arrive. */
  readonly headersTimeoutMs?: number;
  /** A connection without a request is closed after this time. */
  readonly keepAliveTimeoutMs?: number;
  readonly maxConnections?: number;
  /** How long `close` waits for requests under way. */
  readonly closeTimeoutMs?: number;
  readonly hotPath: HotPath;
  /** Takes what comes over HTTP/2, where that is spoken at all; what it leaves is refused. */
  readonly http2Path?: HotPath | undefined;
  /** Methods of paths that the hot path takes, for the Allow header: method and path as fastify writes them. */
  readonly hotRoutes: readonly Route[];
  /** What to say of a path that no route takes, where another process has it; undefined: nobody has. */
  readonly elsewhere?: ((method: string, path: string) => MillraceError | undefined) | undefined;
  readonly report: FailureReport;
}

export interface Route {
  readonly method: string;
  readonly url: string;
}

export interface HttpServer {
  /** Routes are registered here before `listen`. */
  readonly app: FastifyInstance;
  /** Aborts when the server begins to close: answers that never end by themselves must end now. */
  readonly closing: AbortSignal;
  /** @throws PORT_IN_USE, LISTEN_FAILED */
  listen(): Promise<{ readonly url: string; readonly port: number }>;
  /**
   * Goes on serving, and ends each connection with its next answer: clients that keep theirs open connect anew, where a load balancer sends
   * them elsewhere.
   */
  drain(): void;
  /** Takes nothing new, lets requests under way finish, and closes every connection. */
  close(): Promise<void>;
}

const HEADER_BYTES = 16 * 1024;
/** Above it new connections are closed at once: each costs memory before it has said anything. */
const MAX_CONNECTIONS = 10_000;

export function createHttpServer(options: HttpServerOptions): HttpServer {
  const { hotPath, report } = options;
  const closing = new AbortController();
  const sockets = new Set<Socket>();
  const headersTimeout = Math.min(options.headersTimeoutMs ?? 10_000, options.requestTimeoutMs);

  let draining = false;
  let http2: Http2Connections | undefined;
  const serverFactory = (handler: (request: IncomingMessage, response: ServerResponse) => void): Server => {
    const server = createServer({
      maxHeaderSize: HEADER_BYTES,
      headersTimeout,
      requestTimeout: options.requestTimeoutMs,
      keepAliveTimeout: options.keepAliveTimeoutMs ?? 65_000,
      connectionsCheckingInterval: Math.min(5_000, Math.max(50, headersTimeout / 4)),
    });
    server.maxConnections = options.maxConnections ?? MAX_CONNECTIONS;
    const { http2Path } = options;
    if (http2Path !== undefined) {
      http2 = takeHttp2(server, {
        maxHeaderBytes: HEADER_BYTES,
        idleMs: options.keepAliveTimeoutMs ?? 65_000,
        silentMs: Math.min(1000, headersTimeout / 4),
        handler: (http2Request, http2Response) => {
          // The compatible forms of both have what the doors use of them.
          const request = http2Request as unknown as IncomingMessage;
          const response = http2Response as unknown as ServerResponse;
          if (http2Path(request, response, false)) return;
          const reason = "over HTTP/2 only the Kinesis door answers; all else is HTTP/1.1";
          answerError(request, response, new MillraceError("REQUEST_INVALID", { reason }));
        },
      });
    }
    server.on("connection", (socket: Socket) => {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
    });
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      if (draining) response.shouldKeepAlive = false;
      if (!hotPath(request, response, false)) handler(request, response);
    });
    server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => {
      if (hotPath(request, response, true)) return;
      response.writeContinue();
      handler(request, response);
    });
    server.on("checkExpectation", (request: IncomingMessage, response: ServerResponse) => {
      answerError(
        request,
        response,
        new MillraceError("EXPECTATION_FAILED", { expectation: String(request.headers.expect).slice(0, 100) }),
      );
    });
    return server;
  };

  const app = fastify({
    serverFactory,
    logger: false,
    bodyLimit: options.maxBodyBytes,
    requestTimeout: options.requestTimeoutMs,
    keepAliveTimeout: options.keepAliveTimeoutMs ?? 65_000,
    forceCloseConnections: "idle",
    return503OnClosing: false,
    routerOptions: { maxParamLength: 1000 },
    clientErrorHandler: (error, socket) =>
      onClientError(error as NodeJS.ErrnoException, socket as Socket, headersTimeout),
    frameworkErrors: (error, _request, reply) => {
      const shown = new MillraceError("REQUEST_INVALID", { reason: error.message });
      (reply as FastifyReply).code(shown.status).headers(JSON_TYPE).send(errorBody(shown));
    },
  }) as unknown as FastifyInstance;
  app.decorateRequest("principal", undefined);
  app.addHook("onRequest", async () => {
    if (closing.signal.aborted) throw new MillraceError("SHUTTING_DOWN");
  });
  app.setErrorHandler((error, request, reply) => {
    const shown = asMillraceError(
      fromFastify(error as FastifyError, options),
      `${request.method} ${request.url}`,
      report,
    );
    return reply
      .code(shown.status)
      .headers({ ...errorHeaders(shown), ...JSON_TYPE })
      .send(errorBody(shown));
  });
  const routes: Route[] = [...options.hotRoutes];
  app.addHook("onRoute", ({ method, url }) => {
    for (const name of [method].flat()) routes.push({ method: name, url });
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split("?", 1)[0] as string;
    const allowed = allowedMethods(routes, path);
    const elsewhere = allowed.includes(request.method) ? undefined : options.elsewhere?.(request.method, path);
    const error = elsewhere ?? unknownRoute(request.method, path, allowed);
    const allow =
      error.code === "METHOD_NOT_ALLOWED"
        ? { Allow: String((error.details as { allowed: string[] }).allowed.join(", ")) }
        : {};
    return reply
      .code(error.status)
      .headers({ ...allow, ...JSON_TYPE })
      .send(errorBody(error));
  });

  return {
    app,
    closing: closing.signal,
    async listen() {
      const { host, port } = options;
      try {
        await app.listen({ host, port });
      } catch (error) {
        throw listenError(error as NodeJS.ErrnoException, host, port);
      }
      const address = app.server.address() as AddressInfo;
      return { port: address.port, url: `http://${host.includes(":") ? `[${host}]` : host}:${address.port}` };
    },
    drain() {
      draining = true;
    },
    async close() {
      closing.abort();
      http2?.close();
      const timer = setTimeout(() => {
        app.server.closeAllConnections();
        http2?.destroy();
      }, options.closeTimeoutMs ?? 10_000);
      // Connections that go idle while we wait would hold the close up, and so would those that never said anything.
      const sweep = setInterval(() => {
        app.server.closeIdleConnections();
        for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy();
      }, 50);
      try {
        await app.close();
      } finally {
        clearTimeout(timer);
        clearInterval(sweep);
      }
    },
  };
}

const JSON_TYPE = { "Content-Type": "application/json; charset=utf-8" };

function unknownRoute(method: string, path: string, allowed: readonly string[]): MillraceError {
  const shownPath = path.length > 200 ? `${path.slice(0, 200)}…` : path;
  if (allowed.length === 0) return new MillraceError("ROUTE_UNKNOWN", { method, path: shownPath });
  return new MillraceError(
    "METHOD_NOT_ALLOWED",
    { method, path: shownPath, allowed: allowed.join(", ") },
    { details: { allowed } },
  );
}

/** The methods that some route takes at this path. */
function allowedMethods(routes: readonly Route[], path: string): string[] {
  const methods = routes.filter(({ url }) => pattern(url).test(path)).map(({ method }) => method);
  return [...new Set(methods)].sort();
}

/** `/v1/streams/:stream/events` as a regular expression. */
function pattern(url: string): RegExp {
  const parts = url.split("/").map((part) => {
    if (part === "*") return ".*";
    return part.startsWith(":") ? "[^/]+" : part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
  });
  return new RegExp(`^${parts.join("/")}$`);
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): unknown {
  if (error.code === "EADDRINUSE") return new MillraceError("PORT_IN_USE", { host, port }, { cause: error });
  if (error.syscall === "listen" || error.syscall === "getaddrinfo" || error.code === "ERR_SOCKET_BAD_PORT") {
    return new MillraceError("LISTEN_FAILED", { host, port, reason: error.message }, { cause: error });
  }
  return error;
}

/** Fastify's own refusals in the platform's words. */
function fromFastify(error: FastifyError, { maxBodyBytes }: HttpServerOptions): unknown {
  if (error instanceof MillraceError) return error;
  switch (error.code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return new MillraceError("BODY_TOO_LARGE", { limit: maxBodyBytes, unpacked: "" });
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return new MillraceError("BODY_TYPE_UNSUPPORTED", { got: "of this request", allowed: "application/json" });
    case "FST_ERR_CTP_EMPTY_JSON_BODY":
    case "FST_ERR_CTP_INVALID_JSON_BODY":
    case "FST_ERR_CTP_INVALID_CONTENT_LENGTH":
      return new MillraceError("REQUEST_INVALID", { reason: error.message });
    default:
  }
  // A body that is cut off, a validation that failed: whatever fastify blames the sender for.
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return new MillraceError("REQUEST_INVALID", { reason: error.message }, { cause: error });
  }
  return error;
}

/** Answers a connection whose bytes are no request, or came too slowly. */
function onClientError(error: NodeJS.ErrnoException, socket: Socket, headersTimeoutMs: number): void {
  if (error.code === "ECONNRESET" || socket.destroyed || !socket.writable) {
    socket.destroy();
    return;
  }
  // Bytes of an answer that is under way would be cut in two.
  if ((socket as { _httpMessage?: { headersSent: boolean } })._httpMessage?.headersSent === true) {
    socket.destroy();
    return;
  }
  socket.end(rawErrorAnswer(clientError(error, headersTimeoutMs)));
  // The rest of what the sender has to say is of no interest, and must not hold the connection open.
  setTimeout(() => socket.destroy(), 1000).unref();
}

function clientError(error: NodeJS.ErrnoException, headersTimeoutMs: number): MillraceError {
  switch (error.code) {
    case "HPE_HEADER_OVERFLOW":
      return new MillraceError("REQUEST_HEADERS_TOO_LARGE", { limit: HEADER_BYTES });
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new MillraceError("REQUEST_TIMEOUT", {
        reason: `its headers may take ${headersTimeoutMs} ms, and the whole of it has its limit too`,
      });
    default:
      return new MillraceError("REQUEST_INVALID", { reason: `it is not HTTP/1.1 (${error.message})` });
  }
}
