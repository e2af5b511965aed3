import { readFile } from "node:fs/promises";
import { runFolder } from "./cache.ts";
import { EngineError } from "./engine-error.ts";
import { absent } from "./server-process.ts";

/** Where the engines answer, and with what: the contents of `run/engines.json`. One that was not asked for is not there. */
export interface Endpoints {
  readonly kafka?: KafkaEndpoint;
  readonly s3?: S3Endpoint;
  readonly postgres?: PostgresEndpoint;
  readonly spark?: SparkEndpoint;
}

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** Three brokers, each with the same five doors. Bootstrap texts are `host:port,host:port,host:port`. */
export interface KafkaEndpoint {
  readonly clusterId: string;
  readonly brokers: readonly KafkaBroker[];
  /** No encryption, no password; whoever comes this way may do everything. */
  readonly bootstrap: string;
  /** TLS without a password; may do everything as well. */
  readonly bootstrapTls: string;
  /** SASL (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512) without encryption. */
  readonly bootstrapSasl: string;
  /** SASL over TLS. */
  readonly bootstrapSaslTls: string;
  /** The certificate authority (PEM) that signed the brokers' certificates: for `localhost` and `127.0.0.1`. */
  readonly caFile: string;
  readonly users: {
    /** May do everything; known to every mechanism. */
    readonly admin: Credentials;
    /**
     * May describe the cluster, and read, write and describe topics, and join groups, whose names begin with `allowed-`; nothing else.
     * Known to every mechanism.
     */
    readonly limited: Credentials;
  };
  /** A folder with the jars of the server and its tools: `java -cp '<folder>/*' org.apache.kafka.tools.ProducerPerformance`. */
  readonly jars: string;
}

export interface KafkaBroker {
  readonly id: number;
  readonly folder: string;
  readonly ports: Readonly<Record<"plain" | "controller" | "tls" | "sasl" | "saslTls", number>>;
}

export interface S3Endpoint {
  /** `http://127.0.0.1:PORT`; buckets are addressed by path. */
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface PostgresEndpoint extends Credentials {
  readonly host: string;
  readonly port: number;
  /** An empty database; the user may create more. */
  readonly database: string;
  /** All of it: `postgres://user:password@host:port/database`. */
  readonly url: string;
}

export interface SparkEndpoint {
  /** Of Spark Connect: `sc://127.0.0.1:PORT`. */
  readonly url: string;
  /** A Python that has pyspark and delta, for jobs of one's own. */
  readonly python: string;
  /** Jars that such a job wants for `s3a://` and Delta. */
  readonly jars: readonly string[];
}

export type EngineName = keyof Endpoints;

export const ENGINE_NAMES: readonly EngineName[] = ["kafka", "s3", "postgres", "spark"];

export function endpointsFile(): string {
  return runFolder("engines.json");
}

/** Whatever is up; nothing when nothing is. */
export async function readEndpoints(): Promise<Endpoints> {
  const text = await readFile(endpointsFile(), "utf8").catch(absent);
  return text === undefined ? {} : (JSON.parse(text) as Endpoints);
}

/**
 * An engine that a test relies on.
 * @throws EngineError when it was not started: a backend that is claimed and not there is a failure, never a skip
 */
export async function endpoint<Name extends EngineName>(name: Name): Promise<NonNullable<Endpoints[Name]>> {
  const found = (await readEndpoints())[name];
  if (found !== undefined) return found;
  throw new EngineError(`the engine ${name} is not up`, { next: `npm run engines:up -- ${name}` });
}
