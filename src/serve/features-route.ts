import type { FastifyInstance, preHandlerAsyncHookHandler } from "fastify";
import { MillraceError } from "../errors.ts";

export type FeatureValue = number | string | boolean | null;

/** Features as the route needs them. */
export interface FeatureReads {
  list(): readonly FeatureSummary[];
  /** @throws FEATURE_UNKNOWN */
  get(name: string): FeatureSummary;
  /** The features of each entity, in the order of the names. `atMs` undefined: now. @throws FEATURE_UNKNOWN */
  read(names: readonly string[], entities: readonly Entity[], atMs: number | undefined): Promise<FeatureRows>;
  /** Point-in-time correct SQL. @throws FEATURE_UNKNOWN */
  sql(name: string, labels?: Labels): string;
}

export interface FeatureSummary {
  readonly name: string;
  readonly stream: string;
  readonly key: string;
  readonly time: string;
  readonly aggregate: string;
  readonly field?: string;
  readonly where?: string;
  readonly windowMs: number;
  readonly latenessMs: number;
  readonly idleMs: number;
  readonly default?: FeatureValue;
  /** SQL type of the value. */
  readonly type: string;
  /** Name by which SQL has it of every event. */
  readonly table: string;
}

/** Key field -> its value. */
export type Entity = Readonly<Record<string, string>>;

export interface FeatureRows {
  readonly atMs: number;
  readonly rows: readonly (readonly FeatureValue[])[];
}

export interface Labels {
  readonly table: string;
  readonly key: string;
  readonly time: string;
  readonly known: "event" | "arrival";
}

export interface FeaturesRouteOptions {
  readonly features: FeatureReads;
  /** Lets only keys with the scope through. */
  readonly requireScope: (scope: "query") => preHandlerAsyncHookHandler;
}

/**
 * `GET /v1/features` lists the features: `{features: FeatureSummary[]}`; `GET /v1/features/{name}` is one of them.
 *
 * `GET /v1/features/{name}?key=c1&at=2025-06-30T12:00:00Z` reads a value, as of now unless `at` is given: `{feature, key, at, value}`.
 *
 * `POST /v1/features {features: ["card_spend_10m", …], entities: [{card_id: "c1"}, …], at?}` reads several at one moment: `{at, features, rows}`, a row
 * per entity with the values in the order of `features`. An entity has the key field of each feature; at most 1,000 entities and 100 features.
 *
 * `GET /v1/features/{name}/sql` is `{sql}`: the feature at every event; with `?labels=TABLE&key=COLUMN&time=COLUMN&known=event|arrival` the feature of each row
 * of a table, as of the row's time.
 *
 * Decimals are texts, instants ISO 8601 in UTC, as `/v1/sql` has them. Errors are thrown; the server turns them into answers.
 */
export async function featuresRoute(app: FastifyInstance, { features, requireScope }: FeaturesRouteOptions) {
  const query = { preHandler: requireScope("query") };
  type Named = { Params: { name: string }; Querystring: Record<string, unknown> };

  app.get("/v1/features", query, async () => ({ features: features.list() }));

  app.get<Named>("/v1/features/:name", query, async ({ params: { name }, query: given }) => {
    const texts = readTexts(given, ["key", "at"]);
    const summary = features.get(name);
    if (texts["key"] === undefined) {
      if (texts["at"] !== undefined) throw invalid("at", "given", "left out, or together with key");
      return summary;
    }
    const entity = { [summary.key]: texts["key"] };
    const { rows, atMs } = await features.read([name], [entity], readInstant(texts["at"]));
    return { feature: name, key: texts["key"], at: new Date(atMs).toISOString(), value: rows[0]?.[0] ?? null };
  });

  app.get<Named>("/v1/features/:name/sql", query, async ({ params: { name }, query: given }) => {
    const { labels, key, time, known = "event" } = readTexts(given, ["labels", "key", "time", "known"]);
    if (labels === undefined && key === undefined && time === undefined) return { sql: features.sql(name) };
    if (labels === undefined || key === undefined || time === undefined)
      throw new MillraceError("REQUEST_INVALID", { reason: "labels, key and time belong together" });
    if (known !== "event" && known !== "arrival") throw invalid("known", JSON.stringify(known), "event or arrival");
    return { sql: features.sql(name, { table: labels, key, time, known }) };
  });

  app.post("/v1/features", query, async ({ body }) => {
    const { names, entities, atMs: asked } = readRequest(body);
    const { rows, atMs } = await features.read(names, entities, asked);
    return { at: new Date(atMs).toISOString(), features: names, rows };
  });
}

const MOST_ENTITIES = 1000;
const MOST_FEATURES = 100;

function readRequest(body: unknown): {
  names: readonly string[];
  entities: readonly Entity[];
  atMs: number | undefined;
} {
  const wrong = (reason: string) => new MillraceError("REQUEST_INVALID", { reason });
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw wrong('the body must be an object such as {"features": ["…"], "entities": [{"card_id": "…"}]}');
  const { features, entities, at, ...others } = body as Record<string, unknown>;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw wrong(`"${unknown}" is not known here; allowed is features, entities and at`);
  const named = Array.isArray(features) && features.every((name) => typeof name === "string");
  if (!named || features.length === 0 || features.length > MOST_FEATURES)
    throw wrong(`features must be a list of 1 to ${MOST_FEATURES} names`);
  if (!Array.isArray(entities) || entities.length === 0 || entities.length > MOST_ENTITIES)
    throw wrong(`entities must be a list of 1 to ${MOST_ENTITIES} objects`);
  if (at !== undefined && typeof at !== "string") throw wrong("at must be an instant, as text");
  const read = entities.map((entity: unknown): Entity => {
    if (typeof entity !== "object" || entity === null || Array.isArray(entity))
      throw wrong('an entity must be an object such as {"card_id": "…"}');
    const values = Object.entries(entity).map(([field, value]) => {
      if (!["string", "number", "boolean"].includes(typeof value))
        throw wrong(`"${field}" of an entity must be text, a number or a boolean`);
      return [field, String(value)] as const;
    });
    return Object.fromEntries(values);
  });
  return { names: features as string[], entities: read, atMs: readInstant(at) };
}

function readTexts(given: Record<string, unknown>, allowed: readonly string[]): Record<string, string | undefined> {
  for (const [name, value] of Object.entries(given)) {
    if (!allowed.includes(name)) throw invalid(name, "not known here", allowed.map((a) => `"${a}"`).join(", "));
    if (typeof value !== "string") throw invalid(name, JSON.stringify(value), "one text");
  }
  return given as Record<string, string>;
}

const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,3})?(?:Z|[+-]\d\d:\d\d)$/;

function readInstant(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = INSTANT.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms)) throw invalid("at", JSON.stringify(text), 'an instant such as "2025-06-30T12:00:00Z"');
  return ms;
}

function invalid(name: string, got: string, allowed: string): MillraceError {
  return new MillraceError("PARAMETER_INVALID", { name, got, allowed });
}
