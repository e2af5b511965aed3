import { Agent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { MillraceError } from "../errors.ts";

interface AnsweredJson {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly details?: unknown;
}

/** An error that the platform answered: as it said it, with its own code, message and hint. */
export class AnsweredError extends Error {
  readonly code: string;
  readonly status: number;
  readonly hint: string;
  readonly details: unknown;
  /** Seconds to wait before another try; undefined when the platform named none. */
  readonly retryAfterS: number | undefined;
  /** The whole answer: some say more beside the error. */
  readonly answer: Readonly<Record<string, unknown>>;

  constructor(status: number, answer: { error: AnsweredJson } & Record<string, unknown>, retryAfterS?: number) {
    const { error } = answer;
    super(error.message);
    this.answer = answer;
    this.name = "AnsweredError";
    this.code = error.code;
    this.status = status;
    this.hint = error.hint ?? "";
    this.details = error.details;
    this.retryAfterS = retryAfterS;
  }

  toJSON(): Record<string, unknown> {
    return {
      code: this.code,
      message: this.message,
      hint: this.hint,
      ...(this.details === undefined ? {} : { details: this.details }),
    };
  }
}

export interface Request {
  readonly method?: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Sent as it is; needs a content type among the headers. */
  readonly raw?: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/**
 * Speaks to a running platform. There are no time limits: a query or a replay takes what it takes, and the platform has its own.
 * @throws PLATFORM_UNREACHABLE, PLATFORM_ANSWER_STRANGE, and AnsweredError for what the platform refused
 */
export class HttpClient {
  readonly url: string;
  readonly #key: string;
  readonly #agent: Agent;

  constructor(options: { url: string; key: string }) {
    this.url = options.url.replace(/\/+$/, "");
    this.#key = options.key;
    const secure = this.url.startsWith("https:");
    this.#agent = secure ? new HttpsAgent({ keepAlive: true }) : new Agent({ keepAlive: true });
  }

  /** The JSON of an answer that succeeded. */
  async json<T>(path: string, request: Request = {}): Promise<T> {
    const response = await this.open(path, request);
    const text = await wholeText(response);
    try {
      return JSON.parse(text) as T;
    } catch (cause) {
      throw this.#strange(response.statusCode ?? 0, text, cause);
    }
  }

  /** An answer that succeeded, its body still to be read. */
  async open(path: string, request: Request = {}): Promise<IncomingMessage> {
    const response = await this.#send(path, request);
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return response;
    const text = await wholeText(response);
    const retryAfter = Number(response.headers["retry-after"]);
    throw this.#refusal(status, text, Number.isFinite(retryAfter) ? retryAfter : undefined);
  }

  close(): void {
    this.#agent.destroy();
  }

  #send(path: string, { method, body, raw, headers, signal }: Request): Promise<IncomingMessage> {
    const payload = raw ?? (body === undefined ? undefined : JSON.stringify(body));
    const send = this.url.startsWith("https:") ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const outgoing = send(
        `${this.url}${path}`,
        {
          method: method ?? (payload === undefined ? "GET" : "POST"),
          agent: this.#agent,
          headers: {
            authorization: `Bearer ${this.#key}`,
            ...(body === undefined ? {} : { "content-type": "application/json" }),
            ...(payload === undefined ? {} : { "content-length": Buffer.byteLength(payload) }),
            ...headers,
          },
          ...(signal === undefined ? {} : { signal }),
        },
        resolve,
      );
      outgoing.on("error", (cause: NodeJS.ErrnoException) => {
        if (signal?.aborted) return reject(cause);
        const reason =
          cause.code === "ECONNREFUSED" ? "the connection was refused" : cause.message || String(cause.code);
        reject(new MillraceError("PLATFORM_UNREACHABLE", { url: this.url, reason }, { cause }));
      });
      outgoing.end(payload);
    });
  }

  #refusal(status: number, text: string, retryAfterS: number | undefined): Error {
    try {
      const answer = JSON.parse(text) as { error: AnsweredJson };
      if (typeof answer.error?.code === "string") return new AnsweredError(status, { ...answer }, retryAfterS);
    } catch (cause) {
      return this.#strange(status, text, cause);
    }
    return this.#strange(status, text);
  }

  #strange(status: number, text: string, cause?: unknown): MillraceError {
    const got = text.trim() === "" ? "nothing" : JSON.stringify(text.trim().slice(0, 200));
    return new MillraceError("PLATFORM_ANSWER_STRANGE", { url: this.url, status, got }, { cause });
  }
}

export async function wholeText(response: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks).toString("utf8");
}

/**
 * The lines of an answer as they come. Going away before its end closes the connection.
 * @throws PLATFORM_UNREACHABLE when the connection breaks
 */
export async function* linesOf(response: NodeJS.ReadableStream, url: string): AsyncGenerator<string> {
  response.setEncoding("utf8");
  let rest = "";
  try {
    for await (const text of response) {
      const lines = `${rest}${text as string}`.split("\n");
      rest = lines.pop() ?? "";
      yield* lines;
    }
  } catch (cause) {
    const { message } = cause as Error;
    throw new MillraceError("PLATFORM_UNREACHABLE", { url, reason: `the connection broke (${message})` }, { cause });
  }
  if (rest !== "") yield rest;
}
