import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { crc32 } from "node:zlib";
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
} from "@aws-sdk/client-s3";
import { type Fault, FaultProxy } from "../../chaos/fault-proxy.ts";
import { MillraceError } from "../../src/errors.ts";
import type { S3StoreOptions } from "../../src/lake/s3/open-s3-store.ts";
import { lakeFolder } from "../lake/lake-folder.ts";
import { objectStoreContract } from "../lake/object-store-contract.ts";
import { makeBucket, openTestStore, removeBucket } from "./s3-bucket.ts";

objectStoreContract("S3", async (t) => openTestStore(t, await makeBucket(t)));

const MIB = 1024 * 1024;
const isCode =
  (code: string, message = /./) =>
  (error: unknown) => {
    assert.ok(error instanceof MillraceError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };
const text = (value: string) => new TextEncoder().encode(value);
const sumOf = (bytes: Uint8Array) => crc32(bytes).toString(16).padStart(8, "0");

/** A store behind a proxy that fails as it is told. */
async function openBehindProxy(t: TestContext, options: Partial<S3StoreOptions> = {}) {
  const made = await makeBucket(t);
  const { hostname: host, port } = new URL(made.server.endpoint);
  const proxy = await FaultProxy.start({
    target: { host, port: Number(port) },
    protocol: "http",
    seed: 7,
    slowBytesPerMs: 1024,
  });
  const store = await openTestStore(t, made, { endpoint: proxy.url, timeoutMs: 4_000, random: () => 0.2, ...options });
  t.after(() => proxy.close());
  return { ...made, proxy, store };
}

/** Faults by which a put may have happened although it seems to have failed. */
const LOST: readonly Fault[] = ["failed", "lost", "mute"];

test("a put-if-absent whose answer was lost is ours when it is asked again, and another's stays another's", async (t) => {
  const { proxy, store } = await openBehindProxy(t);
  const isPut = ({ method }: { method: string }) => method === "PUT";
  for (const fault of LOST) {
    proxy.next([fault], isPut);
    assert.equal(await store.putIfAbsent(`ours/${fault}`, text(`commit ${fault}`)), true, fault);
    assert.equal(proxy.counts[fault], 1);
    assert.equal(await store.putIfAbsent(`ours/${fault}`, text("another commit")), false, fault);
    proxy.next([fault], isPut);
    assert.equal(await store.putIfAbsent(`ours/${fault}`, text("a third")), false, fault);
    assert.deepEqual(Buffer.from(await store.get(`ours/${fault}`)).toString(), `commit ${fault}`);
  }
  for (const fault of ["slow-down", "silent", "cut-request", "cut-answer"] as const) {
    proxy.next([fault], isPut);
    assert.equal(await store.putIfAbsent(`ours/${fault}`, text(`commit ${fault}`)), true, fault);
  }
});

test("a put-if-absent whose every answer is lost fails, and is found to have happened by who looks", async (t) => {
  const { proxy, store } = await openBehindProxy(t, { timeoutMs: 1_000 });
  proxy.set({ lost: 1 }, ({ method }) => method === "PUT");
  await assert.rejects(store.putIfAbsent("log/1", text("commit")), isCode("STORE_UNAVAILABLE"));
  proxy.set({});
  assert.equal(await store.putIfAbsent("log/1", text("the same writer's next try")), false);
  assert.equal(Buffer.from(await store.get("log/1")).toString(), "commit");
});

test("of many writers through a network that fails, one wins each object, and knows it", async (t) => {
  const { proxy, store } = await openBehindProxy(t, { timeoutMs: 15_000 });
  proxy.set({ "slow-down": 0.1, failed: 0.15, lost: 0.15, "cut-request": 0.05, "cut-answer": 0.05 });
  for (let round = 0; round < 12; round++) {
    const key = `race/${round}`;
    const writers = Array.from({ length: 6 }, (_, i) => `writer ${i} ${randomUUID()}`);
    const won = await Promise.all(writers.map((writer) => store.putIfAbsent(key, text(writer))));
    assert.equal(won.filter(Boolean).length, 1, `round ${round} (${JSON.stringify(proxy.counts)})`);
    assert.equal(Buffer.from(await store.get(key)).toString(), writers[won.indexOf(true)]);
  }
  assert.ok((proxy.counts["lost"] ?? 0) > 0 && (proxy.counts["failed"] ?? 0) > 0, JSON.stringify(proxy.counts));
});

test("reads and listings come through a network that fails, whole", async (t) => {
  const { proxy, store } = await openBehindProxy(t, { timeoutMs: 15_000 });
  const bytes = randomBytes(3 * MIB);
  for (let i = 0; i < 5; i++) await store.put(`t/part-${i}`, bytes);
  proxy.set({ "slow-down": 0.2, "cut-answer": 0.3, slow: 0.1 });
  for (let i = 0; i < 5; i++) assert.ok(bytes.equals(await store.get(`t/part-${i}`)));
  const release = await store.hold(Array.from({ length: 5 }, (_, i) => `t/part-${i}`));
  for (let i = 0; i < 5; i++) assert.ok(bytes.equals(await readFile(store.localPath(`t/part-${i}`))));
  release();
  assert.equal((await store.list("t/")).length, 5);
  assert.equal(await store.checksum("t/part-0"), sumOf(bytes));
  assert.ok((proxy.counts["cut-answer"] ?? 0) > 0, JSON.stringify(proxy.counts));
});

test("a service that trickles is given up in bounded time", async (t) => {
  const { proxy, store } = await openBehindProxy(t, { timeoutMs: 1_000 });
  await store.put("large", randomBytes(MIB));
  const started = performance.now();
  for (const fault of ["silent", "mute"] as const) {
    proxy.set({ [fault]: 1 });
    await assert.rejects(store.get("large"), isCode("STORE_UNAVAILABLE", /no answer within 1000 ms/));
  }
  proxy.set({ slow: 1 }, () => true, 4);
  await assert.rejects(store.get("large"), isCode("STORE_UNAVAILABLE", /no answer within 1000 ms|did not come within/));
  assert.ok(performance.now() - started < 30_000);
});

test("a service that is away is unavailable, says so, and is back without a new start", async (t) => {
  const { proxy, store } = await openBehindProxy(t, { timeoutMs: 1_000 });
  await store.put("t/1", text("one"));
  assert.equal(await store.problem(), undefined);
  proxy.down(true);
  await assert.rejects(store.get("t/1"), isCode("STORE_UNAVAILABLE"));
  await assert.rejects(store.list("t/"), isCode("STORE_UNAVAILABLE"));
  await assert.rejects(store.putIfAbsent("t/2", text("two")), isCode("STORE_UNAVAILABLE"));
  await until(async () => (await store.problem())?.code === "STORE_UNAVAILABLE");
  proxy.down(false);
  assert.equal(await store.putIfAbsent("t/2", text("two")), true);
  await until(async () => (await store.problem()) === undefined);
});

test("a listing of more than a page is whole, and begins after a key", async (t) => {
  const store = await openTestStore(t, await makeBucket(t));
  const keys = Array.from({ length: 1_203 }, (_, i) => `t/_delta_log/${String(i).padStart(20, "0")}.json`);
  for (let i = 0; i < keys.length; i += 100) {
    await Promise.all(keys.slice(i, i + 100).map((key) => store.put(key, text("{}"))));
  }
  assert.deepEqual(
    (await store.list("t/")).map(({ key }) => key),
    keys,
  );
  assert.deepEqual(
    (await store.list("t/", { after: keys[1_100]! })).map(({ key }) => key),
    keys.slice(1_101),
  );
});

test("a large file goes in parts, whole, also when parts fail, and is its own local copy", async (t) => {
  const { proxy, store, client, bucket } = await openBehindProxy(t, { partBytes: 5 * MIB, timeoutMs: 15_000 });
  const bytes = randomBytes(23 * MIB + 17);
  proxy.set({ "slow-down": 0.1, failed: 0.1, lost: 0.1, "cut-request": 0.1 });
  const requests = { ...store.counts.fetched };
  for (const key of ["t/a.parquet", "t/b.parquet"]) {
    await writeFile(await store.stage(key), bytes);
    const info = await store.publish(key);
    assert.equal(info.sizeBytes, bytes.length);
    assert.equal(info.checksum, sumOf(bytes));
    const release = await store.hold([key]);
    assert.ok(bytes.equals(await readFile(store.localPath(key))));
    release();
  }
  assert.deepEqual(store.counts.fetched, requests, "nothing was downloaded");
  proxy.set({});
  assert.ok(bytes.equals(await store.get("t/a.parquet")));
  assert.equal(await store.checksum("t/b.parquet"), sumOf(bytes));
  assert.equal((await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads, undefined);
});

test("an upload that fails leaves no parts in the bucket and no file on the disk", async (t) => {
  const cacheDir = await lakeFolder(t);
  const { proxy, store, client, bucket } = await openBehindProxy(t, { partBytes: 5 * MIB, timeoutMs: 1_000, cacheDir });
  await writeFile(await store.stage("t/part.parquet"), randomBytes(12 * MIB));
  proxy.set({ "slow-down": 1 }, ({ path }) => path.includes("partNumber=2"));
  await assert.rejects(store.publish("t/part.parquet"), isCode("STORE_UNAVAILABLE", /SlowDown/));
  assert.deepEqual(await files(join(cacheDir, "staged")), []);
  assert.equal((await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads, undefined);
  assert.deepEqual(await store.list("t/"), []);
  await writeFile(await store.stage("t/small.parquet"), "rows");
  proxy.down(true);
  await assert.rejects(store.publish("t/small.parquet"), isCode("STORE_UNAVAILABLE"));
  assert.deepEqual(await files(join(cacheDir, "staged")), []);
});

test("publishing a file that the engine never wrote is refused", async (t) => {
  const store = await openTestStore(t, await makeBucket(t));
  await store.stage("t/part-1.parquet");
  await assert.rejects(store.publish("t/part-1.parquet"), isCode("LAKE_UNAVAILABLE"));
});

test("an object that is wanted by many at once is fetched once", async (t) => {
  const made = await makeBucket(t);
  await (await openTestStore(t, made)).put("t/part", randomBytes(MIB));
  const store = await openTestStore(t, made);
  const releases = await Promise.all(Array.from({ length: 20 }, () => store.hold(["t/part"])));
  for (const release of releases) release();
  assert.deepEqual(store.counts.fetched, { files: 1, bytes: MIB });
});

test("copies outlive the process, and a folder that was emptied fills again", async (t) => {
  const made = await makeBucket(t);
  const cacheDir = await lakeFolder(t);
  const first = await openTestStore(t, made, { cacheDir });
  await writeFile(await first.stage("t/part"), "rows");
  await first.publish("t/part");
  const second = await openTestStore(t, made, { cacheDir });
  (await second.hold(["t/part"]))();
  assert.equal(second.counts.fetched.files, 0);
  const third = await openTestStore(t, made);
  (await third.hold(["t/part"]))();
  assert.equal(third.counts.fetched.files, 1);
});

test("a local copy that was damaged is found by its checksum and replaced", async (t) => {
  const store = await openTestStore(t, await makeBucket(t));
  const key = "t/part.parquet";
  await writeFile(await store.stage(key), "columns and rows");
  const { checksum } = await store.publish(key);
  await truncate(store.localPath(key), 3);
  assert.equal(await store.checksum(key), checksum);
  const release = await store.hold([key]);
  assert.equal(await readFile(store.localPath(key), "utf8"), "columns and rows");
  release();
  await store.delete(key);
  assert.ok(!existsSync(store.localPath(key)));
});

test("what is wrong with the settings is said by the setting's name", async (t) => {
  const made = await makeBucket(t);
  const open = (options: Partial<S3StoreOptions>) => openTestStore(t, made, { timeoutMs: 1_000, ...options });
  await assert.rejects(
    open({ url: "s3://no-such-bucket-here/x" }),
    isCode("STORE_BUCKET_MISSING", /no-such-bucket-here.*storeUrl/),
  );
  const { accessKeyId } = made.server;
  await assert.rejects(open({ credentials: { accessKeyId, secretAccessKey: "wrong" } }), isCode("STORE_CREDENTIALS"));
  await assert.rejects(
    open({ credentials: { accessKeyId: "nobody", secretAccessKey: "wrong" } }),
    isCode("STORE_CREDENTIALS"),
  );
  await assert.rejects(open({ endpoint: "http://127.0.0.1:9" }), isCode("STORE_UNAVAILABLE", /ECONNREFUSED/));
  await assert.rejects(open({ endpoint: "http://nowhere.invalid" }), isCode("STORE_UNAVAILABLE", /nowhere\.invalid/));
  for (const url of ["s3://", "s3://UPPER", "http://bucket", "s3://bucket/a//b", "s3://bucket/../x"]) {
    await assert.rejects(open({ url }), isCode("SETTING_INVALID", /storeUrl/), url);
  }
  const anHourAhead = () => Date.now() + 3_600_000;
  await assert.rejects(open({ clock: anHourAhead }), isCode("STORE_CLOCK_SKEW", /3[56]\d\d s/));
});

test("a bucket that vanishes is named, is no empty store, and is back when it is back", async (t) => {
  const { store, client, bucket } = await openBehindProxy(t, { timeoutMs: 1_000 });
  await store.put("t/1", text("one"));
  await removeBucket(client, bucket);
  const works = [
    () => store.get("t/1"),
    () => store.list(""),
    () => store.putIfAbsent("t/2", text("2")),
    () => store.delete("t/1"),
    () => store.hold(["t/1"]),
  ];
  for (const work of works) {
    await assert.rejects(work(), isCode("STORE_BUCKET_MISSING", new RegExp(bucket)));
  }
  await until(async () => (await store.problem())?.code === "STORE_BUCKET_MISSING");
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  await until(async () => (await store.problem()) === undefined);
  assert.equal(await store.putIfAbsent("t/2", text("2")), true);
});

test("objects are encrypted as asked, by keys of S3 and of KMS", async (t) => {
  const made = await makeBucket(t);
  const head = (key: string) => made.client.send(new HeadObjectCommand({ Bucket: made.bucket, Key: `lake/${key}` }));
  const large = randomBytes(11 * MIB);
  for (const [name, encryption, expected] of [
    ["s3", { kind: "s3" }, "AES256"],
    ["kms", { kind: "kms", keyId: "engines" }, "aws:kms"],
  ] as const) {
    const store = await openTestStore(t, made, { encryption, partBytes: 5 * MIB });
    assert.equal(await store.putIfAbsent(`${name}/commit`, text("commit")), true);
    assert.equal(await store.putIfAbsent(`${name}/commit`, text("other")), false);
    await writeFile(await store.stage(`${name}/large`), large);
    await store.publish(`${name}/large`);
    for (const key of [`${name}/commit`, `${name}/large`]) {
      const { ServerSideEncryption, SSEKMSKeyId } = await head(key);
      assert.equal(ServerSideEncryption, expected);
      if (name === "kms") assert.match(SSEKMSKeyId ?? "", /engines$/);
    }
    assert.ok(large.equals(await store.get(`${name}/large`)));
    assert.equal(await store.checksum(`${name}/large`), sumOf(large));
  }
  await assert.rejects(
    openTestStore(t, made, { encryption: { kind: "kms", keyId: "no-such-key" }, timeoutMs: 1_000 }),
    isCode("STORE_ENCRYPTION", /no-such-key/),
  );
});

test("the probes of the start leave nothing behind", async (t) => {
  const made = await makeBucket(t);
  await openTestStore(t, made);
  const { Contents = [] } = await made.client.send(new ListObjectsV2Command({ Bucket: made.bucket }));
  assert.deepEqual(Contents, []);
});

test("an object that is removed from the bucket is missing, whatever the copies say when they are gone", async (t) => {
  const made = await makeBucket(t);
  const store = await openTestStore(t, made);
  await store.put("t/part", text("rows"));
  await made.client.send(new DeleteObjectCommand({ Bucket: made.bucket, Key: "lake/t/part" }));
  await assert.rejects(store.hold(["t/part"]), isCode("OBJECT_NOT_FOUND"));
  await assert.rejects(store.checksum("t/part"), isCode("OBJECT_NOT_FOUND"));
});

async function files(dir: string): Promise<string[]> {
  if (!existsSync(dir)) return [];
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.fail("it did not come about within 20 s");
}
