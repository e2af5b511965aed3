/** The topic of a stream: made when it is missing, looked at when it is there. */
import { createPartitionsV3, createTopicsV7, describeConfigsV4 } from "@platformatic/kafka";
import { MillraceError } from "../../errors.ts";
import type { Cluster, TopicView } from "./cluster.ts";
import { answerOf, BrokerRefusal, check, denied, refusalName } from "./failures.ts";

export interface TopicOptions {
  readonly stream: string;
  readonly topic: string;
  /** At least as many; a topic with fewer is given more. */
  readonly partitions: number;
  /** Of a topic that has to be made. */
  readonly replication: number;
  /** Largest record batch of a topic that has to be made. */
  readonly maxMessageBytes: number;
  /** Hears what of a topic that was there could lose events. */
  readonly warn: (warning: string) => void;
}

export interface Topic {
  readonly name: string;
  readonly id: string;
  readonly partitions: number;
  /** undefined where this process may not look. */
  readonly maxMessageBytes: number | undefined;
  readonly minInSync: number;
  /** True when Kafka removes nothing by itself, so that released events are removed from here. */
  readonly keepsAll: boolean;
}

const TOPIC_TIMEOUT_MS = 15_000;
const CHANGE_TIMEOUT_MS = 5_000;

/** Opens a topic. @throws KAFKA_TOPIC_UNFIT, KAFKA_NOT_ALLOWED; KAFKA_UNREACHABLE when it does not come about in time */
export async function openTopic(cluster: Cluster, options: TopicOptions): Promise<Topic> {
  const { topic } = options;
  cluster.want(topic);
  const deadline = performance.now() + TOPIC_TIMEOUT_MS;
  let made = false;
  let view: TopicView;
  try {
    view = await cluster.retry(deadline, async () => {
      await cluster.refresh();
      const found = cluster.topic(topic);
      if (found instanceof BrokerRefusal && found.refusal === "UNKNOWN_TOPIC_OR_PARTITION" && !made) {
        await makeTopic(cluster, options);
        made = true;
      }
      if (found === undefined || found instanceof BrokerRefusal)
        throw found ?? new BrokerRefusal("LEADER_NOT_AVAILABLE");
      if (found.partitions.length < options.partitions) {
        await addPartitions(cluster, topic, options.partitions);
        throw new BrokerRefusal("LEADER_NOT_AVAILABLE", "partitions were added");
      }
      if (found.partitions.some(({ leader }) => leader < 0)) throw new BrokerRefusal("LEADER_NOT_AVAILABLE");
      return found;
    });
  } catch (error) {
    throw opening(error, cluster, options);
  }
  const configs = await configsOf(cluster, topic);
  return { ...judged(configs, view, options), name: topic, id: view.id, partitions: view.partitions.length };
}

async function makeTopic(
  cluster: Cluster,
  { topic, partitions, replication, maxMessageBytes }: TopicOptions,
): Promise<void> {
  const configs = [
    ["cleanup.policy", "delete"],
    // Nothing is removed before every consumer has stored it: what is released is removed from here.
    ["retention.ms", "-1"],
    ["retention.bytes", "-1"],
    // Every reader sees the same time of arrival.
    ["message.timestamp.type", "LogAppendTime"],
    ["max.message.bytes", String(maxMessageBytes)],
    ["min.insync.replicas", replication >= 3 ? "2" : "1"],
    ["unclean.leader.election.enable", "false"],
  ].map(([name, value]) => ({ name: name as string, value: value as string }));
  const connection = await cluster.controller("control");
  const wanted = { name: topic, numPartitions: partitions, replicationFactor: replication, assignments: [], configs };
  const { topics } = await answerOf(createTopicsV7.api.async(connection, [wanted], CHANGE_TIMEOUT_MS, false));
  const [answer] = topics;
  // Another process may have made it in the same moment.
  if (answer && refusalName(answer.errorCode) !== "TOPIC_ALREADY_EXISTS") check(answer.errorCode, answer.errorMessage);
}

async function addPartitions(cluster: Cluster, topic: string, count: number): Promise<void> {
  const connection = await cluster.controller("control");
  const wanted = [{ name: topic, count, assignments: null }];
  const { results } = await answerOf(createPartitionsV3.api.async(connection, wanted, CHANGE_TIMEOUT_MS, false));
  const [answer] = results;
  // Another process may have added them in the same moment; then there are as many, which the next look shows.
  if (answer && refusalName(answer.errorCode) !== "INVALID_PARTITIONS") check(answer.errorCode, answer.errorMessage);
}

const TOPIC_RESOURCE = 2;

async function configsOf(cluster: Cluster, topic: string): Promise<ReadonlyMap<string, string>> {
  const connection = await cluster.any("control");
  const configurationKeys = [
    "cleanup.policy",
    "retention.ms",
    "retention.bytes",
    "max.message.bytes",
    "min.insync.replicas",
    "unclean.leader.election.enable",
  ];
  const wanted = [{ resourceType: TOPIC_RESOURCE, resourceName: topic, configurationKeys }] as const;
  const { results } = await answerOf(describeConfigsV4.api.async(connection, [...wanted], false, false));
  // Who may not look goes without: the brokers refuse what is too large all the same.
  return new Map((results[0]?.configs ?? []).map(({ name, value }) => [name, value ?? ""]));
}

/** What the settings of the topic mean for events that were acknowledged. */
function judged(
  configs: ReadonlyMap<string, string>,
  view: TopicView,
  { stream, topic, warn }: TopicOptions,
): Omit<Topic, "name" | "id" | "partitions"> {
  if (configs.get("cleanup.policy")?.includes("compact"))
    throw new MillraceError("KAFKA_TOPIC_UNFIT", {
      ...{ topic, stream, reason: "it is compacted (cleanup.policy), which removes events" },
      remedy: "Set cleanup.policy=delete on it, or give the project another kafkaTopicPrefix.",
    });
  const keepsAll = configs.get("retention.ms") === "-1" && configs.get("retention.bytes") === "-1";
  if (configs.size > 0 && !keepsAll)
    warn(
      `Kafka removes events of topic ${topic} by age or size, stored or not: set retention.ms=-1 and retention.bytes=-1 on it`,
    );
  const replicas = view.partitions[0]?.replicas ?? 1;
  const minInSync = Number(configs.get("min.insync.replicas") ?? 1);
  if (configs.size > 0 && replicas >= 3 && minInSync < 2)
    warn(`topic ${topic} acknowledges events that one broker has: set min.insync.replicas=2 on it`);
  if (configs.get("unclean.leader.election.enable") === "true")
    warn(
      `topic ${topic} may lose acknowledged events when brokers fail: set unclean.leader.election.enable=false on it`,
    );
  const maxMessageBytes = Number(configs.get("max.message.bytes") ?? Number.NaN);
  return { maxMessageBytes: Number.isFinite(maxMessageBytes) ? maxMessageBytes : undefined, minInSync, keepsAll };
}

function opening(error: unknown, cluster: Cluster, { stream, topic, replication }: TopicOptions): unknown {
  const { settings } = cluster;
  const refused = denied(error, `topic ${topic}`, "create or describe", settings);
  if (refused) return refused;
  if (!(error instanceof BrokerRefusal)) return error;
  if (error.refusal === "INVALID_TOPIC_EXCEPTION")
    return new MillraceError("LOG_STREAM_NAME", { stream }, { cause: error });
  if (error.refusal === "INVALID_REPLICATION_FACTOR")
    return new MillraceError("KAFKA_TOPIC_UNFIT", {
      ...{
        topic,
        stream,
        reason: `it cannot be made with ${replication} replicas: the cluster has ${cluster.brokerCount} brokers`,
      },
      remedy:
        "Start the brokers that are missing, or lower kafkaReplication: events are on as many brokers as it says.",
    });
  if (error.refusal === "POLICY_VIOLATION" || error.refusal === "INVALID_CONFIG")
    return new MillraceError("KAFKA_TOPIC_UNFIT", {
      ...{ topic, stream, reason: `the brokers do not let it be made: ${error.message}` },
      remedy: "Make the topic by hand as they want it; it is taken as it is then.",
    });
  return new MillraceError(
    "KAFKA_UNREACHABLE",
    { broker: settings.brokers.join(","), reason: `topic ${topic}: ${error.message}` },
    { cause: error },
  );
}
