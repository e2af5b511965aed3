/** Single objects of the bucket, whole: the requests that the store is made of. */
import type { Readable } from "node:stream";
import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type PutObjectCommandInput,
  type S3Client,
} from "@aws-sdk/client-s3";
import { MillraceError } from "../../errors.ts";
import type { ObjectInfo } from "../object-store.ts";
import type { S3Location } from "./s3-location.ts";
import { type Attempt, LocalFailure, type RunOptions, type S3Requests } from "./s3-requests.ts";

export interface S3Access {
  readonly client: S3Client;
  readonly requests: S3Requests;
  readonly at: S3Location;
  /** What each write says besides. */
  readonly extra: Partial<PutObjectCommandInput>;
}

/** Times a put-if-absent starts over because what was in its way has vanished. Nobody removes commits that fast. */
const MOST_VANISHINGS = 3;

export class S3Objects {
  readonly #s3: S3Access;

  constructor(access: S3Access) {
    this.#s3 = access;
  }

  /**
   * The bytes of an object, piece by piece as they come, in an attempt that ends with the last of them. Begins again from the first
   * when it is cut: `begin` is called for each attempt and gives what takes the pieces.
   * @throws OBJECT_NOT_FOUND
   */
  async read<T>(
    key: string,
    begin: () => Promise<{ take(piece: Uint8Array): unknown; end(): Promise<T>; drop(): Promise<void> }>,
    options: RunOptions = {},
  ): Promise<T> {
    const { client, requests, at } = this.#s3;
    const outcome = await requests.run(
      "read",
      key,
      async (attempt) => {
        const command = new GetObjectCommand({ Bucket: at.bucket, Key: at.prefix + key });
        const { Body, ContentLength } = await client.send(command, { abortSignal: attempt.signal });
        // A connection that breaks before anybody reads would end the process; who reads is told of it all the same.
        (Body as Readable).on("error", () => undefined);
        const sink = await here(begin());
        try {
          await drain(Body as Readable, ContentLength, attempt, sink);
          return await here(sink.end());
        } catch (error) {
          await sink.drop();
          throw error;
        }
      },
      options,
    );
    if (outcome.kind !== "done") throw new MillraceError("OBJECT_NOT_FOUND", { key });
    return outcome.value;
  }

  /** @throws OBJECT_NOT_FOUND */
  async get(key: string): Promise<Uint8Array> {
    return this.read(key, async () => {
      const pieces: Uint8Array[] = [];
      return {
        take: (piece) => pieces.push(piece),
        end: async () => (pieces.length === 1 ? (pieces[0] as Uint8Array) : Buffer.concat(pieces)),
        drop: async () => undefined,
      };
    });
  }

  async put(key: string, bytes: Uint8Array, more: Partial<PutObjectCommandInput> = {}): Promise<void> {
    const outcome = await this.#put(key, bytes, more);
    if (outcome === "exists") throw this.#s3.requests.error(UNASKED, "write", key);
  }

  /**
   * Puts an object where there is none. A service that says "there is one already" may mean our own: one whose answer was lost, on the
   * way to us or to something in between that asked again by itself. So the one that is there is read, and it is ours when it is
   * the same bytes, since nobody else offers these.
   */
  async putIfAbsent(key: string, bytes: Uint8Array): Promise<boolean> {
    for (let vanished = 0; ; vanished++) {
      if ((await this.#put(key, bytes, { IfNoneMatch: "*" })) === "done") return true;
      const there = await this.get(key).catch((error: unknown) => {
        if (error instanceof MillraceError && error.code === "OBJECT_NOT_FOUND") return undefined;
        throw error;
      });
      if (there !== undefined) return Buffer.compare(there, bytes) === 0;
      if (vanished === MOST_VANISHINGS) throw this.#s3.requests.error(VANISHING, "write", key);
    }
  }

  async delete(key: string): Promise<void> {
    const { client, requests, at } = this.#s3;
    const command = new DeleteObjectCommand({ Bucket: at.bucket, Key: at.prefix + key });
    await requests.run("delete", key, ({ signal }) => client.send(command, { abortSignal: signal }));
  }

  async list(prefix: string, after: string | undefined): Promise<ObjectInfo[]> {
    const { client, requests, at } = this.#s3;
    const found: ObjectInfo[] = [];
    for (let token: string | undefined; ; ) {
      const command = new ListObjectsV2Command({
        Bucket: at.bucket,
        Prefix: at.prefix + prefix,
        ...(token !== undefined && { ContinuationToken: token }),
        ...(token === undefined && after !== undefined && { StartAfter: at.prefix + after }),
      });
      const page = await requests.run("list", prefix, ({ signal }) => client.send(command, { abortSignal: signal }));
      if (page.kind !== "done") throw requests.error(UNASKED, "list", prefix);
      for (const { Key = "", Size = 0, LastModified } of page.value.Contents ?? []) {
        // Consoles make "folders": empty objects that end with a slash.
        if (Key.endsWith("/")) continue;
        const key = Key.slice(at.prefix.length);
        if (after === undefined || key > after) {
          found.push({ key, sizeBytes: Size, modifiedAtMs: LastModified?.getTime() ?? 0 });
        }
      }
      token = page.value.IsTruncated ? page.value.NextContinuationToken : undefined;
      // S3 orders by bytes, and some services in their own way.
      if (token === undefined) return found.sort((a, b) => (a.key < b.key ? -1 : 1));
    }
  }

  async #put(key: string, bytes: Uint8Array, more: Partial<PutObjectCommandInput>): Promise<"done" | "exists"> {
    const { client, requests, at, extra } = this.#s3;
    const Body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const command = new PutObjectCommand({ Bucket: at.bucket, Key: at.prefix + key, Body, ...extra, ...more });
    const outcome = await requests.run("write", key, ({ signal }) => client.send(command, { abortSignal: signal }), {
      bodyBytes: bytes.byteLength,
    });
    if (outcome.kind === "absent") throw requests.error(UNASKED, "write", key);
    return outcome.kind;
  }
}

const UNASKED = {
  kind: "lasting",
  code: "STORE_UNAVAILABLE",
  reason: "its answer belongs to another kind of request",
} as const;

const VANISHING = {
  kind: "lasting",
  code: "STORE_UNAVAILABLE",
  reason: "it says that there is one already, and does not find it",
} as const;

/** Takes in a whole body, no more and no less than was announced. */
async function drain(
  body: Readable,
  length: number | undefined,
  attempt: Attempt,
  sink: { take(piece: Uint8Array): unknown },
): Promise<void> {
  const stop = () => body.destroy(attempt.signal.reason as Error);
  attempt.signal.addEventListener("abort", stop, { once: true });
  if (attempt.signal.aborted) stop();
  attempt.allow(length ?? 0);
  let got = 0;
  try {
    for await (const piece of body as AsyncIterable<Uint8Array>) {
      attempt.alive();
      got += piece.byteLength;
      await here(sink.take(piece));
    }
  } finally {
    attempt.signal.removeEventListener("abort", stop);
  }
  if (length !== undefined && got !== length) throw new BodyCut(`the answer ended after ${got} of ${length} bytes`);
}

async function here<T>(work: T | Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw new LocalFailure(error);
  }
}

class BodyCut extends Error {
  override readonly name = "IncompleteBody";
}
