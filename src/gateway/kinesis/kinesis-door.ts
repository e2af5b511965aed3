/**
 * Amazon Kinesis Data Streams: `POST /` with `X-Amz-Target: Kinesis_20131202.OPERATION`, signed with an access key of this platform.
 * Who says to be calling, which operation; then the body is read and handed to kinesis-post.ts, which verifies the signature over it.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { MillraceError } from "../../errors.ts";
import { REQUEST_BYTES, type StreamLanes, Ticket } from "../admission.ts";
import { BodyReader } from "../body-reader.ts";
import type { DoorDeps, StreamDoor } from "../stream-door.ts";
import { serialization } from "./aws-error.ts";
import { codecOf, jsonCodec } from "./codec.ts";
import type { Exchange } from "./kinesis-answer.ts";
import { failKinesis } from "./kinesis-answer.ts";
import { KinesisPost } from "./kinesis-post.ts";
import type { KinesisSetting } from "./operations.ts";
import { operationName } from "./operations.ts";
import { RecordRouter } from "./record-intake.ts";
import type { AccessKeys } from "./signature.ts";
import { claimOf, Signatures } from "./signature.ts";

/** What a post of the door works with. */
export interface KinesisDeps extends DoorDeps {
  readonly kinesis: KinesisSetting & { readonly accessKeys: AccessKeys };
  readonly doors: ReadonlyMap<string, StreamDoor>;
  readonly signatures: Signatures;
  routerOf(door: StreamDoor): RecordRouter;
}

export class KinesisDoor {
  readonly #deps: KinesisDeps;
  readonly #bodies: BodyReader;
  /** Which stream a request is for stands in its body. */
  readonly #lanes: StreamLanes;

  /** `doors`: by the names of their streams. */
  constructor(deps: DoorDeps & Pick<KinesisDeps, "kinesis">, doors: ReadonlyMap<string, StreamDoor>) {
    const routers = new Map<StreamDoor, RecordRouter>();
    this.#deps = {
      ...deps,
      doors,
      signatures: new Signatures(),
      routerOf(door) {
        let router = routers.get(door);
        if (router === undefined) {
          router = new RecordRouter(door, deps.log.partitions(door.stream.name), deps.partitionOf);
          routers.set(door, router);
        }
        return router;
      },
    };
    this.#bodies = new BodyReader(deps.limits);
    this.#lanes = deps.admission.stream("kinesis");
  }

  /** Takes the request when it is for this door. `mustContinue`: the sender waits for "100 Continue" before it sends the body. */
  take(request: IncomingMessage, response: ServerResponse, mustContinue: boolean): boolean {
    if (request.method !== "POST") return false;
    const url = request.url as string;
    if (url !== "/" && !url.startsWith("/?")) return false;
    const { headers } = request;
    if (headers["x-amz-target"] === undefined && !isAws(headers["content-type"], headers.authorization)) return false;
    this.#receive(request, response, mustContinue);
    return true;
  }

  close(): void {
    this.#bodies.close();
  }

  #receive(request: IncomingMessage, response: ServerResponse, mustContinue: boolean): void {
    const deps = this.#deps;
    let exchange: Exchange = { request, response, codec: jsonCodec, startedMs: performance.now() };
    let ticket: Ticket | undefined;
    let post: KinesisPost;
    let announced: number;
    try {
      if (deps.isClosing()) throw new MillraceError("SHUTTING_DOWN");
      const { headers } = request;
      exchange = { ...exchange, codec: codecOf(headers["content-type"]) };
      const signed = { method: "POST", url: request.url as string, headers };
      const claim = claimOf(signed, deps.kinesis.accessKeys, deps.kinesis.clock());
      const operation = operationName(headers["x-amz-target"] as string | undefined);
      const encoding = headers["content-encoding"];
      if (encoding !== undefined && encoding !== "identity") {
        throw serialization(
          `The body must come as it is, and not with the content encoding '${encoding.slice(0, 100)}'.`,
        );
      }
      announced = this.#bodies.announced(request);
      ticket = new Ticket(this.#lanes.lane(claim.principal.id));
      const refusal = ticket.enter(REQUEST_BYTES + announced);
      if (refusal !== undefined) {
        failKinesis(deps, exchange, refusal);
        return;
      }
      post = new KinesisPost(deps, exchange, operation, signed, claim, ticket);
    } catch (error) {
      failKinesis(deps, exchange, error);
      ticket?.release();
      return;
    }
    if (mustContinue) response.writeContinue();
    this.#bodies.read(request, announced, ticket, (error, body) => {
      if (error !== undefined) post.fail(error);
      else post.begin(body);
    });
  }
}

function isAws(contentType: string | undefined, authorization: string | undefined): boolean {
  return contentType?.startsWith("application/x-amz-") === true || authorization?.startsWith("AWS4-") === true;
}
