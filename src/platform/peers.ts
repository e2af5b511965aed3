/**
 * One process asks another, over HTTP like anybody else: at the address of the registry, with the key of whoever asked it, which is checked
 * there again.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { ERRORS, type ErrorCode, MillraceError } from "../errors.ts";
import { credentials } from "../gateway/credentials.ts";
import type { Session } from "../state/migrate.ts";
import type { Worker, Workers } from "../state/workers.ts";

/** Says that a request was passed on, by whom: it is passed on once. */
const FORWARDED = "x-millrace-forwarded";
/** Long enough for a query; a worker that is gone refuses the connection at once. */
const ANSWER_WITHIN_MS = 120_000;

export interface PeersParts {
  readonly workers: Workers;
  readonly session: Session;
  /** Key of what this process asks for by itself. */
  readonly ownKey: () => Promise<string | undefined>;
}

export class Peers {
  readonly #o: PeersParts;
  /** What a request brings, if it brings anything: nothing that somebody asks for is asked with this process's own key. */
  readonly #caller = new AsyncLocalStorage<{ readonly authorization: string | undefined }>();

  constructor(parts: PeersParts) {
    this.#o = parts;
  }

  /** Remembers who asks, for what is asked of others meanwhile. */
  remember(app: FastifyInstance): void {
    app.addHook("onRequest", (request, _reply, done) =>
      this.#caller.run({ authorization: credentials(request.headers) }, done),
    );
  }

  /** The worker that a partition belongs to in a group; undefined when nobody has said so. */
  ownerOf(group: string, stream: string, partition: number): Worker | undefined {
    return this.#others().find(({ owns }) => owns[group]?.[stream]?.includes(partition));
  }

  /** The worker that holds a lease now. @throws STATE_UNAVAILABLE */
  async holderOf(lease: string): Promise<Worker | undefined> {
    const [row] = await this.#o.session.query<{ holder: string }>(
      "select holder from millrace.leases where name = $1 and expires_at > clock_timestamp()",
      [lease],
    );
    return this.#others().find(({ id }) => id === row?.holder);
  }

  /**
   * What another worker answers to a body of JSON; its refusal is thrown as it is.
   * @throws WORKER_UNREACHABLE
   */
  async ask(worker: Worker, path: string, body: unknown): Promise<unknown> {
    const { authorization } = this.#caller.getStore() ?? { authorization: await this.#own() };
    const headers = { "content-type": "application/json", ...(authorization !== undefined && { authorization }) };
    const response = await this.#send(worker, path, { method: "POST", headers, body: JSON.stringify(body) });
    const answer = await response
      .text()
      .then(JSON.parse)
      .catch((cause: Error) => this.#failed(worker, path, cause));
    if (response.ok) return answer;
    throw answeredError(answer, worker, path);
  }

  async #own(): Promise<string | undefined> {
    const key = await this.#o.ownKey();
    return key === undefined ? undefined : `Bearer ${key}`;
  }

  /** Passes a request on as it is, and its answer back. @throws WORKER_UNREACHABLE */
  async forward(worker: Worker, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    if (request.headers[FORWARDED] !== undefined)
      throw unreachable(worker, request.url, "the work is moving from one worker to another");
    const { authorization, accept } = request.headers;
    const response = await this.#send(worker, request.url, {
      method: request.method,
      headers: {
        ...(authorization !== undefined && { authorization }),
        ...(accept !== undefined && { accept }),
        ...(request.body != null && { "content-type": "application/json" }),
      },
      ...(request.body != null && { body: JSON.stringify(request.body) }),
    });
    const answer = Buffer.from(
      await response.arrayBuffer().catch((cause: Error) => this.#failed(worker, request.url, cause)),
    );
    for (const name of ["content-type", "location", "retry-after"]) {
      const value = response.headers.get(name);
      if (value !== null) reply.header(name, value);
    }
    return reply.code(response.status).send(answer);
  }

  /** Whether a request has come from another worker already. */
  static isForwarded(request: FastifyRequest): boolean {
    return request.headers[FORWARDED] !== undefined;
  }

  #others(): Worker[] {
    const { workers } = this.#o;
    return workers.known().filter(({ id, live, url }) => id !== workers.id && live && url !== "");
  }

  async #send(
    worker: Worker,
    path: string,
    request: { readonly method: string; readonly headers: Record<string, string>; readonly body?: string },
  ): Promise<Response> {
    try {
      return await fetch(new URL(path, worker.url), {
        ...request,
        headers: { ...request.headers, [FORWARDED]: this.#o.workers.id },
        signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
        redirect: "manual",
      });
    } catch (cause) {
      return this.#failed(worker, path, cause as Error);
    }
  }

  #failed(worker: Worker, path: string, cause: Error): never {
    // Fetch says "fetch failed" and keeps the reason behind it.
    const reason = (cause.cause as Error | undefined)?.message || cause.message;
    throw unreachable(worker, path, reason, cause);
  }
}

function unreachable({ id, url }: Worker, path: string, reason: string, cause?: Error): MillraceError {
  const options = { retryAfterS: 1, ...(cause && { cause }) };
  return new MillraceError("WORKER_UNREACHABLE", { what: path.split("?", 1)[0], worker: id, url, reason }, options);
}

/** An error of another worker with its own code, message and details. */
function answeredError(answer: unknown, worker: Worker, path: string): MillraceError {
  const { code, message, hint, details } = (answer as { error?: Record<string, unknown> } | null)?.error ?? {};
  if (typeof code !== "string" || !(code in ERRORS) || typeof message !== "string")
    return unreachable(worker, path, `it answered ${JSON.stringify(answer).slice(0, 200)}`);
  const error = new MillraceError(code as ErrorCode, {}, { details });
  error.message = message;
  return Object.assign(error, { hint });
}
