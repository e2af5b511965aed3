/** An events door that says what a test wants it to say, and remembers what it was sent. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";

export interface Received {
  readonly stream: string;
  readonly headers: IncomingMessage["headers"];
  readonly events: readonly Record<string, unknown>[];
  readonly at: number;
}

export interface Script {
  readonly status: number;
  readonly headers?: Record<string, string>;
  readonly body?: unknown;
}

export class ScriptedEndpoint {
  readonly received: Received[] = [];
  /** Answers a packet; what it returns undefined for is accepted. */
  answer: (packet: Received) => Script | undefined = () => undefined;
  readonly #server: Server;
  readonly url: string;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async open(): Promise<ScriptedEndpoint> {
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const bytes = Buffer.concat(chunks);
        const text = (request.headers["content-encoding"] === "gzip" ? gunzipSync(bytes) : bytes).toString();
        const packet: Received = {
          stream: (request.url as string).split("/")[3] as string,
          headers: request.headers,
          events: text.split("\n").map((line) => JSON.parse(line) as Record<string, unknown>),
          at: performance.now(),
        };
        endpoint.received.push(packet);
        const script = endpoint.answer(packet) ?? {
          status: 202,
          body: { accepted: packet.events.length, rejected: [], partitions: [] },
        };
        const body = typeof script.body === "string" ? script.body : JSON.stringify(script.body ?? {});
        response.writeHead(script.status, { "Content-Type": "application/json", ...script.headers });
        response.end(body);
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const endpoint = new ScriptedEndpoint(server);
    return endpoint;
  }

  /** The values of a field over all packets, in the order they came. */
  values(field: string): unknown[] {
    return this.received.flatMap(({ events }) => events.map((event) => event[field]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}
