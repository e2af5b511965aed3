/** Topics of others that a project reads into its streams, between those that read them and the parts that feed, count and show them. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { Gauge, type Registry } from "prom-client";
import type { Column, Project } from "../define/project.ts";
import {
  BROKERS,
  brokersIn,
  isRegistryUrl,
  REGISTRY_URL,
  type TopicRegistry,
  type TopicSource,
} from "../define/read-kafka-topic.ts";
import type { Secret } from "../define/secret.ts";
import { quoteLiteral } from "../define/sql-text.ts";
import { jsonStructure } from "../define/types.ts";
import { MillraceError } from "../errors.ts";
import type { DeadLetter } from "../flow/dead-letters.ts";
import type { Reactions } from "../flow/reactions.ts";
import type { VirtualTable } from "../flow/relations.ts";
import { KafkaSource, type SourcePartition, type SourceStatus } from "../gateway/kafka/kafka-source.ts";
import { SchemaRegistry } from "../gateway/kafka/schema-registry.ts";
import { type CheckpointStore, SourceCheckpoints } from "../gateway/kafka/source-checkpoint.ts";
import type { TopicAccess } from "../gateway/kafka/topic-client.ts";
import type { FileSystem } from "../lake/file-system.ts";
import { openFsStore } from "../lake/fs-store.ts";
import type { EventLog } from "../log/event-log.ts";
import type { ContractDoor } from "./contract-door.ts";
import type { LakeStore } from "./lake-store.ts";

export interface SourcesParts {
  readonly log: EventLog;
  readonly admit: ContractDoor;
  readonly deadLetters: (letters: readonly DeadLetter[]) => Promise<void>;
  /** Where checkpoints are, below `prefix`. */
  readonly store: CheckpointStore;
  readonly prefix: string;
  /** This process, by a name that it keeps when it is started again. */
  readonly worker: string;
  readonly maxEventBytes: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly report: (error: unknown, what: string) => void;
}

/**
 * Where checkpoints lie: with the log. In the data folder where that has the log, else where every process that may go on finds them.
 */
export async function checkpointPlace(parts: {
  readonly lakeStore: Pick<LakeStore, "store" | "remote">;
  readonly log: EventLog;
  readonly dir: string;
  readonly fs: FileSystem;
  readonly clock: () => number;
}): Promise<Pick<SourcesParts, "store" | "prefix">> {
  const { lakeStore, log, dir, fs, clock } = parts;
  const isHere = log.hold !== undefined || lakeStore.remote === undefined;
  if (!isHere) return { store: lakeStore.store, prefix: "_sources/" };
  return { store: await openFsStore(join(dir, "sources"), { fs, clock }), prefix: "" };
}

/** A process that is silent for longer loses its partitions to others; one that comes back under its name gets them back at once. */
const SESSION_MS = 20_000;

/** Made before the flow, which asks it how much of the log is needed; opened behind it. */
export class Sources {
  readonly #streams: readonly { readonly name: string; readonly from: TopicSource }[];
  readonly #project: string;
  #sources: ReadonlyMap<string, KafkaSource> | undefined;

  constructor(project: Project) {
    this.#project = project.name;
    this.#streams = [...project.streams.values()].flatMap(({ name, from }) =>
      from === undefined ? [] : [{ name, from }],
    );
  }

  /** @throws SOURCE_UNSET */
  async open(parts: SourcesParts): Promise<void> {
    const sources = new Map<string, KafkaSource>();
    for (const { name, from } of this.#streams) {
      const reading = new Reading(name, from, parts.env);
      const group = from.group ?? `millrace.${this.#project}.${name}`;
      sources.set(
        name,
        new KafkaSource({
          ...{ stream: name, source: from, log: parts.log, admit: parts.admit, maxEventBytes: parts.maxEventBytes },
          access: reading.access(group, parts.worker),
          registry: reading.registry(),
          checkpoints: new SourceCheckpoints(parts.store, parts.prefix, name, { topic: from.topic, group }),
          deadLetters: parts.deadLetters,
          report: parts.report,
        }),
      );
    }
    for (const source of sources.values()) await source.open();
    this.#sources = sources;
  }

  /** True where the project reads any. */
  get any(): boolean {
    return this.#streams.length > 0;
  }

  begin(): void {
    for (const source of this.#sources?.values() ?? []) source.begin();
  }

  async close(): Promise<void> {
    await Promise.all([...(this.#sources?.values() ?? [])].map((source) => source.close()));
  }

  /** Reactions, and sources beside them as one more reader of the log. */
  beside(reactions: Reactions): Reactions {
    return {
      floor: (stream, partition) => Math.min(reactions.floor(stream, partition), this.floor(stream, partition)),
      progress: () => reactions.progress(),
      retry: (operator, stream, events) => reactions.retry(operator, stream, events),
    };
  }

  /** First offset of a partition that is needed to find out how far a topic was read into it. */
  floor(stream: string, partition: number): number {
    if (!this.#streams.some(({ name }) => name === stream)) return Number.POSITIVE_INFINITY;
    // Before it is open, nobody knows.
    return this.#sources?.get(stream)?.floor(partition) ?? 0;
  }

  statuses(): SourceStatus[] {
    return [...(this.#sources?.values() ?? [])].map((source) => source.status);
  }

  /** Why topics stand still. */
  problems(): string[] {
    return this.statuses().flatMap(({ stream, problem, partitions }) => {
      const still = partitions.flatMap(({ partition, problem: why }) =>
        why === null ? [] : [`partition ${partition}: ${why}`],
      );
      return [...(problem === null ? [] : [problem]), ...still].map(
        (why) => `the source of ${stream} stands still: ${why}`,
      );
    });
  }
}

/** Options with what the environment says. */
class Reading {
  readonly #subject: string;
  readonly #source: TopicSource;
  readonly #env: Readonly<Record<string, string | undefined>>;

  constructor(stream: string, source: TopicSource, env: Readonly<Record<string, string | undefined>>) {
    this.#subject = `kafkaTopic "${source.topic}" of stream "${stream}"`;
    this.#source = source;
    this.#env = env;
  }

  access(group: string, worker: string): TopicAccess {
    const { topic, brokers, tls, sasl } = this.#source;
    const list = brokersIn(this.#text(brokers, (text) => brokersIn(text) !== undefined, BROKERS)) as string[];
    return {
      ...{ subject: this.#subject, topic, brokers: list, group, sessionMs: SESSION_MS },
      member: `millrace-${createHash("sha256").update(`${worker}\0${group}`).digest("hex").slice(0, 24)}`,
      tls: tls && { ...this.#given("ca", tls.ca), ...this.#given("cert", tls.cert), ...this.#given("key", tls.key) },
      sasl: sasl && {
        mechanism: sasl.mechanism,
        ...{ ...this.#given("username", sasl.username), ...this.#given("password", sasl.password) },
        ...this.#given("token", sasl.token),
      },
    };
  }

  registry(): SchemaRegistry | undefined {
    const registry: TopicRegistry | undefined = this.#source.registry;
    if (registry === undefined) return undefined;
    const { username, password } = registry;
    return new SchemaRegistry({
      url: this.#text(registry.url, isRegistryUrl, REGISTRY_URL),
      username: username && this.#text(username),
      password: password && this.#text(password),
    });
  }

  #given<Name extends string>(name: Name, secret: Secret | undefined): { [name in Name]?: string } {
    return (secret === undefined ? {} : { [name]: this.#text(secret) }) as { [name in Name]?: string };
  }

  #text(secret: Secret, fits: (text: string) => boolean = () => true, allowed = "text"): string {
    const text = secret.reveal(this.#env);
    if (text !== undefined && fits(text)) return text;
    const reason = text === undefined ? "is not set" : `is not ${allowed}`;
    throw new MillraceError("SOURCE_UNSET", { source: this.#subject, variable: secret.variable ?? "", reason });
  }
}

const text = (name: string, nullable = false): Column => ({ name, type: { kind: "string" }, nullable });
const long = (name: string, nullable = false): Column => ({ name, type: { kind: "long" }, nullable });
const COLUMNS: readonly Column[] = [
  ...[
    text("stream"),
    text("topic"),
    text("consumer_group"),
    { ...long("topic_partition", true), type: { kind: "integer" } as const },
  ],
  ...[long("position", true), long("end_offset", true), long("lag", true)],
  ...[long("accepted", true), long("refused", true), long("skipped", true), text("problem", true)],
];

/** `system.sources`: a row for each partition of a topic that this process reads, and one for a topic of which it reads none. */
export function sourceTable(statuses: () => readonly SourceStatus[]): ReadonlyMap<string, VirtualTable> {
  const table: VirtualTable = {
    columns: COLUMNS,
    inputs: [],
    async relation() {
      const rows = statuses().flatMap(({ stream, topic, group, partitions, problem }) => {
        const named = { stream, topic, consumer_group: group };
        if (partitions.length === 0) return [{ ...named, problem }];
        return partitions.map((one) => ({ ...named, ...rowOf(one), problem: problem ?? one.problem }));
      });
      const parsed = `from_json(${quoteLiteral(JSON.stringify(rows))}, ${quoteLiteral(`[${jsonStructure(COLUMNS)}]`)})`;
      return { kind: "native", sql: `select unnest(r) from (select unnest(${parsed}) as r)` };
    },
  };
  return new Map([["system.sources", table]]);
}

function rowOf({ partition, end, ...counts }: SourcePartition): Record<string, unknown> {
  return { ...counts, topic_partition: partition, end_offset: end };
}

/** How far topics are read; read when they are scraped. */
export function sourceMetrics(registry: Registry, statuses: () => readonly SourceStatus[]): void {
  const figure = (name: string, help: string, value: (partition: SourcePartition) => number) =>
    new Gauge({
      name: `millrace_source_${name}`,
      help,
      labelNames: ["stream", "topic", "partition"],
      registers: [registry],
      collect() {
        this.reset();
        for (const { stream, topic, partitions } of statuses())
          for (const one of partitions) this.set({ stream, topic, partition: String(one.partition) }, value(one));
      },
    });
  figure("lag_records", "Offsets of a topic's partition that are committed there and not read yet.", ({ lag }) => lag);
  figure(
    "accepted_records",
    "Records that became events since the partition came to this process.",
    ({ accepted }) => accepted,
  );
  figure("refused_records", "Records that became dead letters since then.", ({ refused }) => refused);
  figure("skipped_records", "Tombstones that were left out since then.", ({ skipped }) => skipped);
  new Gauge({
    name: "millrace_source_failing",
    help: "1 while a topic, or a partition of it, stands still.",
    labelNames: ["stream", "topic"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { stream, topic, partitions, problem } of statuses()) {
        const fails = problem !== null || partitions.some((one) => one.problem !== null);
        this.set({ stream, topic }, fails ? 1 : 0);
      }
    },
  });
}
