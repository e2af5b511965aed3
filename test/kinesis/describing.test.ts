import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  AddTagsToStreamCommand,
  CreateStreamCommand,
  DecreaseStreamRetentionPeriodCommand,
  DescribeLimitsCommand,
  DescribeStreamCommand,
  DescribeStreamSummaryCommand,
  IncreaseStreamRetentionPeriodCommand,
  type KinesisClient,
  ListShardsCommand,
  type ListShardsCommandOutput,
  ListStreamsCommand,
  ListTagsForResourceCommand,
  ListTagsForStreamCommand,
  paginateListStreams,
  RemoveTagsFromStreamCommand,
  TagResourceCommand,
  UntagResourceCommand,
} from "@aws-sdk/client-kinesis";
import { streamOf } from "../gateway/open-door.ts";
import { anything, orders } from "../gateway/orders.ts";
import { OpenKinesis, REGION } from "./open-kinesis.ts";

const app = streamOf("app", anything.jsonSchema, anything.columns);
const ARN = `arn:aws:kinesis:${REGION}:000000000000:stream/orders`;
let kinesis: OpenKinesis;
let client: KinesisClient;

before(async () => {
  kinesis = await OpenKinesis.open({ streams: [orders, anything, app], partitions: 5 });
  client = kinesis.client();
});
after(() => kinesis[Symbol.asyncDispose]());

describe("a stream", () => {
  it("is described with its shards, whose ranges cover the space of hash keys without gap or overlap", async () => {
    const { StreamDescription: found } = await client.send(new DescribeStreamCommand({ StreamARN: ARN }));
    const { Shards = [], ...others } = found ?? {};
    assert.deepEqual(others, {
      EncryptionType: "NONE",
      EnhancedMonitoring: [{ ShardLevelMetrics: [] }],
      HasMoreShards: false,
      RetentionPeriodHours: 168,
      StreamARN: ARN,
      StreamCreationTimestamp: new Date("2026-01-01T00:00:00Z"),
      StreamModeDetails: { StreamMode: "PROVISIONED" },
      StreamName: "orders",
      StreamStatus: "ACTIVE",
    });
    assert.deepEqual(
      Shards.map(({ ShardId }) => ShardId),
      [0, 1, 2, 3, 4].map((partition) => `shardId-00000000000${partition}`),
    );
    const ranges = Shards.map(({ HashKeyRange: range }) => [
      BigInt(range?.StartingHashKey ?? -1),
      BigInt(range?.EndingHashKey ?? -1),
    ]) as [bigint, bigint][];
    assert.equal(ranges[0]?.[0], 0n);
    assert.equal(ranges.at(-1)?.[1], (1n << 128n) - 1n);
    for (const [index, [start]] of ranges.slice(1).entries()) assert.equal(start, (ranges[index]?.[1] ?? 0n) + 1n);
    assert.ok(Shards.every((shard) => shard.SequenceNumberRange?.EndingSequenceNumber === undefined));
  });

  it("is described page by page where that is asked for", async () => {
    const page = { StreamName: "orders", Limit: 2, ExclusiveStartShardId: "shardId-000000000001" };
    const { StreamDescription: found } = await client.send(new DescribeStreamCommand(page));
    assert.deepEqual(
      found?.Shards?.map(({ ShardId }) => ShardId?.at(-1)),
      ["2", "3"],
    );
    assert.equal(found?.HasMoreShards, true);
    const pages: string[] = [];
    for (let token: string | undefined, first = true; first || token !== undefined; first = false) {
      const input = token === undefined ? { StreamName: "orders" } : { NextToken: token };
      const answer: ListShardsCommandOutput = await client.send(new ListShardsCommand({ ...input, MaxResults: 2 }));
      pages.push((answer.Shards ?? []).map(({ ShardId }) => ShardId?.at(-1)).join(""));
      token = answer.NextToken;
    }
    assert.deepEqual(pages, ["01", "23", "4"]);
    const after = { Type: "AFTER_SHARD_ID", ShardId: "shardId-000000000003" } as const;
    const { Shards } = await client.send(new ListShardsCommand({ StreamName: "orders", ShardFilter: after }));
    assert.deepEqual(
      Shards?.map(({ ShardId }) => ShardId),
      ["shardId-000000000004"],
    );
    await assert.rejects(client.send(new ListShardsCommand({ NextToken: "x" })), { name: "ExpiredNextTokenException" });
  });

  it("is summed up", async () => {
    const { StreamDescriptionSummary: found } = await client.send(
      new DescribeStreamSummaryCommand({ StreamName: "orders" }),
    );
    assert.deepEqual(
      [found?.OpenShardCount, found?.ConsumerCount, found?.StreamStatus, found?.MaxRecordSizeInKiB],
      [5, 0, "ACTIVE", 64],
    );
    const { OpenShardCount } = await client.send(new DescribeLimitsCommand({}));
    assert.equal(OpenShardCount, 15);
  });

  it("is listed for keys that have to do with it", async () => {
    const names = async (key: string) => (await kinesis.client(key).send(new ListStreamsCommand({}))).StreamNames;
    assert.deepEqual(await names("QUERY"), ["anything", "app", "orders"]);
    assert.deepEqual(await names("WRITE"), ["app"]);
    const pages: (string[] | undefined)[] = [];
    for await (const { StreamNames } of paginateListStreams({ client }, { Limit: 2 })) pages.push(StreamNames);
    assert.deepEqual(pages, [["anything", "app"], ["orders"]]);
    const described = (StreamName: string) =>
      kinesis.client("WRITE").send(new DescribeStreamSummaryCommand({ StreamName }));
    assert.equal((await described("app")).StreamDescriptionSummary?.StreamName, "app");
    await assert.rejects(described("orders"), { name: "AccessDeniedException" });
  });

  it("that is there cannot be created, and one that is not is to be defined", async () => {
    await assert.rejects(client.send(new CreateStreamCommand({ StreamName: "orders", ShardCount: 1 })), {
      name: "ResourceInUseException",
      message: "Stream orders under account 000000000000 already exists.",
    });
    await assert.rejects(
      client.send(new CreateStreamCommand({ StreamName: "My.Clicks-2" })),
      ({ name, message }) =>
        name === "InvalidArgumentException" &&
        message.includes('export const my_clicks_2 = stream("my_clicks_2", { schema: z.object({ … }) })') &&
        message.includes("names are lower case"),
    );
    await assert.rejects(client.send(new DescribeStreamCommand({ StreamName: "clicks" })), {
      name: "ResourceNotFoundException",
      message: /export const clicks = stream\("clicks"/,
    });
  });

  it("keeps its retention, which a setting says", async () => {
    const change = (hours: number) => ({ StreamName: "orders", RetentionPeriodHours: hours });
    await client.send(new IncreaseStreamRetentionPeriodCommand(change(168)));
    for (const command of [
      new IncreaseStreamRetentionPeriodCommand(change(200)),
      new DecreaseStreamRetentionPeriodCommand(change(24)),
    ]) {
      await assert.rejects(client.send(command), {
        name: "InvalidArgumentException",
        message: /kept for 168 hours.*--retention/,
      });
    }
  });
});

describe("tags of a stream", () => {
  it("are set, replaced, listed and removed, by its name and by its ARN", async () => {
    const StreamName = "orders";
    await client.send(new AddTagsToStreamCommand({ StreamName, Tags: { team: "ops", stage: "test" } }));
    await client.send(new TagResourceCommand({ ResourceARN: ARN, Tags: { stage: "live", cost: "1 %" } }));
    const expected = [
      { Key: "cost", Value: "1 %" },
      { Key: "stage", Value: "live" },
      { Key: "team", Value: "ops" },
    ];
    const { Tags, HasMoreTags } = await client.send(new ListTagsForStreamCommand({ StreamName }));
    assert.deepEqual([Tags, HasMoreTags], [expected, false]);
    const page = await client.send(
      new ListTagsForStreamCommand({ StreamName, Limit: 1, ExclusiveStartTagKey: "cost" }),
    );
    assert.deepEqual([page.Tags, page.HasMoreTags], [[expected[1]], true]);
    await client.send(new RemoveTagsFromStreamCommand({ StreamName, TagKeys: ["team", "nothing"] }));
    await client.send(new UntagResourceCommand({ ResourceARN: ARN, TagKeys: ["cost"] }));
    const left = await client.send(new ListTagsForResourceCommand({ ResourceARN: ARN }));
    assert.deepEqual(left.Tags, [expected[1]]);
  });

  it("are bounded as AWS's are, and are for administrators to set", async () => {
    const StreamName = "app";
    const many = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`k${n}`, "v"]));
    await client.send(new AddTagsToStreamCommand({ StreamName, Tags: many }));
    const add = (Tags: Record<string, string>) => client.send(new AddTagsToStreamCommand({ StreamName, Tags }));
    await assert.rejects(add({ one: "more" }), { name: "LimitExceededException" });
    await add({ k0: "again" });
    await assert.rejects(add({ ["x".repeat(129)]: "v" }), { name: "ValidationException" });
    await assert.rejects(add({ k: "\u{1}" }), { name: "InvalidArgumentException" });
    await assert.rejects(add({}), { name: "ValidationException" });
    await assert.rejects(kinesis.client("QUERY").send(new AddTagsToStreamCommand({ StreamName, Tags: { a: "b" } })), {
      name: "AccessDeniedException",
    });
    const { Tags } = await kinesis.client("QUERY").send(new ListTagsForStreamCommand({ StreamName }));
    assert.equal(Tags?.length, 50);
  });
});

describe("what there is not here", () => {
  const cases: [string, object, RegExp][] = [
    ["SplitShard", { ShardToSplit: "shardId-000000000000", NewStartingHashKey: "1" }, /partitions/],
    [
      "MergeShards",
      { ShardToMerge: "shardId-000000000000", AdjacentShardToMerge: "shardId-000000000001" },
      /partitions/,
    ],
    ["UpdateShardCount", { TargetShardCount: 9, ScalingType: "UNIFORM_SCALING" }, /partitions/],
    ["RegisterStreamConsumer", { ConsumerName: "c" }, /no enhanced fan-out.*GetRecords/],
    ["SubscribeToShard", { ConsumerARN: `${ARN}/consumer/c:1` }, /no enhanced fan-out/],
    ["ListStreamConsumers", {}, /no enhanced fan-out/],
    ["DeleteStream", {}, /take that out of the project/],
    ["StartStreamEncryption", { EncryptionType: "KMS", KeyId: "k" }, /disk's/],
    ["EnableEnhancedMonitoring", { ShardLevelMetrics: ["ALL"] }, /GET \/metrics/],
    ["UpdateStreamMode", {}, /no modes/],
    ["UpdateMaxRecordSize", { MaxRecordSizeInKiB: 2048 }, /maxEventBytes/],
    ["PutResourcePolicy", { Policy: "{}" }, /scopes of keys/],
  ];
  for (const [operation, input, message] of cases) {
    it(`${operation} says so, and what there is instead`, async () => {
      const answer = await kinesis.call(operation, { StreamName: "orders", ...input });
      assert.deepEqual([answer.status, answer.json.__type], [400, "InvalidArgumentException"], answer.text);
      assert.match(answer.json.message, message);
      const unknown = await kinesis.call(operation, { StreamName: "nothing", ...input });
      assert.match(unknown.json.__type, /^(ResourceNotFound|InvalidArgument)Exception$/);
    });
  }
});
