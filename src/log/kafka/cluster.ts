/**
 * The brokers of a Kafka cluster as this process sees them: connections to each, which broker leads which partition, and what of it
 * has changed. Nothing here knows of events.
 */
import { setTimeout as sleep } from "node:timers/promises";
import {
  apiVersionsV3,
  Connection,
  createPartitionsV3,
  createTopicsV7,
  fetchV12,
  findCoordinatorV4,
  initProducerIdV4,
  joinGroupV9,
  listOffsetsV6,
  metadataV12,
  produceV9,
  syncGroupV5,
} from "@platformatic/kafka";
import { MillraceError } from "../../errors.ts";
import type { ConnectSettings } from "./connect-settings.ts";
import { answerOf, BrokerRefusal, connectFailure, passes, refusalName } from "./failures.ts";

export interface TopicView {
  readonly id: string;
  /** By partition. */
  readonly partitions: readonly PartitionView[];
}

export interface PartitionView {
  /** -1 while there is none. */
  readonly leader: number;
  readonly leaderEpoch: number;
  readonly replicas: number;
  readonly inSync: number;
}

/** Longest a broker may take for an answer that does not wait for anything by itself. */
const REQUEST_TIMEOUT_MS = 8_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** Members of a group wait for each other, for a minute at most. */
const GROUP_TIMEOUT_MS = 75_000;
/** Between two looks at the cluster while a caller waits for a leader. */
const RETRY_MS = 100;

export class Cluster {
  readonly settings: ConnectSettings;
  readonly #connections = new Map<string, Promise<Connection>>();
  /** Topics that are of interest. */
  readonly #wanted = new Set<string>();
  #brokers = new Map<number, { readonly host: string; readonly port: number }>();
  #topics = new Map<string, TopicView | BrokerRefusal>();
  #refreshing: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #turn = 0;
  #closed = false;
  #unreachable: Error | undefined;
  id = "";
  #controller = -1;

  constructor(settings: ConnectSettings) {
    this.settings = settings;
  }

  /** Meets the cluster. @throws KAFKA_UNREACHABLE, KAFKA_CREDENTIALS, KAFKA_TLS, KAFKA_TOO_OLD */
  static async connect(settings: ConnectSettings): Promise<Cluster> {
    const cluster = new Cluster(settings);
    try {
      await cluster.refresh();
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  /** What keeps the cluster from being asked; undefined when the last look worked. */
  get unreachable(): Error | undefined {
    return this.#unreachable;
  }

  get brokerCount(): number {
    return this.#brokers.size;
  }

  hasBroker(broker: number): boolean {
    return this.#brokers.has(broker);
  }

  /** What is known of a topic; undefined before it was asked for. */
  topic(name: string): TopicView | BrokerRefusal | undefined {
    return this.#topics.get(name);
  }

  leader(topic: string, partition: number): number | undefined {
    const view = this.#topics.get(topic);
    if (view === undefined || view instanceof BrokerRefusal) return undefined;
    const leader = view.partitions[partition]?.leader ?? -1;
    return leader >= 0 && this.#brokers.has(leader) ? leader : undefined;
  }

  /** Looks at the topic from now on. */
  want(topic: string): void {
    this.#wanted.add(topic);
  }

  /** Looks at the cluster; a look that began after the call. */
  refresh(): Promise<void> {
    if (!this.#refreshing) {
      this.#refreshing = this.#look().finally(() => {
        this.#refreshing = undefined;
      });
      return this.#refreshing;
    }
    this.#next ??= this.#refreshing
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        return this.refresh();
      });
    return this.#next;
  }

  /** A connection to a broker; each lane has its own, because a broker answers one request of a connection after the other. */
  connection(broker: number, lane: string): Promise<Connection> {
    const at = this.#brokers.get(broker);
    if (!at) return Promise.reject(new BrokerRefusal("BROKER_NOT_AVAILABLE", `broker ${broker} is not there`));
    return this.#connect(`${broker}@${at.host}:${at.port}/${lane}`, at.host, at.port, lane);
  }

  /** A connection to any broker. @throws what the last one that was tried said */
  async any(lane: string): Promise<Connection> {
    const known = [...this.#brokers.values()].map(({ host, port }) => `${host}:${port}`);
    const candidates = [...new Set([...known, ...this.settings.brokers])];
    const first = this.#turn;
    let failure: unknown;
    for (let i = 0; i < candidates.length; i++) {
      const address = candidates[(first + i) % candidates.length] as string;
      const { host, port } = parseAddress(address);
      try {
        return await this.#connect(`${address}/${lane}`, host, port, lane);
      } catch (error) {
        failure = error;
        // Wrong credentials at one broker would be wrong at all of them, and may lock the user out.
        if (error instanceof MillraceError && !error.retryable) break;
        this.#turn = first + i + 1;
      }
    }
    throw failure;
  }

  /** The broker that takes changes of topics. */
  async controller(lane: string): Promise<Connection> {
    return this.#brokers.has(this.#controller) ? this.connection(this.#controller, lane) : this.any(lane);
  }

  /** Tries again while what fails can pass, looking at the cluster in between, until `deadline` (of `performance.now`). */
  async retry<T>(deadline: number, attempt: () => Promise<T>): Promise<T> {
    for (let pause = RETRY_MS; ; pause = Math.min(pause * 2, 1_000)) {
      try {
        return await attempt();
      } catch (error) {
        if (this.#closed) throw new MillraceError("SHUTTING_DOWN");
        if (!passes(error) || performance.now() + pause > deadline) throw error;
        await sleep(pause);
        await this.refresh().catch(() => undefined); // the attempt fails again then, and says why
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const connections = await Promise.allSettled(this.#connections.values());
    this.#connections.clear();
    await Promise.all(
      connections.map((outcome) => (outcome.status === "fulfilled" ? outcome.value.close() : undefined)),
    );
  }

  async #look(): Promise<void> {
    try {
      const topics = [...this.#wanted];
      const connection = await this.any("metadata");
      const answer = await answerOf(metadataV12.api.async(connection, topics, false, false)).catch((error: unknown) => {
        this.#turn++;
        throw this.#unspoken(error);
      });
      this.id = answer.clusterId ?? "";
      this.#controller = answer.controllerId;
      this.#brokers = new Map(answer.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]));
      for (const topic of answer.topics) {
        const { name, errorCode } = topic;
        if (name) this.#topics.set(name, errorCode === 0 ? viewOf(topic) : new BrokerRefusal(refusalName(errorCode)));
      }
      this.#unreachable = undefined;
    } catch (error) {
      this.#unreachable = error as Error;
      throw error;
    }
  }

  /** A broker that wants credentials closes the connection at the first request that comes without them. */
  #unspoken(error: unknown): unknown {
    if (this.settings.sasl || !/Connection closed/.test((error as Error).message)) return error;
    const broker = this.settings.brokers.join(",");
    const reason = "it closes connections that bring none, or it is not a Kafka broker";
    return this.#brokers.size > 0
      ? error
      : new MillraceError("KAFKA_CREDENTIALS", { broker, reason }, { cause: error });
  }

  #connect(key: string, host: string, port: number, lane: string): Promise<Connection> {
    if (this.#closed) return Promise.reject(new MillraceError("SHUTTING_DOWN"));
    let connecting = this.#connections.get(key);
    if (!connecting) {
      connecting = this.#open(host, port, lane, () => {
        if (this.#connections.get(key) === connecting) this.#connections.delete(key);
      });
      this.#connections.set(key, connecting);
    }
    return connecting;
  }

  async #open(host: string, port: number, lane: string, gone: () => void): Promise<Connection> {
    const { sasl, tls, clientId } = this.settings;
    const connection = new Connection(clientId, {
      connectTimeout: CONNECT_TIMEOUT_MS,
      requestTimeout: lane.startsWith("group/") ? GROUP_TIMEOUT_MS : REQUEST_TIMEOUT_MS,
      maxInflights: 16,
      ...(sasl && { sasl: { ...sasl } }),
      ...(tls && {
        tls: { ...(tls.ca && { ca: tls.ca }), ...(tls.cert && { cert: tls.cert }), ...(tls.key && { key: tls.key }) },
      }),
    });
    connection.on("error", gone);
    connection.on("close", gone);
    try {
      await connection.connect(host, port);
      await refuseOld(connection, `${host}:${port}`);
      return connection;
    } catch (error) {
      gone();
      connection.close().catch(() => undefined); // it never came about
      throw connectFailure(error, `${host}:${port}`, this.settings);
    }
  }
}

/** The versions that are spoken. All of them are known since Kafka 3.2. */
const SPOKEN = [
  ["produce", produceV9.api],
  ["fetch", fetchV12.api],
  ["list offsets", listOffsetsV6.api],
  ["metadata", metadataV12.api],
  ["find coordinator", findCoordinatorV4.api],
  ["join group", joinGroupV9.api],
  ["sync group", syncGroupV5.api],
  ["create topics", createTopicsV7.api],
  ["create partitions", createPartitionsV3.api],
  ["init producer id", initProducerIdV4.api],
] as const;

async function refuseOld(connection: Connection, broker: string): Promise<void> {
  const { errorCode, apiKeys } = await answerOf(apiVersionsV3.api.async(connection, "millrace", "1"));
  const spoken = new Map(apiKeys.map((api) => [api.apiKey, api]));
  const unknown = SPOKEN.find(([, { key, version }]) => {
    const range = spoken.get(key);
    return !range || range.minVersion > version || range.maxVersion < version;
  });
  if (errorCode === 0 && !unknown) return;
  const what = unknown ? `${unknown[0]} version ${unknown[1].version}` : "the request for its versions";
  throw new MillraceError("KAFKA_TOO_OLD", { broker, what });
}

function viewOf(topic: {
  topicId: string;
  partitions: readonly {
    partitionIndex: number;
    leaderId: number;
    leaderEpoch: number;
    replicaNodes: readonly number[];
    isrNodes: readonly number[];
  }[];
}): TopicView {
  const partitions: PartitionView[] = [];
  for (const { partitionIndex, leaderId, leaderEpoch, replicaNodes, isrNodes } of topic.partitions)
    partitions[partitionIndex] = {
      leader: leaderId,
      leaderEpoch,
      replicas: replicaNodes.length,
      inSync: isrNodes.length,
    };
  return { id: topic.topicId, partitions };
}

/** `host:port`, `[::1]:port`; 9092 where no port is given. */
export function parseAddress(address: string): { host: string; port: number } {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(address.trim()) ?? [];
  return { host: bracketed ?? plain ?? "", port: port === undefined ? 9092 : Number(port) };
}
