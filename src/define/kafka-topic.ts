import type { SecretText } from "./destinations.ts";

/** What of a record a field can be filled with: `"header:trace-id"` is the last header of that name, as text. */
export type RecordPart = "key" | "timestamp" | "partition" | "offset" | `header:${string}`;

export interface KafkaTlsOptions {
  /** Certificate of the authority that signed the brokers', as PEM, where the system does not know it. */
  readonly ca?: SecretText;
  /** Certificate and key of this client as PEM, where the brokers ask for them. */
  readonly cert?: SecretText;
  readonly key?: SecretText;
}

export interface KafkaSaslOptions {
  readonly mechanism: "plain" | "scram-sha-256" | "scram-sha-512" | "oauthbearer";
  readonly username?: SecretText;
  readonly password?: SecretText;
  /** For `oauthbearer`. */
  readonly token?: SecretText;
}

export interface SchemaRegistryOptions {
  /** `https://registry.example.com`; a path behind the host stays before the API's own. */
  readonly url: SecretText;
  readonly username?: SecretText;
  readonly password?: SecretText;
}

export interface KafkaTopicOptions {
  /** `host:port`, several separated by commas or as a list; `env("NAME")` too. */
  readonly brokers: SecretText | readonly string[];
  /** Default false. */
  readonly tls?: boolean | KafkaTlsOptions;
  readonly sasl?: KafkaSaslOptions;
  /** Consumer group. Another one begins anew at `start`. Default `millrace.<project>.<stream>`. */
  readonly group?: string;
  /**
   * Where a group begins that has read nothing yet: at the first record that is there, behind the last one, or at the first one that is not older
   * than a time such as `"2026-01-31T00:00:00Z"`. Partitions that come later are read from their first record. Default `"earliest"`.
   */
  readonly start?: "earliest" | "latest" | (string & {});
  /** `"avro"`: each value is Avro behind the five bytes that serializers with a schema registry write. Default `"json"`. */
  readonly format?: "json" | "avro";
  /** Where the schemas of Avro values are; a URL alone, or with what it asks for. */
  readonly registry?: SecretText | SchemaRegistryOptions;
  /** Fields that are not in the value but in the record around it: `{ customer_id: "key", sent_at: "timestamp", trace: "header:trace-id" }`. */
  readonly fields?: Readonly<Record<string, RecordPart>>;
  /**
   * Records without a value, by which a compacted topic says that a key is gone. `{ flag: "deleted" }` makes an event of what `fields` gives in which
   * that field is true; `"skip"` leaves them out. Default `"dead-letter"`.
   */
  readonly tombstones?: "dead-letter" | "skip" | { readonly flag: string };
}

/** A topic that somebody else writes, as a source of a stream. */
export interface KafkaTopic {
  readonly [TOPIC]: string;
  readonly options: KafkaTopicOptions;
}

/** Of the global symbol registry, so that topics named by another copy of this package are known as what they are. */
const TOPIC = Symbol.for("millrace.kafkaTopic");

/**
 * The records of a Kafka topic as events of a stream, each once: `stream("payments", { schema, from: kafkaTopic("billing.payments", { brokers:
 * env("BILLING_KAFKA") }) })`.
 *
 * Every record passes the stream's contract as at any other door; one that is refused is a dead letter that names topic, partition and offset.
 * Records of transactions that were aborted are left out. The topic is only read.
 */
export function kafkaTopic(topic: string, options: KafkaTopicOptions): KafkaTopic {
  return Object.freeze({ [TOPIC]: topic, options });
}

/** The topic's name; undefined for what `kafkaTopic` has not made. */
export function topicOf(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null || !(TOPIC in value)) return undefined;
  return String((value as KafkaTopic)[TOPIC]);
}
