/**
 * Segment's HTTP tracking API: `POST /v1/batch` and `/v1/import`, `/v1/track`, `/v1/identify`, `/v1/page`, `/v1/screen`, `/v1/group`,
 * `/v1/alias`, and the first letters of these that SDKs use as well. Who are you, what comes; then the body is read, unpacked, and handed
 * to segment-post.ts. The Content-Type says nothing here: browsers send text/plain to be spared a preflight.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { MillraceError } from "../../errors.ts";
import type { StreamLanes } from "../admission.ts";
import { REQUEST_BYTES, Ticket } from "../admission.ts";
import { BodyReader } from "../body-reader.ts";
import type { Encoding } from "../content-encoding.ts";
import { contentEncoding, unpack } from "../content-encoding.ts";
import { JsonScanner } from "../json-scanner.ts";
import type { DoorDeps, StreamDoor } from "../stream-door.ts";
import type { MessageLimits } from "./message-lines.ts";
import { MessagePlan } from "./message-plan.ts";
import { failSegment, refuseSegment } from "./segment-answer.ts";
import { SegmentPost } from "./segment-post.ts";
import { announcedKey, WriteKeys } from "./write-key.ts";

export interface SegmentLimits {
  /** Of one message, as it is sent. */
  readonly segmentMessageBytes: number;
  /** Of one request's body, unpacked. */
  readonly segmentBatchBytes: number;
}

/** What a post of the Segment door works with. */
export interface SegmentDeps extends DoorDeps {
  readonly writeKeys: WriteKeys;
  readonly plan: MessagePlan | undefined;
  readonly scanner: JsonScanner;
  readonly messageLimits: MessageLimits;
  readonly randomId: () => string;
}

/** Undefined: a batch. */
const TYPES: ReadonlyMap<string, string | undefined> = new Map([
  ...["batch", "b", "import"].map((name) => [name, undefined] as const),
  ...["track", "identify", "page", "screen", "group", "alias"].flatMap((type) => [
    [type, type] as const,
    [type.charAt(0), type] as const,
  ]),
]);

/** For the Allow header: the paths as fastify writes them. */
export const SEGMENT_ROUTES = [...TYPES.keys()].map((name) => ({ method: "POST", url: `/v1/${name}` }));

const PATH = /^\/v1\/([a-z]+)\/?(?:\?(.*))?$/;
/** Messages of one body may become so many times its limit when each gets the batch's context. */
const MOST_GROWTH = 8;

export class SegmentDoor {
  readonly writeKeys: WriteKeys;
  readonly #deps: SegmentDeps;
  readonly #bodies: BodyReader;
  /** Requests whose key stands in the body have a lane by their address until it is read. */
  readonly #strangers: StreamLanes;

  constructor(
    deps: DoorDeps & { readonly segment: SegmentLimits; readonly randomId: () => string },
    sources: ReadonlyMap<string, StreamDoor>,
  ) {
    const { segmentBatchBytes, segmentMessageBytes } = deps.segment;
    const { maxNesting, maxEventBytes } = deps.limits;
    const [first] = sources.values();
    this.writeKeys = new WriteKeys(deps.keys, sources);
    this.#deps = {
      ...deps,
      limits: { ...deps.limits, maxBodyBytes: segmentBatchBytes },
      writeKeys: this.writeKeys,
      plan: first === undefined ? undefined : MessagePlan.of(first.stream, maxNesting),
      scanner: new JsonScanner(maxNesting),
      messageLimits: {
        maxMessageBytes: segmentMessageBytes,
        maxEventBytes,
        maxStoredBytes: MOST_GROWTH * segmentBatchBytes,
      },
    };
    this.#bodies = new BodyReader(this.#deps.limits);
    this.#strangers = deps.admission.stream("segment");
  }

  /** Takes the request when it is for this door. `mustContinue`: the sender waits for "100 Continue" before it sends the body. */
  take(request: IncomingMessage, response: ServerResponse, mustContinue: boolean): boolean {
    if (request.method !== "POST") return false;
    const match = PATH.exec(request.url as string);
    if (match === null || !TYPES.has(match[1] as string)) return false;
    this.#receive(request, response, TYPES.get(match[1] as string), match[2] ?? "", mustContinue);
    return true;
  }

  close(): void {
    this.#bodies.close();
  }

  #receive(
    request: IncomingMessage,
    response: ServerResponse,
    type: string | undefined,
    query: string,
    mustContinue: boolean,
  ): void {
    const startedMs = performance.now();
    const deps = this.#deps;
    let ticket: Ticket | undefined;
    let door: StreamDoor | undefined;
    let announced: number;
    let encoding: Encoding | undefined;
    try {
      if (deps.isClosing()) throw new MillraceError("SHUTTING_DOWN");
      const { headers } = request;
      const key = announcedKey(headers.authorization, query);
      const opened = key === undefined ? undefined : this.writeKeys.open(key);
      door = opened?.door;
      announced = this.#bodies.announced(request);
      ticket = new Ticket(
        opened?.door.lanes.lane(opened.id) ?? this.#strangers.lane(request.socket.remoteAddress ?? ""),
      );
      const refusal = ticket.enter(REQUEST_BYTES + announced);
      if (refusal !== undefined) {
        refuseSegment(deps, door, request, response, startedMs, refusal);
        return;
      }
      encoding = contentEncoding(headers["content-encoding"]);
    } catch (error) {
      failSegment(deps, request, response, ticket, startedMs, error);
      return;
    }
    if (mustContinue) response.writeContinue();
    const held = ticket;
    const post = new SegmentPost(deps, door, type, request, response, held, startedMs);
    this.#bodies.read(request, announced, held, (error, body) => {
      if (error !== undefined) return post.fail(error);
      if (encoding === undefined) return post.begin(body);
      const grow = (bytes: number) => held.grow(bytes);
      unpack(encoding, body, deps.limits.maxBodyBytes, grow, (problem, unpacked) => {
        if (problem !== undefined) return post.fail(problem);
        post.begin(unpacked);
      });
    });
  }
}
