import { createHash, randomBytes } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { runFolder } from "./cache.ts";
import type { S3Endpoint } from "./endpoints.ts";
import { freePort } from "./free-port.ts";
import { goProgram } from "./packages.ts";
import { launch, running, type ServerProcess, stop, untilReady } from "./server-process.ts";
import { VERSIONS } from "./versions.ts";

/** A MinIO server over a folder. Why this one: docs/decisions/022-engines-in-tests.md. */
const SERVER: ServerProcess = { name: "s3 server", folder: runFolder("s3") };
const START_WITHIN_MS = 60_000;

export async function s3Up(before: S3Endpoint | undefined): Promise<S3Endpoint> {
  const program = join(await goProgram("minio", "github.com/minio/minio", VERSIONS.minio), "minio");
  const endpoint = before ?? {
    endpoint: `http://127.0.0.1:${await freePort()}`,
    region: "us-east-1",
    accessKeyId: `engines-${randomBytes(4).toString("hex")}`,
    secretAccessKey: randomBytes(16).toString("hex"),
  };
  if ((await running(SERVER)) === undefined) {
    const data = join(SERVER.folder, "data");
    await mkdir(data, { recursive: true });
    const address = new URL(endpoint.endpoint).host;
    // The console is of no use here, and its port would be chosen by the server.
    const env = {
      ...process.env,
      MINIO_ROOT_USER: endpoint.accessKeyId,
      MINIO_ROOT_PASSWORD: endpoint.secretAccessKey,
      MINIO_BROWSER: "off",
      MINIO_UPDATE: "off",
      // Server-side encryption asked for by a client (SSE-S3) wants a key on the server.
      MINIO_KMS_SECRET_KEY: `engines:${createHash("sha256").update(endpoint.secretAccessKey).digest("base64")}`,
      GOMEMLIMIT: "512MiB",
    };
    await launch(SERVER, [program, "server", "--quiet", "--address", address, data], { env });
  }
  await untilReady(SERVER, START_WITHIN_MS, async () => {
    const answer = await fetch(`${endpoint.endpoint}/minio/health/ready`, { signal: AbortSignal.timeout(5_000) });
    return answer.ok;
  });
  return endpoint;
}

export async function s3Down(): Promise<void> {
  await stop(SERVER);
  await rm(SERVER.folder, { recursive: true, force: true });
}

export async function s3Processes(): Promise<{ name: string; pid: number | undefined }[]> {
  return [{ name: SERVER.name, pid: (await running(SERVER))?.pid }];
}
