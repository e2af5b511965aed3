/**
 * Workers that are told something wrong, or from whom something is taken away while they run: each is told by its setting, nothing is acknowledged that is
 * not stored, and what is put right works without a restart (`npm run engines:up -- kafka s3 postgres`). What brokers and bucket refuse one by one is in
 * kafka-errors.test.ts and s3-store.test.ts.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { AclOperations, AclPermissionTypes, Admin, ResourcePatternTypes, ResourceTypes } from "@platformatic/kafka";
import pg from "pg";
import { endpoint, type KafkaEndpoint } from "../../engines/endpoints.ts";
import { RunningCluster, type RunningWorker, until } from "./running-cluster.ts";

const PROJECT = "test/engines/projects/clicks";

describe("a start that cannot work", { concurrency: false }, () => {
  let cluster: RunningCluster;
  let kafka: KafkaEndpoint;
  let starts = 0;
  before(async () => {
    kafka = await endpoint("kafka");
    cluster = await RunningCluster.open(PROJECT, { MILLRACE_STORE_TIMEOUT_MS: "2s" });
    const first = await cluster.start("first", "gateway,flow,serve");
    await first.post("clicks", clicks(0, 8));
    await until(async () => (await first.ledger()).hops.every(({ pending }) => pending === 0), "all of it is stored");
    assert.equal(await first.stop(), 0, first.errors);
  });
  after(() => cluster?.close());

  /** A gateway is told of all three servers, and starts soonest. */
  const refused = (env: Readonly<Record<string, string>>, ...says: readonly RegExp[]) =>
    refusedAs("gateway", env, says);
  const refusedAs = async (role: string, env: Readonly<Record<string, string>>, says: readonly RegExp[]) => {
    // Each with a folder of its own, which remembers where its tables are.
    const start = cluster.start(`second-${++starts}`, role, env);
    await assert.rejects(start, (error: Error) => {
      assert.match(error.message, /ended with 1 before it was ready/);
      for (const one of says) assert.match(error.message, one);
      return true;
    });
  };

  test("names the setting, whichever of the three servers it cannot have", async () => {
    const sasl = { MILLRACE_KAFKA_BROKERS: kafka.bootstrapSasl, MILLRACE_KAFKA_SASL: "scram-sha-512" };
    await refused({ MILLRACE_KAFKA_BROKERS: "127.0.0.1:1" }, /127\.0\.0\.1:1/, /kafkaBrokers/);
    await refused({ ...sasl, MILLRACE_KAFKA_USER: "admin", MILLRACE_KAFKA_PASSWORD: "wrong" }, /kafkaPassword/);
    const { username, password } = kafka.users.limited;
    const limited = { ...sasl, MILLRACE_KAFKA_USER: username, MILLRACE_KAFKA_PASSWORD: password };
    await refused(limited, /does not let user "limited"/, /kafkaUser/);
    await refused(
      { MILLRACE_STORE_URL: "s3://millrace-no-such-bucket" },
      /no bucket "millrace-no-such-bucket"/,
      /storeUrl/,
    );
    await refused({ MILLRACE_S3_SECRET_ACCESS_KEY: "wrong" }, /credentials/, /s3SecretAccessKey/);
    await refused({ MILLRACE_S3_ENDPOINT: "http://127.0.0.1:1" }, /ECONNREFUSED/, /s3Endpoint/);
    const url = new URL(cluster.env["MILLRACE_POSTGRES_URL"] as string);
    url.password = "wrong";
    await refused({ MILLRACE_POSTGRES_URL: url.href }, /password authentication failed/, /postgresUrl/);
    await refused({ MILLRACE_POSTGRES_URL: "postgres://x:y@127.0.0.1:1/z" }, /ECONNREFUSED/, /postgresUrl/);
  });

  test("says whose the lake is, and which format the others have", async () => {
    await refused({ MILLRACE_KAFKA_TOPIC_PREFIX: `${cluster.database}-other.` }, /belongs to the log/);
    await cluster.records(`insert into millrace.workers (id, incarnation, roles, url, version, format)
      values ('newer', gen_random_uuid(), '{flow}', '', '9.0.0', 2)`);
    await refused({}, /worker newer.* has format 2; this release reads and writes format 1/);
    await cluster.records("delete from millrace.workers where id = 'newer'");
  });

  test("tells of a topic that has fewer partitions than before, and is none once that is as it was", async () => {
    const name = `${cluster.env["MILLRACE_KAFKA_TOPIC_PREFIX"]}clicks`;
    await withAdmin(kafka, async (admin) => {
      await admin.deleteTopics({ topics: [name] });
      await until(async () => !(await admin.listTopics()).includes(name), "the topic has gone");
      await admin.createTopics({ topics: [name], partitions: 2, replicas: 3 });
    });
    await refusedAs("gateway,flow", { MILLRACE_PARTITIONS: "2" }, [/clicks/, /fewer partitions/]);
  });
});

describe("what is taken away from workers that run", { concurrency: false }, () => {
  const role = `r${randomBytes(5).toString("hex")}`;
  const prefix = `allowed-${role}.`;
  let cluster: RunningCluster;
  let kafka: KafkaEndpoint;
  let worker: RunningWorker;
  let sent = 0;
  before(async () => {
    kafka = await endpoint("kafka");
    const { url } = await endpoint("postgres");
    await inDatabase(url, `create role ${role} login superuser password 'first'`);
    const own = new URL(url);
    own.username = role;
    own.password = "first";
    cluster = await RunningCluster.open(PROJECT, { MILLRACE_KAFKA_TOPIC_PREFIX: prefix });
    // Somebody with all rights makes the topics.
    const maker = await cluster.start("maker", undefined);
    assert.equal(await maker.stop(), 0, maker.errors);
    own.pathname = new URL(cluster.env["MILLRACE_POSTGRES_URL"] as string).pathname;
    const { username, password } = kafka.users.limited;
    worker = await cluster.start("worker", undefined, {
      ...{ MILLRACE_KAFKA_BROKERS: kafka.bootstrapSasl, MILLRACE_KAFKA_SASL: "scram-sha-512" },
      ...{ MILLRACE_KAFKA_USER: username, MILLRACE_KAFKA_PASSWORD: password, MILLRACE_POSTGRES_URL: own.href },
    });
  });
  after(async () => {
    await cluster?.close();
    await inDatabase((await endpoint("postgres")).url, `drop role if exists ${role}`);
  });

  const send = async (count: number) => {
    const events = clicks(sent, count);
    sent += count;
    await worker.post("clicks", events);
  };
  const readiness = () =>
    worker.json<{ checks: Record<string, { ok: boolean; message?: string } | undefined> }>("/readyz");
  const says = (check: string, what: RegExp, status: number) =>
    until(async () => {
      const answer = await readiness();
      return answer.status === status && what.test(answer.body.checks[check]?.message ?? "");
    }, `/readyz says of ${check}: ${what}`);
  const isWhole = async () => {
    await until(
      async () => {
        const { status, body } = await readiness();
        return status === 200 && Object.values(body.checks).every((check) => check?.message === undefined);
      },
      () => `it is ready; it says: ${worker.errors.slice(-2_000)}`,
    );
    await send(5);
    assert.deepEqual(await worker.sql("select count(*)::integer, count(distinct click_id)::integer from clicks"), [
      [sent, sent],
    ]);
  };

  test("the right to write: 503 with the right that lacks, and events again once it is given back", async () => {
    await send(5);
    const denial = {
      ...{
        resourceType: ResourceTypes.TOPIC,
        resourceName: prefix,
        resourcePatternType: ResourcePatternTypes.PREFIXED,
      },
      ...{ principal: `User:${kafka.users.limited.username}`, host: "*" },
      ...{ operation: AclOperations.WRITE, permissionType: AclPermissionTypes.DENY },
    };
    const unsure = clicks(sent, 1);
    sent += 1;
    await withAdmin(kafka, (admin) => admin.createAcls({ creations: [denial] }));
    try {
      await until(async () => {
        const { status, body } = await worker.json<{ error?: { code: string; message: string } }>(
          "/v1/streams/clicks/events",
          unsure[0],
        );
        if (status === 202) return false; // the brokers have not heard of it yet; the event has an id
        assert.deepEqual([status, body.error?.code], [503, "LOG_UNAVAILABLE"]);
        assert.match(body.error?.message ?? "", /does not let user "limited" write topic/);
        return true;
      }, "nothing is acknowledged any more");
      await says("log", /clicks/, 503);
    } finally {
      await withAdmin(kafka, (admin) => admin.deleteAcls({ filters: [denial] }));
    }
    await worker.post("clicks", unsure);
    await isWhole();
  });

  test("the password at PostgreSQL: degraded with the reason, events go on, and all is well once it is right again", async () => {
    const { url } = await endpoint("postgres");
    await inDatabase(url, `alter role ${role} password 'second'`);
    await inDatabase(url, `select pg_terminate_backend(pid) from pg_stat_activity where usename = '${role}'`);
    await says("records", /degraded: .*password authentication failed/, 200);
    await send(5);
    await inDatabase(url, `alter role ${role} password 'first'`);
    await isWhole();
  });
});

function clicks(from: number, count: number) {
  return Array.from({ length: count }, (_, i) => ({
    ...{ click_id: `c${from + i}`, user: `user-${(from + i) % 7}`, at: new Date().toISOString(), n: from + i },
  }));
}

async function withAdmin<T>(kafka: KafkaEndpoint, work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = new Admin({ clientId: "millrace-test", bootstrapBrokers: kafka.bootstrap.split(",") });
  try {
    return await work(admin);
  } finally {
    await admin.close();
  }
}

async function inDatabase(url: string, sql: string): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
