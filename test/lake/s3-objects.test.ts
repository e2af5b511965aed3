import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { S3Client } from "@aws-sdk/client-s3";
import { S3Objects } from "../../src/lake/s3/s3-objects.ts";
import { S3Requests } from "../../src/lake/s3/s3-requests.ts";

test("a connection that breaks before anybody reads its answer is tried again, and ends no process", async () => {
  const at = { bucket: "b", prefix: "", encryption: "none", endpoint: "", place: "s3://b", region: "r" };
  let answers = 0;
  const client = {
    send: async () => {
      answers++;
      const Body = answers === 1 ? new Readable({ read: () => undefined }) : Readable.from([Buffer.from("whole")]);
      if (answers === 1) setImmediate(() => Body.destroy(Object.assign(new Error("aborted"), { code: "ECONNRESET" })));
      return { Body, ContentLength: 5 };
    },
  } as unknown as S3Client;
  const requests = new S3Requests({ at, timeoutMs: 5_000, random: () => 0 });
  const objects = new S3Objects({ client, requests, at, extra: {} });
  const pieces: Uint8Array[] = [];
  const text = await objects.read("key", async () => {
    // A file to write to is opened meanwhile.
    await sleep(20);
    pieces.length = 0;
    return {
      take: (piece) => pieces.push(piece),
      end: async () => Buffer.concat(pieces).toString(),
      drop: async () => undefined,
    };
  });
  assert.deepEqual([text, answers], ["whole", 2]);
});
