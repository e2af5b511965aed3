import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { AclOperations, AclPermissionTypes, Admin, ResourcePatternTypes, ResourceTypes } from "@platformatic/kafka";
import { runFolder } from "./cache.ts";
import type { Credentials, KafkaBroker, KafkaEndpoint } from "./endpoints.ts";
import { freePort } from "./free-port.ts";
import { certify } from "./kafka-certificates.ts";
import { brokerProperties } from "./kafka-properties.ts";
import { mavenJars } from "./packages.ts";
import { runCommand } from "./run-command.ts";
import { launch, running, type ServerProcess, stop, untilReady, writeWhole } from "./server-process.ts";
import { VERSIONS } from "./versions.ts";

/**
 * A cluster of three brokers (KRaft; each a controller as well), each a process of its own, so that one can be killed and started again.
 *
 *     run/kafka/tls/               certificates
 *     run/kafka/broker-<id>/       server.properties, data/, server.log, process.json
 */
const BROKERS = 3;
/** A broker of few topics needs half of it; what it caches beside is the system's page cache. */
const HEAP = "320m";
/** Three at once on two busy cores have taken 25 s. */
const START_WITHIN_MS = 120_000;

/** Starts what does not run of the cluster: all of it, or the brokers that were killed. */
export async function kafkaUp(before: KafkaEndpoint | undefined): Promise<KafkaEndpoint> {
  const endpoint = before ?? (await plan());
  await Promise.all(endpoint.brokers.map((broker) => formatBroker(endpoint, broker)));
  for (const broker of endpoint.brokers) {
    if ((await running(brokerProcess(broker))) === undefined) await launchBroker(endpoint, broker);
  }
  for (const broker of endpoint.brokers) {
    await untilReady(brokerProcess(broker), START_WITHIN_MS, () => hasJoined(endpoint, broker.id));
  }
  await permit(endpoint);
  return endpoint;
}

/** Ends all brokers and forgets what they hold. */
export async function kafkaDown(): Promise<void> {
  await Promise.all(brokerIds().map((id) => stop(brokerProcess({ id, folder: brokerFolder(id) }))));
  await rm(runFolder("kafka"), { recursive: true, force: true });
}

/** The servers of the cluster by name, and the process of each that runs. */
export async function kafkaProcesses(): Promise<{ name: string; pid: number | undefined }[]> {
  const servers = brokerIds().map((id) => brokerProcess({ id, folder: brokerFolder(id) }));
  return Promise.all(servers.map(async (server) => ({ name: server.name, pid: (await running(server))?.pid })));
}

/** The number of a broker's process, for chaos (SIGSTOP, for example); undefined when it does not run. */
export async function brokerPid(endpoint: KafkaEndpoint, id: number): Promise<number | undefined> {
  return (await running(brokerProcess(brokerOf(endpoint, id))))?.pid;
}

/** Stops one broker: SIGTERM hands its partitions over first, SIGKILL is a crash. True when it ran. */
export function stopBroker(
  endpoint: KafkaEndpoint,
  id: number,
  signal: "SIGTERM" | "SIGKILL" = "SIGTERM",
): Promise<boolean> {
  return stop(brokerProcess(brokerOf(endpoint, id)), { signal, graceMs: 60_000 });
}

/** Starts one broker with its old data and ports, where it does not run, and waits until the cluster counts it in. */
export async function startBroker(endpoint: KafkaEndpoint, id: number): Promise<void> {
  const broker = brokerOf(endpoint, id);
  const server = brokerProcess(broker);
  if ((await running(server)) === undefined) await launchBroker(endpoint, broker);
  await untilReady(server, START_WITHIN_MS, () => hasJoined(endpoint, id));
}

async function plan(): Promise<KafkaEndpoint> {
  const jars = await kafkaJars();
  const brokers: KafkaBroker[] = [];
  for (const id of brokerIds()) {
    const ports = {
      plain: await freePort(),
      controller: await freePort(),
      tls: await freePort(),
      sasl: await freePort(),
      saslTls: await freePort(),
    };
    brokers.push({ id, folder: brokerFolder(id), ports });
  }
  const bootstrap = (door: keyof KafkaBroker["ports"]) =>
    brokers.map(({ ports }) => `127.0.0.1:${ports[door]}`).join(",");
  const password = () => randomBytes(12).toString("hex");
  return {
    // 16 bytes, as Kafka's own ids are.
    clusterId: randomBytes(16).toString("base64url"),
    brokers,
    bootstrap: bootstrap("plain"),
    bootstrapTls: bootstrap("tls"),
    bootstrapSasl: bootstrap("sasl"),
    bootstrapSaslTls: bootstrap("saslTls"),
    caFile: await certify(runFolder("kafka", "tls")),
    users: {
      admin: { username: "admin", password: password() },
      limited: { username: "limited", password: password() },
    },
    jars,
  };
}

async function kafkaJars(): Promise<string> {
  const { kafka, slf4j } = VERSIONS;
  // The server finds its log library only if one is there: this one writes to the standard error, hence to server.log.
  const artefacts = [
    `org.apache.kafka:kafka_2.13:${kafka}`,
    `org.apache.kafka:kafka-tools:${kafka}`,
    `org.slf4j:slf4j-simple:${slf4j}`,
  ];
  return join(await mavenJars(`kafka-${kafka}`, artefacts), "jars");
}

/** Writes the broker's settings and gives its data folder the cluster's id and users, once. */
async function formatBroker(endpoint: KafkaEndpoint, broker: KafkaBroker): Promise<void> {
  if (existsSync(join(broker.folder, "data", "meta.properties"))) return;
  await mkdir(broker.folder, { recursive: true });
  const settings = join(broker.folder, "server.properties");
  await writeWhole(settings, brokerProperties(endpoint, broker, runFolder("kafka", "tls")));
  const scram = (mechanism: string, { username, password }: Credentials) => [
    "--add-scram",
    `${mechanism}=[name=${username},password=${password}]`,
  ];
  const { admin, limited } = endpoint.users;
  const users = [admin, limited].flatMap((user) => [...scram("SCRAM-SHA-256", user), ...scram("SCRAM-SHA-512", user)]);
  const format = ["kafka.tools.StorageTool", "format", "-t", endpoint.clusterId, "-c", settings, ...users];
  await runCommand(["java", "-Xmx128m", "-cp", join(endpoint.jars, "*"), ...format], {
    withinMs: START_WITHIN_MS,
    next: "npm run engines:down, then up again, begins with empty data",
  });
}

async function launchBroker(endpoint: KafkaEndpoint, broker: KafkaBroker): Promise<void> {
  const heap = [`-Xmx${HEAP}`, `-Xms${HEAP}`, "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"];
  const logging = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"];
  const settings = join(broker.folder, "server.properties");
  await launch(
    brokerProcess(broker),
    ["java", ...heap, ...logging, "-cp", join(endpoint.jars, "*"), "kafka.Kafka", settings],
    { cwd: broker.folder },
  );
}

/** The broker answers, and the cluster has it among its own. */
async function hasJoined({ brokers }: KafkaEndpoint, id: number): Promise<boolean> {
  const { ports } = brokers.find((broker) => broker.id === id)!;
  return withAdmin([`127.0.0.1:${ports.plain}`], async (admin) => {
    const { brokers } = await admin.metadata({ topics: [], forceUpdate: true });
    return brokers.has(id);
  });
}

/** Gives the limited user its few rights. Rights that are there already are no error. */
async function permit(endpoint: KafkaEndpoint): Promise<void> {
  await withAdmin(endpoint.bootstrap.split(","), async (admin) => {
    const principal = `User:${endpoint.users.limited.username}`;
    const right = (kind: "TOPIC" | "GROUP", operation: "READ" | "WRITE" | "DESCRIBE") => ({
      resourceType: ResourceTypes[kind],
      resourceName: "allowed-",
      resourcePatternType: ResourcePatternTypes.PREFIXED,
      principal,
      host: "*",
      operation: AclOperations[operation],
      permissionType: AclPermissionTypes.ALLOW,
    });
    const topics = (["READ", "WRITE", "DESCRIBE"] as const).map((operation) => right("TOPIC", operation));
    const groups = (["READ", "DESCRIBE"] as const).map((operation) => right("GROUP", operation));
    await admin.createAcls({ creations: [...topics, ...groups] });
  });
}

async function withAdmin<T>(bootstrapBrokers: string[], work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = new Admin({
    clientId: "millrace-engines",
    bootstrapBrokers,
    retries: 3,
    connectTimeout: 3_000,
    timeout: 10_000,
  });
  try {
    return await work(admin);
  } finally {
    await admin.close();
  }
}

function brokerOf(endpoint: KafkaEndpoint, id: number): KafkaBroker {
  const broker = endpoint.brokers.find((broker) => broker.id === id);
  if (broker === undefined) throw new RangeError(`broker ${id}; there are ${brokerIds().join(", ")}`);
  return broker;
}

function brokerProcess({ id, folder }: { readonly id: number; readonly folder: string }): ServerProcess {
  return { name: `kafka broker ${id}`, folder };
}

function brokerIds(): number[] {
  return Array.from({ length: BROKERS }, (_, index) => index + 1);
}

function brokerFolder(id: number): string {
  return runFolder("kafka", `broker-${id}`);
}
