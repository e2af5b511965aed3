/**
 * The way from an SDK to the platform, with the troubles of real ones: a test says what becomes of each request. Requests pass whole, so
 * that a trouble falls on one of them exactly.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";

export type Trouble =
  /** The connection ends before the platform hears of the request, or after it has answered. */
  | "cut-before"
  | "cut-after"
  /** An answer in the platform's place. */
  | { readonly status: number; readonly headers?: Record<string, string> };

export interface Passed {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly trouble: Trouble | undefined;
  /** Of the platform's answer; undefined where there was none. */
  readonly status: number | undefined;
}

export class TroubledProxy {
  /** What becomes of the next requests that send, in turn; the others pass. */
  troubles: Trouble[] = [];
  readonly passed: Passed[] = [];
  readonly url: string;
  readonly port: number;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    this.url = `http://127.0.0.1:${this.port}`;
  }

  static async open(platform: string): Promise<TroubledProxy> {
    const server = createServer((near, answer) => {
      const parts: Buffer[] = [];
      near.on("error", () => {});
      near.on("data", (part: Buffer) => parts.push(part));
      near.on("end", () => {
        const { method = "", url: path = "", headers } = near;
        const trouble = method === "POST" ? proxy.troubles.shift() : undefined;
        const note = (status?: number) => proxy.passed.push({ method, path, headers, trouble, status });
        if (trouble === "cut-before") {
          note();
          near.socket.resetAndDestroy();
          return;
        }
        if (typeof trouble === "object") {
          note();
          const cors = { "access-control-allow-origin": "*", "access-control-expose-headers": "Retry-After" };
          answer.writeHead(trouble.status, { ...cors, ...trouble.headers }).end('{"error":{}}');
          return;
        }
        const far = request(`${platform}${path}`, { method, headers }, (response) => {
          const got: Buffer[] = [];
          response.on("data", (part: Buffer) => got.push(part));
          response.on("end", () => {
            note(response.statusCode);
            if (trouble === "cut-after") near.socket.resetAndDestroy();
            else answer.writeHead(response.statusCode as number, response.headers).end(Buffer.concat(got));
          });
        });
        far.on("error", () => near.socket.destroy());
        far.end(Buffer.concat(parts));
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const proxy = new TroubledProxy(server);
    return proxy;
  }

  /** Requests that sent messages. */
  get sent(): Passed[] {
    return this.passed.filter(({ method }) => method === "POST");
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
