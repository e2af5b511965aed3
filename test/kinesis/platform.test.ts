import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import {
  AddTagsToStreamCommand,
  GetRecordsCommand,
  GetShardIteratorCommand,
  KinesisClient,
  ListShardsCommand,
  ListStreamsCommand,
  ListTagsForStreamCommand,
  PutRecordsCommand,
} from "@aws-sdk/client-kinesis";
import { RunningPlatform } from "../platform/running-platform.ts";

const PROJECT = "test/kinesis/project";
let dir: string;
let platform: RunningPlatform;
const clients: KinesisClient[] = [];

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "kinesis-"));
  platform = await RunningPlatform.start(PROJECT, join(dir, "data"));
});
after(async () => {
  for (const client of clients) client.destroy();
  await platform?.stop();
  await rm(dir, { recursive: true, force: true });
});

interface AccessKey {
  readonly AWS_ACCESS_KEY_ID: string;
  readonly AWS_SECRET_ACCESS_KEY: string;
}

async function createKey(scopes: string): Promise<AccessKey> {
  const { code, stdout, stderr } = await platform.command("keys", "create", "--name", "k", "--scopes", scopes, "--aws");
  assert.equal(code, 0, stderr);
  return Object.fromEntries(
    stdout
      .trim()
      .split("\n")
      .map((line) => /^(\w+)=(.*)$/.exec(line)?.slice(1) ?? []),
  ) as AccessKey;
}

function clientOf({
  AWS_ACCESS_KEY_ID: accessKeyId,
  AWS_SECRET_ACCESS_KEY: secretAccessKey,
}: AccessKey): KinesisClient {
  const credentials = { accessKeyId, secretAccessKey };
  const client = new KinesisClient({ endpoint: platform.url, region: "eu-west-1", credentials, maxAttempts: 1 });
  clients.push(client);
  return client;
}

/** Every record of a stream by its shard, as a consumer reads them. */
async function readAll(client: KinesisClient, StreamName: string): Promise<Map<string, Record<string, unknown>[]>> {
  const { Shards = [] } = await client.send(new ListShardsCommand({ StreamName }));
  const found = new Map<string, Record<string, unknown>[]>();
  for (const { ShardId } of Shards) {
    const start = { StreamName, ShardId, ShardIteratorType: "TRIM_HORIZON" } as const;
    let { ShardIterator: next } = await client.send(new GetShardIteratorCommand(start));
    const records: Record<string, unknown>[] = [];
    for (let behind = 1; behind > 0; ) {
      const answer = await client.send(new GetRecordsCommand({ ShardIterator: next, Limit: 400 }));
      for (const { Data } of answer.Records ?? []) records.push(JSON.parse(Buffer.from(Data ?? []).toString()));
      [next, behind] = [answer.NextShardIterator, answer.MillisBehindLatest ?? 0];
      if ((answer.Records?.length ?? 0) > 0) behind = 1;
    }
    found.set(ShardId as string, records);
  }
  return found;
}

describe("a platform with AWS's client on it", () => {
  it("stores what was put, each key in one shard and in order, and gives it back to a consumer and to SQL", async () => {
    const client = clientOf(await createKey("ingest,query"));
    for (let batch = 0; batch < 4; batch++) {
      const Records = Array.from({ length: 500 }, (_, n) => {
        const reading = { id: `r${batch}-${n}`, vehicle: `v${n % 20}`, speed: batch * 500 + n };
        return { Data: Buffer.from(JSON.stringify(reading)), PartitionKey: reading.vehicle };
      });
      const { FailedRecordCount } = await client.send(new PutRecordsCommand({ StreamName: "readings", Records }));
      assert.equal(FailedRecordCount, 0);
    }
    const shards = await readAll(client, "readings");
    const all = [...shards.values()].flat();
    assert.equal(all.length, 2000);
    for (let vehicle = 0; vehicle < 20; vehicle++) {
      const holding = [...shards.values()].filter((records) =>
        records.some((record) => record.vehicle === `v${vehicle}`),
      );
      assert.equal(holding.length, 1, "a key is in one shard");
      const speeds = holding[0]
        ?.filter((record) => record.vehicle === `v${vehicle}`)
        .map(({ speed }) => speed as number);
      assert.deepEqual(
        speeds,
        speeds?.toSorted((a, b) => a - b),
      );
    }
    assert.deepEqual(
      await platform.sql("select count(*), sum(speed), any_value(_source) from readings"),
      [["2000", 1_999_000, "kinesis"]].map(([count, sum, source]) => [Number(count), sum, source]),
    );
  });

  it("keeps refused records as dead letters, and its ledger is balanced", async () => {
    const client = clientOf(await createKey("write:lines"));
    const Records = ['{"line":"a"}', '{"line":1}'].map((Data) => ({ Data: Buffer.from(Data), PartitionKey: "p" }));
    const put = await client.send(new PutRecordsCommand({ StreamName: "lines", Records }));
    assert.equal(put.FailedRecordCount, 1);
    const letters = await platform.sql("select code, payload, source from system.dead_letters where stream = 'lines'");
    assert.deepEqual(letters, [["EVENT_INVALID", '{"line":1}', "kinesis"]]);
    await assert.rejects(client.send(new GetRecordsCommand({ ShardIterator: "x" })), {
      name: "InvalidArgumentException",
    });
    await assert.rejects(readAll(client, "lines"), { name: "AccessDeniedException" });
    const ledger = (await platform.get<{ balanced: boolean }>("/v1/ledger")).body;
    assert.equal(ledger.balanced, true);
  });

  it("goes on after a restart with the same keys, tags and sequence numbers, and a revoked key is out at once", async () => {
    const admin = await createKey("admin");
    await clientOf(admin).send(new AddTagsToStreamCommand({ StreamName: "lines", Tags: { team: "ops" } }));
    const before = await readAll(clientOf(admin), "readings");
    await platform.stop();
    platform = await RunningPlatform.start(PROJECT, join(dir, "data"));
    const client = clientOf(admin);
    const { Tags } = await client.send(new ListTagsForStreamCommand({ StreamName: "lines" }));
    assert.deepEqual(Tags, [{ Key: "team", Value: "ops" }]);
    assert.deepEqual(await readAll(client, "readings"), before);

    const id = admin.AWS_ACCESS_KEY_ID.replace("MILLRACE", "").toLowerCase();
    const { code } = await platform.command("keys", "revoke", id);
    assert.equal(code, 0);
    await assert.rejects(client.send(new ListStreamsCommand({})), { name: "UnrecognizedClientException" });
  });

  it("makes access keys for who asks for them alone, and keeps no secret of theirs in its records", async () => {
    const plain = JSON.parse(
      (await platform.command("keys", "create", "--name", "p", "--scopes", "admin", "--json")).stdout,
    );
    assert.equal(plain.accessKey, undefined);
    const guessed = { AWS_ACCESS_KEY_ID: `MILLRACE${plain.key.id.toUpperCase()}`, AWS_SECRET_ACCESS_KEY: plain.token };
    await assert.rejects(clientOf(guessed).send(new ListStreamsCommand({})), { name: "UnrecognizedClientException" });

    const file = join(dir, "data/aws.secret");
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    const backup = await platform.command("backup", join(dir, "backup"));
    assert.equal(backup.code, 0, backup.stderr);
    const [name] = await readdir(join(dir, "backup"));
    const copy = join(dir, "backup", name as string);
    assert.deepEqual(await readFile(join(copy, "data/aws.secret")), await readFile(file));
    const made = await createKey("query");
    const records = await readFile(join(copy, "records.ndjson"), "utf8");
    assert.ok(records.includes('"aws"') && !records.includes(made.AWS_SECRET_ACCESS_KEY));

    const restored = join(dir, "restored");
    assert.equal((await platform.command("restore", copy, "--data", restored)).code, 0);
    assert.equal((await stat(join(restored, "aws.secret"))).mode & 0o777, 0o600);
  });
});
