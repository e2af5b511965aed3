/**
 * The one form of an error answer: `{"error":{"code","message","hint","details"}}`, with the status of the code, and
 * Retry-After where trying again can help.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { STATUS_CODES } from "node:http";
import { constants, type ServerHttp2Stream } from "node:http2";
import { MillraceError } from "../errors.ts";

/** Hears of failures nobody foresaw: their cause belongs into the log, never into an answer. */
export type FailureReport = (error: unknown, what: string) => void;

/** The error as the user may see it. What is not of the registry becomes INTERNAL and is reported. */
export function asMillraceError(error: unknown, what: string, report: FailureReport): MillraceError {
  if (error instanceof MillraceError) {
    if (error.status >= 500 && error.code !== "OVERLOADED" && error.code !== "SHUTTING_DOWN") report(error, what);
    return error;
  }
  report(error, what);
  return new MillraceError("INTERNAL", { what }, { cause: error });
}

export function errorBody(error: MillraceError): string {
  return JSON.stringify({ error });
}

/** Headers beside the content's: when to try again, which key scheme, which encodings. */
export function errorHeaders(error: MillraceError): Record<string, string> {
  const headers: Record<string, string> = {};
  const retryAfterS = error.retryAfterS ?? (error.status === 503 ? 1 : undefined);
  if (retryAfterS !== undefined) headers["Retry-After"] = String(Math.ceil(retryAfterS));
  if (error.status === 401) headers["WWW-Authenticate"] = 'Bearer realm="millrace"';
  if (error.code === "BODY_ENCODING_UNSUPPORTED") headers["Accept-Encoding"] = "gzip, zstd, br";
  return headers;
}

/** As much of a refused body is read and thrown away to keep its connection; for more, closing it is cheaper. */
const DRAIN_BYTES = 256 * 1024;
/** How long a sender may go on after its refusal before the connection is closed on it. */
const LINGER_MS = 1000;

/**
 * Answers a request, whether or not its body has been read. When much of the body may still come, the answer goes out
 * whole, the rest is thrown away for a moment, so that the sender reads its answer rather than a reset, and the
 * connection is closed.
 */
export function answer(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  headers: Record<string, string>,
  body: string | Buffer,
): void {
  if (response.headersSent || response.destroyed || request.socket.destroyed) return;
  const all = {
    "Content-Type": "application/json; charset=utf-8",
    ...headers,
    "Content-Length": Buffer.byteLength(body),
  };
  if (request.httpVersionMajor > 1) {
    answerStream(request, response, status, all, body);
    return;
  }
  if (request.complete || (status !== 408 && isSmallRest(request))) {
    response.writeHead(status, all);
    // A string goes out in one write with the headers; bytes would take a second one.
    response.end(body);
    return;
  }
  response.writeHead(status, { ...all, Connection: "close" });
  // Whoever was too slow to send is not waited for.
  if (status === 408) {
    response.end(body);
    return;
  }
  response.write(body);
  const close = (): void => {
    clearTimeout(timer);
    response.end();
    request.socket.destroySoon();
  };
  const timer = setTimeout(close, LINGER_MS).unref();
  request.once("end", close);
  request.once("close", close);
  request.resume();
}

/** Over HTTP/2 a request is not its connection: what may still come of it is declined, and the others go on. */
function answerStream(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  headers: Record<string, string | number>,
  body: string | Buffer,
): void {
  const { Connection: _, ...all } = headers;
  response.writeHead(status, all);
  response.end(body);
  if (request.complete) return;
  request.resume();
  const { stream } = request as unknown as { readonly stream: ServerHttp2Stream };
  const timer = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), LINGER_MS).unref();
  stream.once("close", () => clearTimeout(timer));
}

export function answerError(request: IncomingMessage, response: ServerResponse, error: MillraceError): void {
  answer(request, response, error.status, errorHeaders(error), errorBody(error));
}

/** The whole answer as bytes, for a connection on which no request came about. */
export function rawErrorAnswer(error: MillraceError): string {
  const body = errorBody(error);
  const headers = Object.entries(errorHeaders(error)).map(([name, value]) => `${name}: ${value}\r\n`);
  return (
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? ""}\r\nContent-Type: application/json; charset=utf-8\r\n${headers.join("")}` +
    `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`
  );
}

/** True when what may still come of the body is cheaper to read than a new connection is to open. */
export function isSmallRest(request: IncomingMessage): boolean {
  const announced = request.headers["content-length"];
  if (announced !== undefined) return Number(announced) <= DRAIN_BYTES && request.headers.expect === undefined;
  return request.headers["transfer-encoding"] === undefined;
}
