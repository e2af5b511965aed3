import { type PutObjectCommandInput, S3Client } from "@aws-sdk/client-s3";
import type { S3Location, S3Options } from "./s3-location.ts";

/** Transfers at once, over all tables: enough to fill a fast line, few enough for any service. */
const SOCKETS = 64;
const CONNECT_MS = 3_000;

/** The library's client, which signs and speaks. Trying again is ours: only then is it known what may have happened before. */
export function s3Client(options: S3Options, at: S3Location): S3Client {
  const { endpoint, credentials } = options;
  const region = options.region ?? (endpoint === undefined ? undefined : at.region);
  return new S3Client({
    ...(region !== undefined && { region }),
    ...(endpoint !== undefined && { endpoint }),
    ...(credentials !== undefined && { credentials }),
    forcePathStyle: options.pathStyle ?? endpoint !== undefined,
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: CONNECT_MS,
      httpAgent: { maxSockets: SOCKETS, keepAlive: true },
      httpsAgent: { maxSockets: SOCKETS, keepAlive: true },
    },
    logger: SILENT,
  });
}

/** What goes wrong is thrown, and logged by whoever asked. */
const SILENT = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };

/** What every write says about encryption. A bucket key spares most requests to KMS, which cost money each. */
export function encryptionOf({ encryption }: S3Options): Partial<PutObjectCommandInput> {
  if (encryption === undefined) return {};
  if (encryption.kind === "s3") return { ServerSideEncryption: "AES256" };
  return {
    ServerSideEncryption: "aws:kms",
    BucketKeyEnabled: true,
    ...(encryption.keyId !== undefined && { SSEKMSKeyId: encryption.keyId }),
  };
}

export function encryptionText({ encryption }: S3Options): string {
  if (encryption === undefined) return "none";
  return encryption.kind === "s3" ? "s3" : `kms with ${encryption.keyId ?? "the bucket's default key"}`;
}
