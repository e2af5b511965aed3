/**
 * `POST /v1/streams/{stream}/events`: who are you, which stream, what comes; then the body is read, unpacked, and handed to
 * event-post.ts.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { MillraceError } from "../errors.ts";
import { REQUEST_BYTES, Ticket } from "./admission.ts";
import { authorize } from "./auth.ts";
import { BodyReader } from "./body-reader.ts";
import type { Encoding } from "./content-encoding.ts";
import { contentEncoding, unpack } from "./content-encoding.ts";
import { credentials } from "./credentials.ts";
import { fail, Post, refuse } from "./event-post.ts";
import type { DoorDeps, StreamDoor } from "./stream-door.ts";
import { unknownStream } from "./stream-names.ts";

export class EventsDoor {
  readonly #deps: DoorDeps;
  readonly #bodies: BodyReader;
  /** By the exact path of the usual request, so that it needs no parsing. */
  readonly #byPath = new Map<string, StreamDoor>();
  readonly #byName: ReadonlyMap<string, StreamDoor>;

  /** `doors`: by the names of their streams. */
  constructor(deps: DoorDeps, doors: ReadonlyMap<string, StreamDoor>) {
    this.#deps = deps;
    this.#bodies = new BodyReader(deps.limits);
    this.#byName = doors;
    for (const [name, door] of doors) this.#byPath.set(`/v1/streams/${name}/events`, door);
  }

  /** Takes the request when it is for this door. `mustContinue`: the sender waits for "100 Continue" before it sends the body. */
  take(request: IncomingMessage, response: ServerResponse, mustContinue: boolean): boolean {
    if (request.method !== "POST") return false;
    const url = request.url as string;
    const door = this.#byPath.get(url);
    if (door !== undefined) {
      this.#receive(request, response, door, "", mustContinue);
      return true;
    }
    const match = EVENTS_PATH.exec(url);
    if (match === null) return false;
    const name = decoded(match[1] as string);
    this.#receive(request, response, this.#byName.get(name), name, mustContinue);
    return true;
  }

  close(): void {
    this.#bodies.close();
  }

  #receive(
    request: IncomingMessage,
    response: ServerResponse,
    door: StreamDoor | undefined,
    name: string,
    mustContinue: boolean,
  ): void {
    const startedMs = performance.now();
    const deps = this.#deps;
    let ticket: Ticket | undefined;
    let post: Post;
    let announced: number;
    let encoding: Encoding | undefined;
    try {
      if (deps.isClosing()) throw new MillraceError("SHUTTING_DOWN");
      const { headers } = request;
      const { id } = authorize(deps.keys, credentials(headers), "ingest", door?.stream.name);
      if (door === undefined) throw unknownStream(name, deps.streams);
      announced = this.#bodies.announced(request);
      ticket = new Ticket(door.lanes.lane(id));
      // As early as can be: what is refused must cost next to nothing.
      const refusal = ticket.enter(REQUEST_BYTES + announced);
      if (refusal !== undefined) {
        refuse(deps, door, request, response, startedMs, refusal);
        return;
      }
      encoding = contentEncoding(headers["content-encoding"]);
      post = new Post(deps, door, request, response, ticket, startedMs);
    } catch (error) {
      fail(deps, request, response, ticket, startedMs, error);
      return;
    }
    if (mustContinue) response.writeContinue();
    const { limits } = deps;
    const held = ticket;
    this.#bodies.read(request, announced, held, (error, body) => {
      if (error !== undefined) return post.fail(error);
      if (encoding === undefined) return post.begin(body);
      const grow = (bytes: number) => held.grow(bytes);
      unpack(encoding, body, limits.maxBodyBytes, grow, (problem, unpacked) => {
        if (problem !== undefined) return post.fail(problem);
        post.begin(unpacked);
      });
    });
  }
}

const EVENTS_PATH = /^\/v1\/streams\/([^/?]+)\/events(?:\?.*)?$/;

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name; // no stream has such a name
  }
}
