import { type KafkaTopic, topicOf } from "./kafka-topic.ts";
import { invalidOption, isRecord, unknownOptions } from "./options.ts";
import { type Problem, problem } from "./problem.ts";
import type { Column } from "./project.ts";
import { Secret } from "./secret.ts";

/** A topic of others whose options have been checked. Secrets are read from the environment when the platform starts. */
export interface TopicSource {
  readonly topic: string;
  /** `host:port`, separated by commas. */
  readonly brokers: Secret;
  readonly tls: TopicTls | undefined;
  readonly sasl: TopicSasl | undefined;
  /** Undefined: named after project and stream. */
  readonly group: string | undefined;
  /** A number is a time in milliseconds. */
  readonly start: "earliest" | "latest" | number;
  readonly format: "json" | "avro";
  readonly registry: TopicRegistry | undefined;
  readonly fields: readonly RecordField[];
  readonly tombstones: "dead-letter" | "skip" | { readonly flag: string };
}

export interface TopicTls {
  readonly ca: Secret | undefined;
  readonly cert: Secret | undefined;
  readonly key: Secret | undefined;
}

export interface TopicSasl {
  readonly mechanism: "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512" | "OAUTHBEARER";
  readonly username: Secret | undefined;
  readonly password: Secret | undefined;
  readonly token: Secret | undefined;
}

export interface TopicRegistry {
  readonly url: Secret;
  readonly username: Secret | undefined;
  readonly password: Secret | undefined;
}

/** A field of the event that the record around the value fills. */
export interface RecordField {
  readonly field: string;
  readonly part: "key" | "timestamp" | "partition" | "offset" | "header";
  /** Name of the header. */
  readonly header: string;
  /** True where the event has it as text, so that a key `42` becomes `"42"`. */
  readonly text: boolean;
}

/** Says of a field that an option names whether it is there and fits. */
export interface FieldsOfStream {
  check(option: string, field: string, fits: (column: Column) => boolean, allowed: string): void;
  column(field: string): Column | undefined;
}

const OPTIONS = ["brokers", "tls", "sasl", "group", "start", "format", "registry", "fields", "tombstones"];
const MECHANISMS = ["plain", "scram-sha-256", "scram-sha-512", "oauthbearer"];
/** Kafka's own rule. */
const TOPIC_NAME = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/;
const BROKER = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5}$/;
const TEXT_OR_ENV = 'text, or env("NAME")';

/** What a list of brokers may be, in words. */
export const BROKERS = "host:port, several separated by commas";

/** The source that an option says, with all that is wrong with it pushed to `problems`. Secrets are never shown. */
export function readKafkaTopic(
  value: unknown,
  subject: string,
  fields: FieldsOfStream,
  problems: Problem[],
): TopicSource | undefined {
  const topic = topicOf(value);
  if (topic === undefined) {
    problems.push(invalidOption(subject, "from", value, 'kafkaTopic("name", { brokers: … })'));
    return undefined;
  }
  const { options } = value as KafkaTopic;
  if (!TOPIC_NAME.test(topic))
    problems.push(
      invalidOption(subject, "from", topic, "a topic's name: letters, digits, . _ and -, at most 249 characters"),
    );
  if (!isRecord(options)) {
    problems.push(invalidOption(subject, "from", options, "an object of options behind the topic's name"));
    return undefined;
  }
  return new Reading(`kafkaTopic "${topic}" of ${subject}`, options, fields, problems).source(topic);
}

class Reading {
  private readonly subject: string;
  private readonly given: Record<string, unknown>;
  private readonly fields: FieldsOfStream;
  private readonly problems: Problem[];

  constructor(subject: string, given: Record<string, unknown>, fields: FieldsOfStream, problems: Problem[]) {
    this.subject = subject;
    this.given = given;
    this.fields = fields;
    this.problems = problems;
  }

  source(topic: string): TopicSource {
    this.problems.push(...unknownOptions(this.subject, this.given, OPTIONS));
    const { format = "json" } = this.given;
    if (format !== "json" && format !== "avro") this.refuse("format", format, '"json" or "avro"');
    return {
      topic,
      brokers: this.brokers(),
      tls: this.tls(),
      sasl: this.sasl(),
      group: this.group(),
      start: this.start(),
      format: format as TopicSource["format"],
      registry: this.registry(format),
      fields: this.recordFields(),
      tombstones: this.tombstones(),
    };
  }

  private brokers(): Secret {
    const { brokers } = this.given;
    const list = Array.isArray(brokers) ? brokers.join(",") : brokers;
    const read = Secret.read(list);
    if (read === undefined || (read.literal !== undefined && brokersIn(read.literal) === undefined))
      this.refuse("brokers", brokers, `${BROKERS} or as a list, or env("NAME")`);
    return read ?? new Secret("");
  }

  private tls(): TopicTls | undefined {
    const { tls = false } = this.given;
    if (tls === false) return undefined;
    if (tls === true) return { ca: undefined, cert: undefined, key: undefined };
    if (!isRecord(tls)) {
      this.refuseUnseen("tls", "true, false or { ca, cert, key }");
      return undefined;
    }
    this.problems.push(...unknownOptions(this.subject, tls, ["ca", "cert", "key"]));
    const read = { ca: this.secret("tls", tls, "ca"), cert: this.secret("tls", tls, "cert") };
    const key = this.secret("tls", tls, "key");
    if ((read.cert === undefined) !== (key === undefined))
      this.refuseUnseen(read.cert === undefined ? "tls.cert" : "tls.key", "given together with the other one");
    return { ...read, key };
  }

  private sasl(): TopicSasl | undefined {
    const { sasl } = this.given;
    if (sasl === undefined) return undefined;
    const { mechanism } = isRecord(sasl) ? sasl : {};
    if (!isRecord(sasl) || typeof mechanism !== "string" || !MECHANISMS.includes(mechanism)) {
      this.refuseUnseen("sasl", `{ mechanism: one of "${MECHANISMS.join('", "')}", … }`);
      return undefined;
    }
    this.problems.push(...unknownOptions(this.subject, sasl, ["mechanism", "username", "password", "token"]));
    const read = {
      mechanism: mechanism.toUpperCase() as TopicSasl["mechanism"],
      username: this.secret("sasl", sasl, "username"),
      password: this.secret("sasl", sasl, "password"),
      token: this.secret("sasl", sasl, "token"),
    };
    const needed = mechanism === "oauthbearer" ? (["token"] as const) : (["username", "password"] as const);
    for (const name of needed) if (read[name] === undefined) this.refuseUnseen(`sasl.${name}`, TEXT_OR_ENV);
    return read;
  }

  private group(): string | undefined {
    const { group } = this.given;
    if (group === undefined) return undefined;
    if (typeof group !== "string" || !/^[\x21-\x7e]{1,200}$/.test(group)) {
      this.refuse("group", group, "text of at most 200 characters without spaces");
      return undefined;
    }
    return group;
  }

  private start(): TopicSource["start"] {
    const { start = "earliest" } = this.given;
    if (start === "earliest" || start === "latest") return start;
    const timeMs =
      typeof start === "string" && /^\d{4}-\d\d-\d\d(T.*(Z|[+-]\d\d:\d\d))?$/.test(start) ? Date.parse(start) : NaN;
    if (Number.isNaN(timeMs))
      this.refuse("start", start, '"earliest", "latest" or a time such as "2026-01-31T00:00:00Z"');
    return timeMs;
  }

  private registry(format: unknown): TopicRegistry | undefined {
    const { registry } = this.given;
    if (registry === undefined) {
      if (format === "avro") this.refuseUnseen("registry", "the schema registry's URL, where the format is avro");
      return undefined;
    }
    if (format === "json") this.refuseUnseen("registry", "left out where the format is json, which needs no schemas");
    const url = Secret.read(registry);
    const given = url === undefined && isRecord(registry) ? registry : { url: registry };
    this.problems.push(...unknownOptions(this.subject, given, ["url", "username", "password"]));
    const read = Secret.read(given["url"]);
    if (read === undefined || (read.literal !== undefined && !isRegistryUrl(read.literal)))
      this.refuseUnseen("registry", `${REGISTRY_URL}, or env("NAME")`);
    const username = this.secret("registry", given, "username");
    const password = this.secret("registry", given, "password");
    if ((username === undefined) !== (password === undefined))
      this.refuseUnseen(
        username === undefined ? "registry.username" : "registry.password",
        "given together with the other one",
      );
    return { url: read ?? new Secret(""), username, password };
  }

  private recordFields(): readonly RecordField[] {
    const { fields = {} } = this.given;
    if (!isRecord(fields)) {
      this.refuse("fields", fields, 'fields and what fills them, such as { customer_id: "key" }');
      return [];
    }
    return Object.entries(fields).flatMap(([field, part]) => {
      const [, word, header = ""] = /^(key|timestamp|partition|offset|header:(.+))$/s.exec(String(part)) ?? [];
      if (word === undefined || typeof part !== "string") {
        this.refuse(`fields.${field}`, part, '"key", "timestamp", "partition", "offset" or "header:NAME"');
        return [];
      }
      const read = header === "" ? (word as RecordField["part"]) : "header";
      const { fits, allowed } = FITTING[read];
      this.fields.check(`from.fields.${field}`, field, ({ type }) => fits.includes(type.kind), allowed);
      const kind = this.fields.column(field)?.type.kind ?? "string";
      return [{ field, part: read, header, text: ["string", "timestamp", "date", "decimal"].includes(kind) }];
    });
  }

  private tombstones(): TopicSource["tombstones"] {
    const { tombstones = "dead-letter" } = this.given;
    if (tombstones === "dead-letter" || tombstones === "skip") return tombstones;
    const flag = isRecord(tombstones) && Object.keys(tombstones).length === 1 ? tombstones["flag"] : undefined;
    if (typeof flag !== "string") {
      this.refuse("tombstones", tombstones, '"dead-letter", "skip" or { flag: "field" }');
      return "dead-letter";
    }
    this.fields.check("from.tombstones.flag", flag, ({ type }) => type.kind === "boolean", "a boolean");
    return { flag };
  }

  private secret(option: string, given: Record<string, unknown>, name: string): Secret | undefined {
    const value = given[name];
    if (value === undefined) return undefined;
    const read = Secret.read(value);
    if (read === undefined) this.refuseUnseen(`${option}.${name}`, TEXT_OR_ENV);
    return read;
  }

  private refuse(option: string, value: unknown, allowed: string): void {
    this.problems.push(invalidOption(this.subject, option, value, allowed));
  }

  /** Of an option that may hold a secret nothing is shown but whether it is there. */
  private refuseUnseen(option: string, allowed: string): void {
    const there = option.split(".").reduce<unknown>((at, name) => (isRecord(at) ? at[name] : undefined), this.given);
    const got = there === undefined ? "missing" : "something else";
    this.problems.push(problem("OPTION_INVALID", { subject: this.subject, option, got, allowed }));
  }
}

const WHOLE = ["integer", "long"];
const SCALAR = ["string", "decimal", "double", "float", "boolean", "timestamp", "date", ...WHOLE];
const SCALARS = "text, a number, a boolean, a timestamp or a date";
const FITTING: Readonly<Record<RecordField["part"], { fits: readonly string[]; allowed: string }>> = {
  key: { fits: SCALAR, allowed: SCALARS },
  header: { fits: SCALAR, allowed: SCALARS },
  timestamp: { fits: ["timestamp", "string"], allowed: "a timestamp (z.iso.datetime()) or text" },
  partition: { fits: [...WHOLE, "double"], allowed: "a number" },
  offset: { fits: ["long", "double"], allowed: "a number that holds 53 bits" },
};

/** The brokers of a list in text; undefined when it is none. */
export function brokersIn(text: string): string[] | undefined {
  const brokers = text.split(",").map((one) => one.trim());
  return brokers.every((one) => BROKER.test(one)) ? brokers : undefined;
}

/** What a registry's address may be, in words. */
export const REGISTRY_URL = "a URL that begins with https:// or http:// and names no user";

export function isRegistryUrl(text: string): boolean {
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) return false;
  const { username, password } = new URL(text);
  return username === "" && password === "";
}
