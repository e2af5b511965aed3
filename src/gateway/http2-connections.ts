/**
 * HTTP/2 on the port of HTTP/1.1, without TLS and with prior knowledge (RFC 9113, section 3.3): what AWS's clients for Kinesis speak from
 * the first byte on. Which of the two a connection speaks its first bytes say.
 */
import type { Server } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse, ServerHttp2Session } from "node:http2";
import { constants, createServer } from "node:http2";
import type { Socket } from "node:net";

export interface Http2Options {
  readonly maxHeaderBytes: number;
  /** A connection without a request is closed after this time. */
  readonly idleMs: number;
  /** How long a connection may stay silent before it is taken for HTTP/1.1, whose timeouts then hold. */
  readonly silentMs: number;
  readonly handler: (request: Http2ServerRequest, response: Http2ServerResponse) => void;
}

export interface Http2Connections {
  /** Takes no more requests on any connection and closes each once its requests are answered. */
  close(): void;
  /** Closes all of them now. */
  destroy(): void;
}

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
/** As many as browsers and SDKs have under way on a connection. */
const CONCURRENT_STREAMS = 128;
/** What may come of a body before we have asked for more: a request of 500 records comes in one go. */
const STREAM_WINDOW_BYTES = 1024 * 1024;
const SESSION_WINDOW_BYTES = 8 * 1024 * 1024;

/** From now on connections of the server may speak either version. */
export function takeHttp2(server: Server, options: Http2Options): Http2Connections {
  const sessions = new Set<ServerHttp2Session>();
  const http2 = createServer({
    settings: {
      enablePush: false,
      maxConcurrentStreams: CONCURRENT_STREAMS,
      initialWindowSize: STREAM_WINDOW_BYTES,
      maxHeaderListSize: options.maxHeaderBytes,
    },
  });
  http2.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
    session.setLocalWindowSize(SESSION_WINDOW_BYTES);
    session.setTimeout(options.idleMs, () => session.close());
  });
  // A peer that breaks the protocol has lost its connection by then.
  http2.on("sessionError", (_error, session) => session.destroy());
  http2.on("request", options.handler);

  const [http1, ...others] = server.listeners("connection") as ((socket: Socket) => void)[];
  if (http1 === undefined || others.length > 0) throw new Error("the server has listeners of its own for connections");
  server.removeListener("connection", http1);
  server.on("connection", (socket: Socket) => {
    let first: Buffer | undefined;
    const decide = (isHttp2: boolean): void => {
      clearTimeout(timer);
      socket.removeListener("data", hear);
      socket.removeListener("error", forget);
      socket.removeListener("end", hangUp);
      socket.pause();
      if (first !== undefined) socket.unshift(first);
      if (isHttp2) {
        // Servers of HTTP/1.1 answer a peer that has ended its side; here that is the end of the connection.
        socket.allowHalfOpen = false;
        // The session reads what is there already by itself.
        http2.emit("connection", socket);
        return;
      }
      http1.call(server, socket);
      socket.resume();
    };
    const hear = (chunk: Buffer): void => {
      first = first === undefined ? chunk : Buffer.concat([first, chunk]);
      const compared = Math.min(first.length, PREFACE.length);
      const same = first.compare(PREFACE, 0, compared, 0, compared) === 0;
      if (!same || compared === PREFACE.length) decide(same);
    };
    // A connection that breaks before it has said anything is nobody's loss.
    const forget = (): void => clearTimeout(timer);
    const hangUp = (): void => {
      socket.destroy();
    };
    const timer = setTimeout(() => decide(false), options.silentMs).unref();
    socket.on("error", forget);
    socket.once("close", forget);
    socket.once("end", hangUp);
    socket.on("data", hear);
  });
  return {
    close() {
      for (const session of sessions) session.close();
    },
    destroy() {
      for (const session of sessions) session.destroy(undefined, constants.NGHTTP2_NO_ERROR);
    },
  };
}
