/**
 * Whether a service can hold tables: asked once, before anything is kept there. Everything rests on put-if-absent, and there are services
 * that take the condition, ignore it and say yes.
 */
import { DeleteObjectCommand, GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { MillraceError } from "../../errors.ts";
import type { S3Encryption } from "./s3-location.ts";
import type { S3Access } from "./s3-objects.ts";

/** Where probes are put; each is removed again. */
export const PROBES = "_millrace/probe/";
/** Never there: looking for it tells whether the bucket answers. */
export const NOTHING = "_millrace/nothing";

/** Writers at once in the probe's race. */
const WRITERS = 8;
/** Beyond it S3 refuses signatures at 15 minutes, and vacuum's hour of grace has lost a good part. */
const MOST_APART_MS = 300_000;

export interface CheckOptions {
  readonly encryption: S3Encryption | undefined;
  readonly clock: () => number;
  readonly newId: () => string;
}

/**
 * @throws STORE_UNSUPPORTED, STORE_BUCKET_MISSING, STORE_ACCESS_DENIED, STORE_CREDENTIALS, STORE_REGION, STORE_ENCRYPTION, STORE_CLOCK_SKEW,
 * STORE_UNAVAILABLE
 */
export async function checkService(access: S3Access, options: CheckOptions): Promise<void> {
  const { client, requests, at, extra } = access;
  const key = `${PROBES}${options.newId()}`;
  const object = { Bucket: at.bucket, Key: at.prefix + key };
  const { place } = at;

  const nothing = await requests.run("read", key, ({ signal }) =>
    client.send(new GetObjectCommand(object), { abortSignal: signal }),
  );
  if (nothing.kind !== "absent") {
    throw new MillraceError("STORE_UNSUPPORTED", {
      place,
      reason: "it answers for an object that nobody has put there",
    });
  }

  // Not by the store's own put: there an answer of "exists already" is looked into, here it is the answer that counts.
  const put = (body: string) =>
    requests.run("write", key, async ({ signal }) => {
      const command = new PutObjectCommand({ ...object, Body: body, IfNoneMatch: "*", ...extra });
      return serverTime(command, () => client.send(command, { abortSignal: signal }));
    });
  try {
    const race = await Promise.all(Array.from({ length: WRITERS }, (_, writer) => put(`probe ${writer} of ${key}`)));
    const won = race.filter(({ kind }) => kind === "done").length;
    const again = await put(`late probe of ${key}`);
    // An answer that was lost may have been a winner's: then there is none among those that came.
    if (won > 1 || again.kind === "done") {
      const reason = `it ignores the condition If-None-Match: * (of ${WRITERS} writers of one object ${won} were told that theirs is there, and a late one ${again.kind === "done" ? "as well" : "was not"})`;
      throw new MillraceError("STORE_UNSUPPORTED", { place, reason });
    }
    for (const outcome of race) {
      if (outcome.kind !== "done") continue;
      checkEncryption(options.encryption, outcome.value.output.ServerSideEncryption, access);
      checkClock(options.clock(), outcome.value.dateMs, place);
    }
  } finally {
    // A probe that stays harms nobody; what went wrong before it is what is to be told.
    await client
      .send(new DeleteObjectCommand(object), { abortSignal: AbortSignal.timeout(3_000) })
      .catch(() => undefined);
  }
}

function checkEncryption(asked: S3Encryption | undefined, got: string | undefined, { requests }: S3Access): void {
  const expected = asked === undefined ? undefined : asked.kind === "s3" ? "AES256" : "aws:kms";
  if (expected === undefined || got === expected) return;
  const reason = `it answered ${got === undefined ? "without a word about encryption" : `that it used ${got}`}`;
  throw requests.error({ kind: "lasting", code: "STORE_ENCRYPTION", reason }, "write", PROBES);
}

function checkClock(hereMs: number, thereMs: number | undefined, place: string): void {
  if (thereMs === undefined || Math.abs(hereMs - thereMs) <= MOST_APART_MS) return;
  const apart = `${Math.round(Math.abs(hereMs - thereMs) / 1000)} s`;
  throw new MillraceError("STORE_CLOCK_SKEW", { place, apart });
}

/** The answer with the service's time, which the library does not give. */
async function serverTime(
  command: PutObjectCommand,
  send: () => Promise<import("@aws-sdk/client-s3").PutObjectCommandOutput>,
): Promise<{ output: import("@aws-sdk/client-s3").PutObjectCommandOutput; dateMs: number | undefined }> {
  let dateMs: number | undefined;
  command.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      const date = (result.response as { headers?: Record<string, string> }).headers?.["date"];
      dateMs = date === undefined ? undefined : Date.parse(date);
      return result;
    },
    { step: "deserialize", name: "millraceServerTime", override: true },
  );
  const output = await send();
  return { output, dateMs: Number.isNaN(dateMs) ? undefined : dateMs };
}
