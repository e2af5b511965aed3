/** A local file as an object: in one request where it is small, else in parts that go side by side. */
import { type FileHandle, open } from "node:fs/promises";
import { crc32 } from "node:zlib";
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import type { S3Access, S3Objects } from "./s3-objects.ts";

/** A second's work of a common line: what is lost when a part fails. S3 takes 5 MiB at least. */
export const PART_BYTES = 16 * 1024 * 1024;
/** Parts under way for one file, each held in memory. */
const PARTS_AT_ONCE = 4;
/** S3's limit. */
const MOST_PARTS = 10_000;
/** Times an upload begins anew that the service has forgotten. */
const MOST_RESTARTS = 2;
/** Parts that stay cost money until the bucket's own rule for unfinished uploads takes them; nobody waits long for that. */
const ABORT_MS = 3_000;

export interface UploadOptions {
  readonly partBytes?: number;
}

/** Uploads the file under a key that nobody else uses, and gives the CRC-32 of what was uploaded. */
export async function uploadFile(
  objects: S3Objects,
  access: S3Access,
  key: string,
  path: string,
  sizeBytes: number,
  { partBytes = PART_BYTES }: UploadOptions = {},
): Promise<number> {
  const file = await open(path, "r");
  try {
    if (sizeBytes <= partBytes) {
      const bytes = await piece(file, 0, sizeBytes);
      const sum = crc32(bytes);
      // The service compares it with what arrives, so that it is the file's and not only the request's.
      await objects.put(key, bytes, { ChecksumCRC32: base64Sum(sum) });
      return sum;
    }
    const size = Math.max(partBytes, Math.ceil(sizeBytes / MOST_PARTS));
    for (let restarts = 0; ; restarts++) {
      const sum = await new PartedUpload(access, key, file, sizeBytes, size).run();
      if (sum !== undefined) return sum;
      if (restarts === MOST_RESTARTS) throw access.requests.error(FORGOTTEN, "write", key);
    }
  } finally {
    await file.close();
  }
}

class PartedUpload {
  readonly #s3: S3Access;
  readonly #key: string;
  readonly #file: FileHandle;
  readonly #sizeBytes: number;
  readonly #partBytes: number;
  /** True when the service may hold an upload whose id never came. */
  #leftOne = false;

  constructor(access: S3Access, key: string, file: FileHandle, sizeBytes: number, partBytes: number) {
    this.#s3 = access;
    this.#key = key;
    this.#file = file;
    this.#sizeBytes = sizeBytes;
    this.#partBytes = partBytes;
  }

  /** The file's CRC-32; undefined when the service has forgotten the upload meanwhile. */
  async run(): Promise<number | undefined> {
    const id = await this.#begin();
    try {
      const parts = await this.#parts(id);
      if (parts === undefined || !(await this.#complete(id, parts))) return undefined;
      return await this.#sum();
    } catch (error) {
      await this.#abort(id);
      throw error;
    } finally {
      if (this.#leftOne) await this.#abortOthers(id);
    }
  }

  get #object() {
    return { Bucket: this.#s3.at.bucket, Key: this.#s3.at.prefix + this.#key };
  }

  async #begin(): Promise<string> {
    const { client, requests, extra } = this.#s3;
    const command = new CreateMultipartUploadCommand({
      ...this.#object,
      ChecksumAlgorithm: "CRC32",
      ...encryption(extra),
    });
    let tries = 0;
    const begun = await requests.run("write", this.#key, ({ signal }) => {
      tries++;
      return client.send(command, { abortSignal: signal });
    });
    this.#leftOne = tries > 1;
    if (begun.kind !== "done" || !begun.value.UploadId) throw requests.error(NO_UPLOAD, "write", this.#key);
    return begun.value.UploadId;
  }

  /** Undefined when the service no longer knows the upload. */
  async #parts(id: string): Promise<CompletedPart[] | undefined> {
    const count = Math.ceil(this.#sizeBytes / this.#partBytes);
    const done = new Array<CompletedPart>(count);
    let next = 0;
    let failed = false;
    const work = async (): Promise<void> => {
      while (next < count && !failed) {
        const index = next++;
        const part = await this.#part(id, index + 1).catch((error: unknown) => {
          failed = true;
          throw error;
        });
        if (part === undefined) failed = true;
        else done[index] = part;
      }
    };
    // All have ended before the upload is given up: a part that arrives behind that would stay.
    const ends = await Promise.allSettled(Array.from({ length: Math.min(PARTS_AT_ONCE, count) }, work));
    const failure = ends.find((end) => end.status === "rejected");
    if (failure) throw failure.reason;
    return failed ? undefined : done;
  }

  async #part(id: string, PartNumber: number): Promise<CompletedPart | undefined> {
    const { client, requests } = this.#s3;
    const at = (PartNumber - 1) * this.#partBytes;
    const Body = await piece(this.#file, at, Math.min(this.#partBytes, this.#sizeBytes - at));
    const ChecksumCRC32 = base64Sum(crc32(Body));
    const command = new UploadPartCommand({ ...this.#object, UploadId: id, PartNumber, Body, ChecksumCRC32 });
    const outcome = await requests.run(
      "write",
      this.#key,
      async ({ signal }) => unlessForgotten(client.send(command, { abortSignal: signal })),
      { bodyBytes: Body.byteLength },
    );
    if (outcome.kind !== "done") throw requests.error(NO_UPLOAD, "write", this.#key);
    const { ETag } = outcome.value ?? {};
    return ETag === undefined ? undefined : { PartNumber, ETag, ChecksumCRC32 };
  }

  /** False when the service does not know the upload, and has no object of that size either: then it was not completed before. */
  async #complete(id: string, Parts: CompletedPart[]): Promise<boolean> {
    const { client, requests } = this.#s3;
    const command = new CompleteMultipartUploadCommand({ ...this.#object, UploadId: id, MultipartUpload: { Parts } });
    // Putting parts together may take a service long.
    const outcome = await requests.run(
      "write",
      this.#key,
      async ({ signal }) => unlessForgotten(client.send(command, { abortSignal: signal })),
      { bodyBytes: this.#sizeBytes },
    );
    if (outcome.kind !== "done") throw requests.error(NO_UPLOAD, "write", this.#key);
    if (outcome.value !== undefined) return true;
    const head = new HeadObjectCommand(this.#object);
    const there = await requests.run("read", this.#key, async ({ signal }) => {
      try {
        return (await client.send(head, { abortSignal: signal })).ContentLength;
      } catch (error) {
        if ((error as Error).name === "NotFound") return undefined; // answers to HEAD have no body to say it better
        throw error;
      }
    });
    return there.kind === "done" && there.value === this.#sizeBytes;
  }

  /** Should this fail, the bucket's own rule for unfinished uploads is left; the failure that led here is the one to tell. */
  async #abort(id: string): Promise<void> {
    const { client, requests } = this.#s3;
    const command = new AbortMultipartUploadCommand({ ...this.#object, UploadId: id });
    const aborted = requests.run(
      "delete",
      this.#key,
      ({ signal }) => unlessForgotten(client.send(command, { abortSignal: signal })),
      { timeoutMs: ABORT_MS },
    );
    await aborted.catch(() => undefined);
  }

  /** The key is this upload's alone, and so is every other upload of it. Who may not list them has the bucket's own rule. */
  async #abortOthers(id: string): Promise<void> {
    const { client, requests } = this.#s3;
    const { Bucket, Key } = this.#object;
    const command = new ListMultipartUploadsCommand({ Bucket, Prefix: Key });
    const listed = await requests
      .run("list", this.#key, ({ signal }) => client.send(command, { abortSignal: signal }), { timeoutMs: ABORT_MS })
      .catch(() => undefined);
    if (listed?.kind !== "done") return;
    for (const upload of listed.value.Uploads ?? []) {
      if (upload.Key === Key && upload.UploadId !== undefined && upload.UploadId !== id)
        await this.#abort(upload.UploadId);
    }
  }

  async #sum(): Promise<number> {
    let sum = 0;
    for (let at = 0; at < this.#sizeBytes; at += this.#partBytes) {
      sum = crc32(await piece(this.#file, at, Math.min(this.#partBytes, this.#sizeBytes - at)), sum);
    }
    return sum;
  }
}

const NO_UPLOAD = { kind: "lasting", code: "STORE_UNAVAILABLE", reason: "it does not take the file in parts" } as const;
const FORGOTTEN = {
  kind: "lasting",
  code: "STORE_UNAVAILABLE",
  reason: "it forgot the upload again and again",
} as const;

async function unlessForgotten<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if ((error as Error).name === "NoSuchUpload") return undefined;
    throw error;
  }
}

/** Both kinds of write say it in the same words. */
function encryption({ ServerSideEncryption, SSEKMSKeyId, BucketKeyEnabled }: S3Access["extra"]) {
  return {
    ...(ServerSideEncryption && { ServerSideEncryption }),
    ...(SSEKMSKeyId && { SSEKMSKeyId }),
    ...(BucketKeyEnabled !== undefined && { BucketKeyEnabled }),
  };
}

async function piece(file: FileHandle, at: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  for (let got = 0; got < length; ) {
    const { bytesRead } = await file.read(bytes, got, length - got, at + got);
    if (bytesRead === 0) throw new Error(`the file ended after ${at + got} bytes, while it was uploaded`);
    got += bytesRead;
  }
  return bytes;
}

function base64Sum(sum: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(sum);
  return bytes.toString("base64");
}
