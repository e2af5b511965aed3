/** The log on Kafka, by the settings. */
import { readFile } from "node:fs/promises";
import type { SettingName, Settings } from "../config/settings.ts";
import { MillraceError } from "../errors.ts";
import type { Assignment } from "../log/assignment.ts";
import type { EventLog } from "../log/event-log.ts";
import type { ConnectSettings, Tls } from "../log/kafka/connect-settings.ts";

export interface KafkaLogParts {
  readonly settings: Settings;
  /** Names the topics where no prefix is set. */
  readonly project: string;
  /** Of this process, among those that share the log. */
  readonly workerId: string;
  readonly clock: () => number;
  readonly warn: (warning: string) => void;
}

/**
 * Opens the log on the brokers that the settings name.
 * @throws SETTING_INVALID for settings that do not fit together or files that cannot be read; what `openKafkaLog` throws
 */
export async function openLogOnKafka({ settings, project, workerId, clock, warn }: KafkaLogParts): Promise<{
  readonly log: EventLog;
  readonly assignment: Assignment;
}> {
  const connect = await connectSettings(settings, `millrace-${workerId}`);
  // Half a second of loading that only those pay who have Kafka.
  const { openKafkaLog } = await import("../log/kafka/open-kafka-log.ts");
  const { kafkaAssignment } = await import("../log/kafka/group/kafka-assignment.ts");
  const log = await openKafkaLog({
    connect,
    topicPrefix: settings.kafkaTopicPrefix ?? `${project}.`,
    replication: settings.kafkaReplication,
    compression: settings.kafkaCompression,
    maxBatchBytes: settings.maxBodyBytes,
    retentionMs: settings.retentionMs,
    ...{ clock, warn },
  });
  return { log, assignment: kafkaAssignment(log, { workerId }) };
}

const MECHANISMS = { plain: "PLAIN", "scram-sha-256": "SCRAM-SHA-256", "scram-sha-512": "SCRAM-SHA-512" } as const;

/** @throws SETTING_INVALID */
export async function connectSettings(settings: Settings, clientId: string): Promise<ConnectSettings> {
  const { kafkaBrokers, kafkaUser: username, kafkaPassword: password, kafkaSasl } = settings;
  const brokers = (kafkaBrokers ?? "").split(",").map((address) => address.trim());
  const wrong = brokers.find((address) => !/^(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?$/.test(address));
  if (wrong !== undefined) refuse("kafkaBrokers", "HOST:PORT, several separated by commas", JSON.stringify(wrong));
  if (username !== undefined && password === undefined) refuse("kafkaPassword", "given with kafkaUser", "nothing");
  const sasl =
    username === undefined || password === undefined
      ? undefined
      : { mechanism: MECHANISMS[kafkaSasl], username, password };
  return { brokers, clientId, sasl, tls: await tlsOf(settings) };
}

async function tlsOf(settings: Settings): Promise<Tls | undefined> {
  const { kafkaTls, kafkaTlsCa, kafkaTlsCert, kafkaTlsKey } = settings;
  if (kafkaTls === "off") {
    // Somebody who names certificates means to use them.
    const named = (["kafkaTlsCa", "kafkaTlsCert", "kafkaTlsKey"] as const).find((name) => settings[name] !== undefined);
    if (named !== undefined) refuse("kafkaTls", `on, with ${named}`, "off");
    return undefined;
  }
  if ((kafkaTlsCert === undefined) !== (kafkaTlsKey === undefined))
    refuse(kafkaTlsCert === undefined ? "kafkaTlsCert" : "kafkaTlsKey", "given with the other of the two", "nothing");
  const [ca, cert, key] = await Promise.all([
    pem("kafkaTlsCa", kafkaTlsCa),
    pem("kafkaTlsCert", kafkaTlsCert),
    pem("kafkaTlsKey", kafkaTlsKey),
  ]);
  return { ca, cert, key };
}

async function pem(name: SettingName, path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) =>
    refuse(name, "a file that can be read", `${path} (${error.code})`),
  );
  if (!text.includes("-----BEGIN ")) refuse(name, "a PEM file", path);
  return text;
}

function refuse(name: SettingName, allowed: string, got: string): never {
  throw new MillraceError("SETTING_INVALID", { name, source: "for the log on Kafka", allowed, got });
}
