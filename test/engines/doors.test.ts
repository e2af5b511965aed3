/** The servers themselves: what the tests beside this one take for granted of them. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { Admin, type AdminOptions } from "@platformatic/kafka";
import pg from "pg";
import { endpoint } from "../../engines/endpoints.ts";
import { brokerPid, kafkaUp, startBroker, stopBroker } from "../../engines/kafka.ts";
import { makeBucket } from "./s3-bucket.ts";

describe("Kafka", async () => {
  const kafka = await endpoint("kafka");
  const { admin, limited } = kafka.users;
  const ca = readFileSync(kafka.caFile);
  const plain = { bootstrapBrokers: kafka.bootstrap.split(",") };
  const tls = { bootstrapBrokers: kafka.bootstrapTls.split(","), tls: { ca } };
  const saslBrokers = kafka.bootstrapSasl.split(",");
  const sasl = { bootstrapBrokers: saslBrokers, sasl: { mechanism: "PLAIN", ...admin } } as const;
  const scram = {
    bootstrapBrokers: kafka.bootstrapSaslTls.split(","),
    tls: { ca },
    sasl: { mechanism: "SCRAM-SHA-256", ...admin },
  } as const;

  for (const [name, door] of Object.entries({ plain, tls, PLAIN: sasl, "SCRAM over TLS": scram })) {
    it(`has three brokers behind its door: ${name}`, async () => {
      const { brokers } = await asking(door, (client) => client.metadata({ topics: [], forceUpdate: true }));
      assert.deepEqual([...brokers.keys()].sort(), [1, 2, 3]);
    });
  }

  it("refuses a wrong password, and a client that does not know the authority", async () => {
    const wrong = {
      bootstrapBrokers: saslBrokers,
      sasl: { mechanism: "SCRAM-SHA-256", ...admin, password: "wrong" },
    } as const;
    await assert.rejects(
      asking(wrong, (client) => client.metadata({ topics: [] })),
      /Cannot connect/,
    );
    await assert.rejects(
      asking({ ...tls, tls: {} }, (client) => client.metadata({ topics: [] })),
      /Cannot connect/,
    );
  });

  it("lets the limited user see topics that it may, and make none", async () => {
    const own = { bootstrapBrokers: saslBrokers, sasl: { mechanism: "SCRAM-SHA-512", ...limited } } as const;
    const suffix = randomBytes(4).toString("hex");
    const topics = [`allowed-${suffix}`, `closed-${suffix}`];
    await asking(plain, (client) => client.createTopics({ topics, partitions: 1, replicas: 3 }));
    try {
      const seen = await asking(own, (client) => client.listTopics());
      assert.deepEqual(
        seen.filter((name) => topics.includes(name)),
        [`allowed-${suffix}`],
      );
      await assert.rejects(
        asking(own, (client) => client.createTopics({ topics: [`allowed-${suffix}-2`] })),
        /authorization failed/,
      );
    } finally {
      await asking(plain, (client) => client.deleteTopics({ topics }));
    }
  });

  it("goes on without a broker that is killed, and counts it in again", async () => {
    const [, second] = kafka.brokers;
    const before = await brokerPid(kafka, second!.id);
    assert.equal(await stopBroker(kafka, second!.id, "SIGKILL"), true);
    assert.equal(await brokerPid(kafka, second!.id), undefined);
    try {
      const topics = [`without-${randomBytes(4).toString("hex")}`];
      await asking(plain, (client) => client.createTopics({ topics, partitions: 3, replicas: 2 }));
      await asking(plain, (client) => client.deleteTopics({ topics }));
    } finally {
      await startBroker(kafka, second!.id);
    }
    assert.notEqual(await brokerPid(kafka, second!.id), before);
    const pids = await Promise.all(kafka.brokers.map(({ id }) => brokerPid(kafka, id)));
    assert.deepEqual(await kafkaUp(kafka), kafka, "up again changes nothing");
    assert.deepEqual(await Promise.all(kafka.brokers.map(({ id }) => brokerPid(kafka, id))), pids);
  });
});

describe("S3", () => {
  it("lets one of many win who put the same new name at once, whole or in parts", async (t) => {
    const { bucket, client } = await makeBucket(t);
    for (let round = 0; round < 20; round++) {
      const Key = `race/${round}`;
      const wholes = Array.from({ length: 6 }, (_, index) => () => putNew(client, bucket, Key, 65 + index));
      const inParts = await Promise.all([75, 76].map((byte) => uploadNew(client, bucket, Key, byte)));
      const winners = (await Promise.all([...wholes, ...inParts].map((put) => put()))).filter(
        (byte) => byte !== undefined,
      );
      assert.equal(winners.length, 1, `round ${round}`);
      const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key }));
      const stored = await Body!.transformToByteArray();
      assert.ok(
        stored.every((byte) => byte === winners[0]),
        "what is stored is the winner's",
      );
    }
  });
});

describe("PostgreSQL", () => {
  it("answers at its URL, and asks for the password", async () => {
    const { url, password } = await endpoint("postgres");
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    const { rows } = await client.query("select current_setting('fsync') as fsync");
    await client.end();
    assert.deepEqual(rows, [{ fsync: "on" }]);
    const wrong = new pg.Client({ connectionString: url.replace(password, "wrong") });
    await assert.rejects(wrong.connect(), /password authentication failed/);
  });
});

async function asking<T>(options: Omit<AdminOptions, "clientId">, ask: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = new Admin({ clientId: "millrace-test", retries: 5, ...options });
  try {
    return await ask(admin);
  } finally {
    await admin.close();
  }
}

/** The byte that it stored, if it won. */
async function putNew(client: S3Client, Bucket: string, Key: string, byte: number): Promise<number | undefined> {
  return unlessThere(
    byte,
    client.send(new PutObjectCommand({ Bucket, Key, Body: Buffer.alloc(1_000, byte), IfNoneMatch: "*" })),
  );
}

/** Everything but the last step of an upload in parts, which is what it returns. */
async function uploadNew(
  client: S3Client,
  Bucket: string,
  Key: string,
  byte: number,
): Promise<() => Promise<number | undefined>> {
  const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
  const part = { Bucket, Key, UploadId, PartNumber: 1 };
  const { ETag } = await client.send(new UploadPartCommand({ ...part, Body: Buffer.alloc(1_000, byte) }));
  const whole = { MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] }, IfNoneMatch: "*" };
  return () => unlessThere(byte, client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, ...whole })));
}

async function unlessThere(byte: number, put: Promise<unknown>): Promise<number | undefined> {
  try {
    await put;
    return byte;
  } catch (error) {
    if ((error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode !== 412) throw error;
    return undefined;
  }
}
