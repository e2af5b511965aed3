import { availableParallelism, totalmem } from "node:os";
import { resolve } from "node:path";
import { didYouMean, nearestMatch } from "../define/nearest.ts";
import { MillraceError } from "../errors.ts";
import {
  allowed,
  bytes,
  choice,
  choices,
  duration,
  environmentName,
  file,
  flagName,
  formatValue,
  integer,
  type Machine,
  optionalText,
  path,
  program,
  readValue,
  type Setting,
  text,
  url,
} from "./setting.ts";

const MIB = 1_048_576;
const DAY_MS = 86_400_000;

/** What a process may do (docs/workers.md). */
export const ROLES = ["gateway", "flow", "react", "orchestrate", "serve"] as const;
export type Role = (typeof ROLES)[number];

/**
 * Every setting, declared once: its documentation (`docs/settings.md`), the flags of `millrace start`, the names in the
 * environment and the checks all come from here. They are resolved once, at the edge; modules get the values they need.
 */
export const SETTINGS = {
  host: text({ default: "127.0.0.1", doc: "Address the HTTP door binds. 0.0.0.0 opens it to the network." }),
  port: integer({ default: 8080, min: 0, max: 65_535, doc: "Port of the HTTP door; 0 takes any free one." }),
  dataDir: path({
    default: ".millrace",
    doc: "Folder of everything the platform keeps. The default lies in the project's folder.",
  }),
  logLevel: choice({
    default: "info",
    of: ["error", "warn", "info", "debug"],
    doc: "How much the server's own log says.",
  }),
  maxBodyBytes: bytes({ default: 32 * MIB, min: 1_024, doc: "Largest body of a request, after decompression." }),
  maxEventBytes: bytes({ default: MIB, min: 256, doc: "Largest single event." }),
  maxNesting: integer({ default: 64, min: 1, max: 1_000, doc: "How deep objects and arrays of an event may nest." }),
  segmentMessageBytes: bytes({
    default: 32 * 1_024,
    min: 256,
    doc: "Largest message of the Segment door, as it is sent.",
  }),
  segmentBatchBytes: bytes({
    default: 512 * 1_024,
    min: 1_024,
    doc: "Largest body of the Segment door, after decompression: 500 KB of messages as SDKs count them, and what is around them.",
  }),
  inflightBytes: bytes({
    default: 256 * MIB,
    min: MIB,
    doc: "Memory of all event requests under way; one sender may have as much of it as is free. Beyond it 429 or 503 with Retry-After.",
  }),
  corsOrigins: text({
    default: "none",
    doc: "Origins whose pages may send events, separated by commas: https://app.example.com, https://*.example.com, or * for all.",
  }),
  requestTimeoutMs: duration({ default: 30_000, min: 100, doc: "Time a client has to send a whole request." }),
  flushIntervalMs: duration({
    default: 5_000,
    min: 10,
    doc: "Longest time between an event's arrival and its commit to the lake. Queries see it at once all the same.",
  }),
  flushBytes: bytes({
    default: 64 * MIB,
    min: 1_024,
    doc: "Unflushed bytes of a stream that start a flush before its time.",
  }),
  checkpointIntervalMs: duration({
    default: 10_000,
    min: 100,
    doc: "How often workers that share lanes of reactions write what has changed to the bucket: requests, against events that the next owner of a lane applies again. A process that works alone writes to its own disk every second.",
  }),
  segmentBytes: bytes({ default: 128 * MIB, min: 4_096, doc: "Size at which the log begins a new segment file." }),
  retentionMs: duration({
    default: 7 * DAY_MS,
    min: 0,
    doc: "How long segments of the log are kept for replay. Unflushed ones are never removed.",
  }),
  historyMs: duration({
    default: DAY_MS,
    min: 0,
    doc: "How long the versions of a table that are no longer its newest stay readable. Files that only they need go then.",
  }),
  horizonMs: duration({
    default: 7 * DAY_MS,
    min: 0,
    doc: "Two arrivals of one id within this time are one event, unless the stream says otherwise.",
  }),
  partitions: integer({ default: 1, min: 1, max: 1_024, doc: "Partitions of a new stream." }),
  engineMemoryBytes: bytes({
    default: ({ memoryBytes }) => clamp(memoryBytes / 4, 256 * MIB, 4_096 * MIB),
    min: 64 * MIB,
    doc: "Memory of the SQL engine.",
    defaultText: "a quarter of the machine's, 256MiB to 4GiB",
  }),
  engineThreads: integer({
    default: ({ cores }) => cores,
    min: 1,
    max: 1_024,
    doc: "Threads of the SQL engine.",
    defaultText: "the machine's cores",
  }),
  queryTimeoutMs: duration({ default: 60_000, min: 10, doc: "Time after which a query is stopped." }),
  queryMaxRows: integer({ default: 100_000, min: 1, max: 1_000_000_000, doc: "Most rows a query may answer." }),
  refreshDebounceMs: duration({
    default: 1_000,
    min: 0,
    doc: "Quiet time after a commit before the tables that depend on it are refreshed.",
  }),
  runConcurrency: integer({
    default: 64,
    min: 1,
    max: 10_000,
    doc: "Runs of workflows executed at once. Those that only wait, for time or another run, do not count.",
  }),
  runRetentionMs: duration({
    default: 30 * DAY_MS,
    min: 0,
    doc: "How long runs that are over are kept, with their steps and logs.",
  }),
  simulator: program({
    doc: "Program of the project that plays traffic against it with `--simulate`, over HTTP like anybody else.",
  }),
  geoDatabase: file({
    doc: "Database of cities or countries in MaxMind's format (.mmdb) that `locate_ip` reads. It is read at the start.",
  }),
  biHost: text({
    default: "127.0.0.1",
    doc: "Address on which the embedded PostgreSQL takes BI tools, once a table of the project is served.",
  }),
  biPort: integer({
    default: 5433,
    min: 0,
    max: 65_535,
    doc: "Port on which the embedded PostgreSQL takes BI tools; 0 takes any free one.",
  }),
  postgresUrl: url({
    of: ["postgres", "postgresql"],
    secret: true,
    doc: "PostgreSQL server for the platform's records and for served tables: postgres://user:password@host/database. Not set: an embedded one.",
  }),
  role: choices({
    default: ROLES,
    of: ROLES,
    defaultText: "all of them",
    doc: "What this process does. Several processes share the work when log, store and records are shared: Kafka, S3 and a PostgreSQL server.",
  }),
  workerId: optionalText({
    doc: "Name of this process among those that share the work; the same when it is started again. Not set: the host's name and a random word, kept in the data folder.",
  }),
  advertiseUrl: url({
    of: ["http", "https"],
    doc: "Where the other processes reach this one: http://10.0.0.7:8080. Not set: the address that is bound; the host's name, where that is 0.0.0.0.",
  }),
  drainDelayMs: duration({
    default: 0,
    min: 0,
    doc: "How long a process that is told to stop goes on answering while /readyz says no, so that load balancers learn of it first.",
  }),
  adminKey: optionalText({
    secret: true,
    doc: "A key of all scopes, for deployments in which nobody can read the data folder's admin.key: mk_, 12 of a-z0-9, _, 43 of A-Z a-z 0-9 - _.",
  }),
  awsSecret: optionalText({
    secret: true,
    doc: "What the secrets of access keys for AWS's clients are derived from, where several processes take their requests: 43 of A-Z a-z 0-9 - _. Not set: one that the data folder keeps.",
  }),
  keyCacheMs: duration({
    default: DAY_MS / 2,
    min: 1_000,
    doc: "How long API keys hold as they were last read while PostgreSQL cannot be reached. After that requests are answered 503 until it can.",
  }),
  kafkaBrokers: optionalText({
    doc: "Kafka brokers that keep the log: HOST:PORT, several separated by commas, of which any is enough to find the others. Not set: the data folder.",
  }),
  kafkaTopicPrefix: optionalText({
    doc: "Topics are named by it and the stream. Not set: the project's name and a dot.",
  }),
  kafkaReplication: integer({
    default: 3,
    min: 1,
    max: 32,
    doc: "Brokers that keep each event, for topics that have to be made. From 3 on, an event is acknowledged when two have it.",
  }),
  kafkaCompression: choice({
    default: "zstd",
    of: ["none", "lz4", "zstd"],
    doc: "How batches of events are compressed on their way to the brokers, and kept there.",
  }),
  kafkaTls: choice({
    default: "off",
    of: ["off", "on"],
    doc: "Whether connections to the brokers are encrypted.",
  }),
  kafkaTlsCa: file({
    doc: "Certificates (PEM) of the authority that the brokers' certificates come from. Not set: those that the machine trusts.",
  }),
  kafkaTlsCert: file({ doc: "Certificate (PEM) of this client, where the brokers ask for one." }),
  kafkaTlsKey: file({ doc: "Key (PEM) of kafkaTlsCert." }),
  kafkaSasl: choice({
    default: "scram-sha-512",
    of: ["plain", "scram-sha-256", "scram-sha-512"],
    doc: "How kafkaUser proves who it is.",
  }),
  kafkaUser: optionalText({ doc: "User at the brokers. Not set: none is named." }),
  kafkaPassword: optionalText({ secret: true, doc: "Password of kafkaUser." }),
  storeUrl: url({
    of: ["s3"],
    doc: "Bucket that holds the tables: s3://BUCKET or s3://BUCKET/PREFIX, at AWS or any service that speaks its protocol. Not set: the data folder.",
  }),
  s3Endpoint: url({
    of: ["http", "https"],
    doc: "Address of an S3-compatible service: https://minio.example.com:9000. Not set: AWS.",
  }),
  s3Region: optionalText({
    doc: "Region of the bucket. Not set: as the environment says (AWS_REGION, a profile); us-east-1 with an s3Endpoint.",
  }),
  s3PathStyle: choice({
    default: "auto",
    of: ["auto", "on", "off"],
    doc: "Whether the bucket is part of the path (on) or of the host's name (off). auto: on with an s3Endpoint.",
  }),
  s3AccessKeyId: optionalText({
    secret: true,
    doc: "Access key for the bucket. Not set: the usual chain of AWS (environment, profile, web identity, the machine's role).",
  }),
  s3SecretAccessKey: optionalText({ secret: true, doc: "Secret of s3AccessKeyId." }),
  s3Encryption: choice({
    default: "bucket",
    of: ["bucket", "s3", "kms"],
    doc: "Encryption by the service: as the bucket's own rule says (bucket), with keys of S3 (s3: SSE-S3), or of KMS (kms: SSE-KMS).",
  }),
  s3KmsKey: optionalText({
    doc: "Id or ARN of the KMS key for `s3Encryption: kms`. Not set: the bucket's default key.",
  }),
  storeCacheBytes: bytes({
    default: 10 * 1_024 * MIB,
    min: 0,
    doc: "Local copies of the bucket's data files, kept in the data folder. A query that needs more than this gets it while it runs.",
  }),
  storeTimeoutMs: duration({
    default: 20_000,
    min: 1_000,
    doc: "How long a request to the bucket is tried again before it fails. Work that failed is tried again after that.",
  }),
  sparkUrl: url({
    of: ["sc"],
    secret: true,
    doc: "Spark Connect server for tables that ask for it: sc://HOST:PORT/;token=…;use_ssl=true. Not set: the embedded engine computes all.",
  }),
  sparkMinInputBytes: bytes({
    default: 0,
    min: 0,
    doc: 'Size of a refresh\'s input files from which on Spark computes it, for tables that name no engine. 0: only those with engine: "spark".',
  }),
} as const satisfies Record<string, Setting<unknown>>;

export type SettingName = keyof typeof SETTINGS;
type ValueOf<S> = S extends Setting<infer Value> ? Value : never;
/** The resolved values, frozen. Paths are absolute. */
export type Settings = { readonly [Name in SettingName]: ValueOf<(typeof SETTINGS)[Name]> };
export type SettingSource = "default" | "project" | "environment" | "flag";

export interface ResolvedSettings {
  readonly settings: Settings;
  /** Where each value came from. */
  readonly sources: Readonly<Record<SettingName, SettingSource>>;
}

/**
 * Resolves every setting: a flag goes before the environment (`MILLRACE_FLUSH_INTERVAL_MS`), that before the project's config, that
 * before the default. Values may be numbers or text (`5s`, `64MiB`). Relative paths are relative to the project's folder when
 * the project names them, else to `cwd`.
 * @throws SETTING_UNKNOWN with the nearest match, SETTING_INVALID
 */
export function resolveSettings(given: {
  /** By the setting's name; undefined is not given. */
  flags?: Readonly<Record<string, unknown>>;
  env?: Readonly<Record<string, string | undefined>>;
  project?: Readonly<Record<string, unknown>>;
  projectDir?: string;
  cwd?: string;
  machine?: Machine;
}): ResolvedSettings {
  const cwd = given.cwd ?? process.cwd();
  const projectDir = given.projectDir ?? cwd;
  const machine = given.machine ?? { cores: availableParallelism(), memoryBytes: totalmem() };
  const env = fromEnvironment(given.env ?? {});
  refuseUnknown(given.flags ?? {}, "flag");
  refuseUnknown(given.project ?? {}, "project");

  const settings: Record<string, unknown> = {};
  const sources: Record<string, SettingSource> = {};
  for (const [name, setting] of declarations()) {
    const layers: [SettingSource, unknown][] = [
      ["flag", given.flags?.[name]],
      ["environment", env[name]],
      ["project", given.project?.[name]],
    ];
    const [source, raw] = layers.find(([, value]) => value !== undefined) ?? ["default", undefined];
    const value = source === "default" ? defaultOf(setting, machine) : parse(name, setting, raw, source);
    const base = source === "flag" || source === "environment" ? cwd : projectDir;
    settings[name] = setting.kind === "path" && typeof value === "string" ? resolve(base, value) : value;
    sources[name] = source;
  }
  return Object.freeze({
    settings: Object.freeze(settings) as unknown as Settings,
    sources: Object.freeze(sources) as Record<SettingName, SettingSource>,
  });
}

/** One line per setting, fit to be shown: quantities as people write them, secrets hidden. */
export function showSettings({
  settings,
  sources,
}: ResolvedSettings): { name: SettingName; value: string | null; source: SettingSource; doc: string }[] {
  return declarations().map(([name, setting]) => {
    const value: unknown = settings[name];
    const shown = value === undefined ? null : setting.secret ? "********" : formatValue(setting, value);
    return { name, value: shown, source: sources[name], doc: setting.doc };
  });
}

export function declarations(): [SettingName, Setting<unknown>][] {
  return Object.entries(SETTINGS) as [SettingName, Setting<unknown>][];
}

function parse(name: SettingName, setting: Setting<unknown>, raw: unknown, source: SettingSource): unknown {
  const value = readValue(setting, raw);
  const inRange = typeof value !== "number" || (value >= (setting.min ?? value) && value <= (setting.max ?? value));
  if (value !== undefined && inRange) return value;
  const got = setting.secret ? "something else" : JSON.stringify(raw);
  throw new MillraceError("SETTING_INVALID", {
    name: spelled(name, source),
    source: PLACES[source],
    allowed: allowed(setting),
    got,
  });
}

function defaultOf(setting: Setting<unknown>, machine: Machine): unknown {
  return typeof setting.default === "function" ? setting.default(machine) : setting.default;
}

const PLACES: Record<SettingSource, string> = {
  default: "default",
  project: "in millrace.config.ts",
  environment: "in the environment",
  flag: "on the command line",
};

function spelled(name: SettingName, source: SettingSource): string {
  return source === "environment" ? environmentName(name) : source === "flag" ? `--${flagName(name)}` : name;
}

/** Names of the environment that are ours and no settings: how commands find a running platform. */
const OTHER_VARIABLES = new Set(["MILLRACE_URL", "MILLRACE_KEY"]);

function fromEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, unknown> {
  const names = new Map(declarations().map(([name]) => [environmentName(name), name]));
  const found: Record<string, unknown> = {};
  for (const [variable, value] of Object.entries(env)) {
    if (!variable.startsWith("MILLRACE_") || OTHER_VARIABLES.has(variable) || value === undefined) continue;
    const name = names.get(variable);
    if (name !== undefined) {
      // Kubernetes describes a service called "millrace" this way to every container (MILLRACE_PORT=tcp://10.0.0.1:80).
      if (!value.startsWith("tcp://")) found[name] = value;
      continue;
    }
    // For the same reason only what looks like a slip is refused.
    const known = [...names.keys()];
    if (
      nearestMatch(
        variable.slice(9),
        known.map((name) => name.slice(9)),
      ) === undefined
    )
      continue;
    throw new MillraceError("SETTING_UNKNOWN", {
      name: variable,
      source: PLACES.environment,
      nearest: didYouMean(variable, known),
    });
  }
  return found;
}

function refuseUnknown(given: Readonly<Record<string, unknown>>, source: SettingSource): void {
  for (const name of Object.keys(given)) {
    if (name in SETTINGS) continue;
    throw new MillraceError("SETTING_UNKNOWN", {
      name,
      source: PLACES[source],
      nearest: didYouMean(name, Object.keys(SETTINGS)),
    });
  }
}

function clamp(value: number, low: number, high: number): number {
  return Math.round(Math.min(Math.max(value, low), high));
}
