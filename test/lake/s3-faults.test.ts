import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError } from "../../src/errors.ts";
import { readFault } from "../../src/lake/s3/s3-faults.ts";
import { locate } from "../../src/lake/s3/s3-location.ts";
import { LocalFailure, S3Requests } from "../../src/lake/s3/s3-requests.ts";

const at = { ...locate({ url: "s3://bucket/lake" }), encryption: "none" };
const requests = (timeoutMs: number) => new S3Requests({ at, timeoutMs, random: () => 0 });
const answer = (status: number, name: string, message = "because", more: object = {}) =>
  Object.assign(new Error(message), { name, $metadata: { httpStatusCode: status, ...more } });
const isCode =
  (code: string, message = /./) =>
  (error: unknown) => {
    assert.ok(error instanceof MillraceError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };

test("a bucket's name and prefix are read from its URL, and anything else is refused by the setting's name", () => {
  assert.deepEqual(locate({ url: "s3://acme-lake" }).prefix, "");
  const { bucket, prefix, place } = locate({ url: "s3://acme-lake/a/b/", endpoint: "http://minio:9000" });
  assert.deepEqual([bucket, prefix, place], ["acme-lake", "a/b/", "s3://acme-lake/a/b/ (http://minio:9000)"]);
  for (const url of [
    "s3:/b",
    "s3://",
    "s3://b",
    "s3://Upper-Case",
    "s3://bucket/a//b",
    "s3://bucket/../b",
    "s3://bucket?x=1",
  ]) {
    assert.throws(() => locate({ url }), isCode("SETTING_INVALID", /storeUrl/), url);
  }
});

test("what the service says is told from what the network does", () => {
  const kind = (error: Error) => {
    const fault = readFault(error);
    return fault.kind === "lasting" ? fault.code : fault.kind;
  };
  const network = (code: string) => Object.assign(new Error(`connect ${code}`), { code });
  const cases: readonly [Error, string][] = [
    [answer(404, "NoSuchKey"), "absent"],
    [answer(404, "NoSuchBucket"), "STORE_BUCKET_MISSING"],
    [answer(404, "NotFound"), "STORE_UNAVAILABLE"],
    [answer(412, "PreconditionFailed"), "exists"],
    [answer(409, "ConditionalRequestConflict"), "passing"],
    [answer(503, "SlowDown"), "passing"],
    [answer(400, "RequestTimeout"), "passing"],
    [answer(502, "SyntaxError"), "passing"],
    [answer(429, "TooManyRequests"), "passing"],
    [answer(403, "AccessDenied"), "STORE_ACCESS_DENIED"],
    [answer(403, "AccessDenied", "not authorized to perform: kms:GenerateDataKey"), "STORE_ENCRYPTION"],
    [answer(403, "RequestTimeTooSkewed", "skewed", { clockSkewCorrected: true }), "passing"],
    [answer(403, "RequestTimeTooSkewed"), "STORE_CLOCK_SKEW"],
    [answer(400, "KMS.DisabledException"), "STORE_ENCRYPTION"],
    [answer(501, "NotImplemented"), "STORE_UNSUPPORTED"],
    [answer(400, "EntityTooLarge"), "STORE_UNAVAILABLE"],
    [
      Object.assign(new Error("Could not load credentials from any providers"), { name: "CredentialsProviderError" }),
      "STORE_CREDENTIALS",
    ],
    [new Error("Region is missing"), "STORE_REGION"],
    [Object.assign(answer(404, "Error", "aborted"), { code: "ECONNRESET" }), "passing"],
    [network("ECONNREFUSED"), "passing"],
    [network("ECONNRESET"), "passing"],
    [new AggregateError([network("ECONNREFUSED")]), "passing"],
  ];
  for (const [error, expected] of cases) assert.equal(kind(error), expected, `${error.name}: ${error.message}`);
});

test("a passing failure is tried again until the time is over, any other once", async () => {
  let tries = 0;
  const failTimes = (times: number, error: Error) => async () => {
    if (tries++ < times) throw error;
    return "done";
  };
  assert.deepEqual(await requests(5_000).run("read", "k", failTimes(4, answer(503, "SlowDown"))), {
    kind: "done",
    value: "done",
  });
  assert.equal(tries, 5);
  tries = 0;
  await assert.rejects(
    requests(5_000).run("read", "k", failTimes(4, answer(403, "AccessDenied"))),
    isCode("STORE_ACCESS_DENIED", /read "k"/),
  );
  assert.equal(tries, 1);
  assert.deepEqual(
    await requests(5_000).run("write", "k", async () => Promise.reject(answer(412, "PreconditionFailed"))),
    { kind: "exists" },
  );
  const started = performance.now();
  const always = async () => {
    await sleep(5);
    throw answer(500, "InternalError");
  };
  await assert.rejects(requests(200).run("write", "k", always), isCode("STORE_UNAVAILABLE", /500 InternalError/));
  assert.ok(performance.now() - started < 5_000);
});

test("a local failure is thrown as it is, at once", async () => {
  const full = Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
  let tries = 0;
  const work = async () => {
    tries++;
    throw new LocalFailure(full);
  };
  await assert.rejects(requests(5_000).run("read", "k", work), full);
  assert.equal(tries, 1);
});

test("silence ends an attempt, and its signal with it; signs of life put that off", async () => {
  const signals: AbortSignal[] = [];
  const silent = requests(1_000).run("read", "k", ({ signal }) => {
    signals.push(signal);
    return new Promise(() => undefined);
  });
  await assert.rejects(silent, isCode("STORE_UNAVAILABLE", /no answer within 1000 ms/));
  assert.ok(signals.length > 0 && signals.every(({ aborted }) => aborted));
  const slow = await requests(1_000).run("read", "k", async ({ alive, allow }) => {
    allow(1024 * 1024);
    for (let i = 0; i < 12; i++) {
      await sleep(100);
      alive();
    }
    return "came";
  });
  assert.deepEqual(slow, { kind: "done", value: "came" });
});

test("who gives up hears the reason at once", async () => {
  const ends = new AbortController();
  const reason = new Error("no longer wanted");
  const work = requests(60_000).run("read", "k", () => new Promise(() => undefined), { signal: ends.signal });
  setImmediate(() => ends.abort(reason));
  await assert.rejects(work, reason);
});
