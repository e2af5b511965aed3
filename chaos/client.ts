/** HTTP as a sender speaks it: an answer with its status, or undefined when there was none. */
import { Agent, request } from "node:http";

export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly retryAfterS: number | undefined;
}

export class Client {
  readonly #ports: readonly number[];
  #at = 0;
  readonly #key: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 8 });

  /** Of several ports one is spoken to, until it gives no answer or sends away. */
  constructor(ports: number | readonly number[], key: string) {
    this.#ports = typeof ports === "number" ? [ports] : ports;
    this.#key = key;
  }

  /** Undefined when the connection was refused, broke or stayed silent: the request may have arrived or not. */
  async send(
    method: string,
    path: string,
    body?: string,
    type = "application/json",
    timeoutMs = 20_000,
  ): Promise<Answer | undefined> {
    const port = this.#ports[this.#at % this.#ports.length] as number;
    const answer = await this.#send(port, method, path, body, type, timeoutMs);
    if (answer === undefined || answer.status === 503) this.#at++;
    return answer;
  }

  #send(
    port: number,
    method: string,
    path: string,
    body: string | undefined,
    type: string,
    timeoutMs: number,
  ): Promise<Answer | undefined> {
    return new Promise((resolve) => {
      const outgoing = request(
        {
          host: "127.0.0.1",
          port,
          method,
          path,
          agent: this.#agent,
          timeout: timeoutMs,
          headers: {
            authorization: `Bearer ${this.#key}`,
            ...(body === undefined ? {} : { "content-type": type, "content-length": Buffer.byteLength(body) }),
          },
        },
        (response) => {
          const pieces: Buffer[] = [];
          response.on("data", (piece: Buffer) => pieces.push(piece));
          response.on("error", () => resolve(undefined));
          response.on("close", () => {
            if (!response.complete) return resolve(undefined);
            const retryAfter = Number(response.headers["retry-after"]);
            resolve({
              status: response.statusCode ?? 0,
              body: Buffer.concat(pieces).toString("utf8"),
              retryAfterS: Number.isFinite(retryAfter) ? retryAfter : undefined,
            });
          });
        },
      );
      outgoing.on("timeout", () => outgoing.destroy());
      outgoing.on("error", () => resolve(undefined));
      outgoing.end(body);
    });
  }
}
