/** Single requests over one kept-open connection, timed by whoever makes them. */
import { Agent, request } from "node:http";
import { EVENTS_PATH, type Server } from "./processes.ts";

export class Requests {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #server: Server & { key?: string };

  constructor(server: Server & { key?: string }) {
    this.#server = server;
  }

  /** Rows of a query, which must succeed. */
  async sql(sql: string, params: readonly unknown[] = []): Promise<unknown[][]> {
    const answer = await this.post("/v1/sql", JSON.stringify({ sql, params }));
    return (JSON.parse(answer) as { rows: unknown[][] }).rows;
  }

  /** Posts one event, which must be accepted. */
  async event(event: Buffer): Promise<void> {
    await this.post(EVENTS_PATH, event);
  }

  post(path: string, body: Buffer | string): Promise<string> {
    return this.#send("POST", path, body);
  }

  get(path: string): Promise<string> {
    return this.#send("GET", path);
  }

  close(): void {
    this.#agent.destroy();
  }

  #send(method: string, path: string, body?: Buffer | string): Promise<string> {
    const headers = {
      Authorization: `Bearer ${this.#server.key ?? "none"}`,
      ...(body !== undefined && { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) }),
    };
    const { port } = this.#server;
    return new Promise((resolve, reject) => {
      const sent = request({ host: "127.0.0.1", port, method, path, headers, agent: this.#agent }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => {
          const text = Buffer.concat(chunks).toString();
          if ((response.statusCode ?? 500) < 300) resolve(text);
          else reject(new Error(`${method} ${path} was answered ${response.statusCode}: ${text.slice(0, 500)}`));
        });
        response.on("error", reject);
      });
      sent.on("error", reject);
      sent.end(body);
    });
  }
}
