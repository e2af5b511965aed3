import { randomUUID } from "node:crypto";
import type { TestContext } from "node:test";
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectsCommand,
  ListObjectsV2Command,
  S3Client,
} from "@aws-sdk/client-s3";
import { endpoint, type S3Endpoint } from "../../engines/endpoints.ts";
import { openS3Store, type S3Store, type S3StoreOptions } from "../../src/lake/s3/open-s3-store.ts";
import { lakeFolder } from "../lake/lake-folder.ts";

/** The S3 server of the engines, as its administrator sees it. */
export async function s3Server(): Promise<{ server: S3Endpoint; client: S3Client }> {
  const server = await endpoint("s3");
  const { region, accessKeyId, secretAccessKey } = server;
  const credentials = { accessKeyId, secretAccessKey };
  return { server, client: new S3Client({ endpoint: server.endpoint, region, credentials, forcePathStyle: true }) };
}

/** A bucket of a test's own, removed behind it with all that is in it. */
export async function makeBucket(
  t: Pick<TestContext, "after">,
): Promise<{ bucket: string; server: S3Endpoint; client: S3Client }> {
  const { server, client } = await s3Server();
  const bucket = `millrace-test-${randomUUID()}`;
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  t.after(async () => {
    await removeBucket(client, bucket);
    client.destroy();
  });
  return { bucket, server, client };
}

/** Empties and removes a bucket that may be gone already. */
export async function removeBucket(client: S3Client, Bucket: string): Promise<void> {
  try {
    for (;;) {
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket }));
      if (Contents.length === 0) break;
      const Objects = Contents.map(({ Key }) => ({ Key }));
      await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } }));
    }
    await client.send(new DeleteBucketCommand({ Bucket }));
  } catch (error) {
    if ((error as Error).name !== "NoSuchBucket") throw error;
  }
}

/** A store in a bucket of the test's own, or as `options` say. */
export async function openTestStore(
  t: TestContext,
  { bucket, server }: { bucket: string; server: S3Endpoint },
  options: Partial<S3StoreOptions> = {},
): Promise<S3Store> {
  const { accessKeyId, secretAccessKey, region } = server;
  const store = await openS3Store({
    url: `s3://${bucket}/lake`,
    endpoint: server.endpoint,
    region,
    credentials: { accessKeyId, secretAccessKey },
    cacheDir: options.cacheDir ?? (await lakeFolder(t)),
    cacheBytes: 1 << 30,
    timeoutMs: 15_000,
    ...options,
  });
  t.after(() => store.close());
  return store;
}
