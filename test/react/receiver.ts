/** The other side of a destination: a real HTTP server of this machine that answers as the test says and keeps what it was sent. */
import assert from "node:assert/strict";
import { createHmac, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Received {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into it
  readonly body: any;
}

export type Answer = (request: Received, response: ServerResponse) => void;

export const taken: Answer = (_, response) => response.writeHead(200).end("ok");

export function status(code: number, text = "", headers: Record<string, string> = {}): Answer {
  return (_, response) => response.writeHead(code, headers).end(text);
}

export class Receiver {
  readonly received: Received[] = [];
  /** How the next requests are answered; after the last, all others as `otherwise`. */
  readonly answers: Answer[] = [];
  otherwise: Answer = taken;
  readonly #server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString("utf8");
    const one = {
      method: request.method ?? "",
      path: request.url ?? "",
      headers: request.headers,
      text,
      body: JSON.parse(text),
    };
    this.received.push(one);
    (this.answers.shift() ?? this.otherwise)(one, response);
    for (const seen of this.#seen.splice(0)) seen();
  });
  readonly #seen: (() => void)[] = [];
  #port = 0;

  static async start(port = 0): Promise<Receiver> {
    const receiver = new Receiver();
    receiver.#server.listen(port, "127.0.0.1");
    await once(receiver.#server, "listening");
    receiver.#port = (receiver.#server.address() as AddressInfo).port;
    return receiver;
  }

  get port(): number {
    return this.#port;
  }

  url(path = "/"): string {
    return `http://127.0.0.1:${this.#port}${path}`;
  }

  /** Resolves once it was sent so many requests. */
  async sent(count: number): Promise<Received[]> {
    while (this.received.length < count) await new Promise<void>((resolve) => this.#seen.push(resolve));
    return this.received;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** What a receiver does with a Standard Webhooks request, as docs/reactions.md tells it. */
export function verify(secret: string, { headers, text }: Received, nowMs: number): void {
  const [id, timestamp, signatures] = ["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) =>
    String(headers[name]),
  );
  assert.ok(Math.abs(nowMs / 1000 - Number(timestamp)) < 300, `the timestamp ${timestamp} is not of now`);
  const key = secret.startsWith("whsec_") ? Buffer.from(secret.slice("whsec_".length), "base64") : Buffer.from(secret);
  const expected = createHmac("sha256", key).update(`${id}.${timestamp}.${text}`).digest();
  const fits = signatures!.split(" ").some((one) => {
    const given = Buffer.from(one.replace(/^v1,/, ""), "base64");
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
  assert.ok(fits, "no signature fits");
}
