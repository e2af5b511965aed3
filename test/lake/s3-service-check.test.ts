import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { MillraceError } from "../../src/errors.ts";
import { openS3Store } from "../../src/lake/s3/open-s3-store.ts";
import { lakeFolder } from "./lake-folder.ts";

/**
 * Something that speaks just enough of S3 to be asked whether it can hold tables, and answers as a test wants. It is no S3 server: what a real
 * one does is tested against a real one, under test/engines.
 */
async function openAgainst(t: TestContext, answer: RequestListener) {
  const server = createServer((request, response) => {
    request.resume();
    request.once("end", () => answer(request, response));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return openS3Store({
    url: "s3://bucket/lake",
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    credentials: { accessKeyId: "k", secretAccessKey: "s" },
    ...{ cacheDir: await lakeFolder(t), cacheBytes: 1 << 20, timeoutMs: 1_000, random: () => 0 },
  });
}

const error = (code: string, message = "because") =>
  `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`;

/** Objects by path, conditions taken as `honours` says. */
function service(honours: (taken: number) => boolean): { listener: RequestListener; objects: Map<string, number> } {
  const objects = new Map<string, number>();
  const listener: RequestListener = ({ method, url = "", headers }, response) => {
    const path = url.split("?")[0] ?? "";
    const puts = objects.get(path) ?? 0;
    if (method === "DELETE") {
      objects.delete(path);
      response.writeHead(204).end();
    } else if (method === "GET") response.writeHead(404).end(error("NoSuchKey"));
    else if (puts > 0 && headers["if-none-match"] === "*" && honours(puts)) {
      response.writeHead(412).end(error("PreconditionFailed"));
    } else {
      objects.set(path, puts + 1);
      response.writeHead(200, { etag: '"e"' }).end();
    }
  };
  return { listener, objects };
}

const isRefused = (code: string, message: RegExp) => (thrown: unknown) => {
  assert.ok(thrown instanceof MillraceError, String(thrown));
  assert.equal(thrown.code, code, thrown.message);
  assert.match(thrown.message, message);
  return true;
};

test("a service that honours the condition is taken, and the probe is removed", async (t) => {
  const { listener, objects } = service(() => true);
  const store = await openAgainst(t, listener);
  assert.deepEqual([...objects], []);
  store.close();
});

test("a service that ignores the condition of a put is refused at the start", async (t) => {
  const { listener, objects } = service(() => false);
  const refused = isRefused("STORE_UNSUPPORTED", /s3:\/\/bucket\/lake.*ignores the condition If-None-Match/);
  await assert.rejects(openAgainst(t, listener), refused);
  assert.deepEqual([...objects], []);
});

test("a service that honours the condition only when nobody else writes is refused as well", async (t) => {
  const { listener } = service((puts) => puts >= 3);
  await assert.rejects(
    openAgainst(t, listener),
    isRefused("STORE_UNSUPPORTED", /of 8 writers of one object 3 were told/),
  );
});

test("a service that knows no conditional put is refused by its own words", async (t) => {
  const { listener } = service(() => true);
  const answer: RequestListener = (request, response) => {
    if (request.method !== "PUT") listener(request, response);
    else
      response
        .writeHead(501)
        .end(error("NotImplemented", "A header you provided implies functionality that is not implemented"));
  };
  await assert.rejects(openAgainst(t, answer), isRefused("STORE_UNSUPPORTED", /A header you provided/));
});

test("a page of something in between is not taken for a missing object", async (t) => {
  const answer: RequestListener = (_, response) => {
    response.writeHead(404, { "content-type": "text/html" }).end("<html><body>Not Found</body></html>");
  };
  await assert.rejects(openAgainst(t, answer), isRefused("STORE_UNAVAILABLE", /404/));
});

const REFUSALS: readonly [name: string, status: number, code: string, expected: string, message: RegExp][] = [
  ["forbidden", 403, "AccessDenied", "STORE_ACCESS_DENIED", /_millrace\/probe/],
  ["a wrong key", 403, "InvalidAccessKeyId", "STORE_CREDENTIALS", /InvalidAccessKeyId/],
  ["a wrong secret", 403, "SignatureDoesNotMatch", "STORE_CREDENTIALS", /SignatureDoesNotMatch/],
  ["another region", 301, "PermanentRedirect", "STORE_REGION", /bucket/],
  ["another region's signature", 400, "AuthorizationHeaderMalformed", "STORE_REGION", /us-east-1/],
  ["no bucket", 404, "NoSuchBucket", "STORE_BUCKET_MISSING", /"bucket".*storeUrl/],
  ["a key of KMS that is disabled", 400, "KMS.DisabledException", "STORE_ENCRYPTION", /KMS\.DisabledException/],
  ["too much asked", 503, "SlowDown", "STORE_UNAVAILABLE", /SlowDown/],
];

for (const [name, status, code, expected, message] of REFUSALS) {
  test(`a service that answers ${status} ${code} (${name}) ends the start with ${expected}`, async (t) => {
    const answer: RequestListener = (_, response) => {
      response.writeHead(status).end(error(code));
    };
    await assert.rejects(openAgainst(t, answer), isRefused(expected, message));
  });
}
