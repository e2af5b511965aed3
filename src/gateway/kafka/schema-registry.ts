/**
 * The schemas of a registry that speaks Confluent's protocol, as Apicurio, Karapace, Redpanda and others do:
 *
 *     GET <url>/schemas/ids/<id>                            {"schema": "…", "schemaType": "AVRO", "references": [{name, subject, version}]}
 *     GET <url>/subjects/<subject>/versions/<version>       {"id", "schema", "references", …}
 *
 * A schema never changes under its id, so each is asked for once.
 */
import { type AvroType, avroType } from "./avro-json.ts";

export interface RegistryAccess {
  readonly url: string;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly fetch?: typeof fetch;
}

/** A schema, or why values of it cannot be read. */
export type FoundSchema = { readonly type: AvroType } | { readonly problem: string };

/** The registry is the matter, not one record: nothing may be concluded of the schema. */
export class RegistryFailure extends Error {}

interface Answer {
  readonly schema: string;
  readonly schemaType?: string;
  readonly references?: readonly { readonly subject: string; readonly version: number }[];
}

const TIMEOUT_MS = 10_000;
/** Schemas that name others that name others: more than this is a circle. */
const MOST_REFERENCES = 200;
const SCHEMA_UNKNOWN = 40403;

export class SchemaRegistry {
  readonly #access: RegistryAccess;
  readonly #found = new Map<number, FoundSchema>();
  readonly #asked = new Map<number, Promise<FoundSchema>>();

  constructor(access: RegistryAccess) {
    this.#access = access;
  }

  /** Undefined while it has not been asked for. */
  known(id: number): FoundSchema | undefined {
    return this.#found.get(id);
  }

  /** @throws RegistryFailure */
  find(id: number): Promise<FoundSchema> {
    const asked = this.#asked.get(id) ?? this.#ask(id);
    this.#asked.set(id, asked);
    return asked;
  }

  async #ask(id: number): Promise<FoundSchema> {
    try {
      const found = await this.#read(id);
      this.#found.set(id, found);
      return found;
    } finally {
      // What is known is kept; what failed, or is not known yet, is asked for again.
      this.#asked.delete(id);
    }
  }

  async #read(id: number): Promise<FoundSchema> {
    const answer = await this.#get(`schemas/ids/${id}`);
    if (answer === undefined) return { problem: `the registry knows no schema ${id}` };
    const { schemaType = "AVRO" } = answer;
    if (schemaType !== "AVRO") return { problem: `schema ${id} is ${schemaType}; AVRO can be read` };
    const references = new Map<string, string>();
    await this.#references(answer, references);
    try {
      return {
        type: avroType(
          JSON.parse(answer.schema),
          [...references.values()].map((text) => JSON.parse(text)),
        ),
      };
    } catch (error) {
      return { problem: `schema ${id} cannot be used: ${(error as Error).message}` };
    }
  }

  /** Those that it names, each behind its own. */
  async #references({ references = [] }: Answer, into: Map<string, string>): Promise<void> {
    for (const { subject, version } of references) {
      const path = `subjects/${encodeURIComponent(subject)}/versions/${version}`;
      if (into.has(path)) continue;
      if (into.size >= MOST_REFERENCES)
        throw new RegistryFailure(`schemas name each other more than ${MOST_REFERENCES} times`);
      const named = await this.#get(path);
      if (named === undefined) throw new RegistryFailure(`it does not have version ${version} of "${subject}"`);
      await this.#references(named, into);
      into.set(path, named.schema);
    }
  }

  /** Undefined where the registry says that there is no such schema. */
  async #get(path: string): Promise<Answer | undefined> {
    const { url, username, password } = this.#access;
    const headers: Record<string, string> = { accept: "application/vnd.schemaregistry.v1+json, application/json" };
    if (username !== undefined)
      headers["authorization"] = `Basic ${Buffer.from(`${username}:${password ?? ""}`).toString("base64")}`;
    let status: number;
    let text: string;
    try {
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      const response = await (this.#access.fetch ?? fetch)(`${url.replace(/\/+$/, "")}/${path}`, { headers, signal });
      status = response.status;
      text = await response.text();
    } catch (error) {
      const { message, cause } = error as Error;
      throw new RegistryFailure(cause instanceof Error ? cause.message : message, { cause: error });
    }
    const answer = parsed(text);
    if (status === 404 && answer?.["error_code"] === SCHEMA_UNKNOWN) return undefined;
    if (status !== 200) throw new RegistryFailure(`it answers ${status} to ${path}`);
    if (typeof answer?.["schema"] !== "string") throw new RegistryFailure(`its answer to ${path} holds no schema`);
    return answer as unknown as Answer;
  }
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined; // said by the caller, with the status
  }
}
