/** What the platform has of a project's features: their tables for SQL, their operators for the reactor, and reads for HTTP. */
import { featureColumns, featureSql, labelsSql } from "../define/feature-sql.ts";
import { didYouMean } from "../define/nearest.ts";
import type { Column, Project, Stream } from "../define/project.ts";
import { type Feature, keyFault } from "../define/read-feature.ts";
import { quoteLiteral } from "../define/sql-text.ts";
import { duckdbType, jsonStructure } from "../define/types.ts";
import { MillraceError } from "../errors.ts";
import type { VirtualTable } from "../flow/relations.ts";
import { type FeatureAnswer, type FeatureRead, featureStateHash } from "../react/features/feature-operator.ts";
import type { OperatorPlan } from "../react/operator.ts";
import type { FeatureReads, FeatureSummary, FeatureValue } from "../serve/features-route.ts";

/** `features.<name>` of every feature, computed when a query names it, and `system.features`, the list of them. */
export function featureTables({ features }: Pick<Project, "features">): ReadonlyMap<string, VirtualTable> {
  const all = [...features.values()];
  return new Map([
    ...all.map((feature) => [featureTable(feature), virtual(feature)] as const),
    ["system.features", listed(all.map(summary))],
  ]);
}

const text = (name: string): Column => ({ name, type: { kind: "string" }, nullable: true });
const long = (name: string): Column => ({ name, type: { kind: "long" }, nullable: true });
const LIST_COLUMNS: readonly Column[] = [
  ...[text("name"), text("stream"), text("key"), text("time"), text("aggregate"), text("field"), text("where")],
  ...[long("window_ms"), long("lateness_ms"), long("idle_ms"), text("default"), text("type"), text("table")],
];

function listed(summaries: readonly FeatureSummary[]): VirtualTable {
  const rows = summaries.map(({ windowMs, latenessMs, idleMs, ...rest }) => ({
    ...{ ...rest, window_ms: windowMs, lateness_ms: latenessMs, idle_ms: idleMs },
  }));
  const parsed = `from_json(${quoteLiteral(JSON.stringify(rows))}, ${quoteLiteral(`[${jsonStructure(LIST_COLUMNS)}]`)})`;
  return {
    columns: LIST_COLUMNS,
    inputs: [],
    async relation() {
      return { kind: "native", sql: `select unnest(r) from (select unnest(${parsed}) as r)` };
    },
  };
}

/** The lane that a stream's features and the functions that read them share. */
export function featureLane(stream: string): string {
  return `features.${stream}`;
}

/** @throws REACT_KEY when the log has several partitions of the stream, and the key is not the stream's. */
export function featurePlans(
  { features, streams }: Pick<Project, "features" | "streams">,
  partitions: (stream: string) => number,
): readonly OperatorPlan[] {
  return [...features.values()].map((feature) => {
    const stream = streams.get(feature.stream) as Stream;
    if (partitions(stream.name) > 1 && stream.key !== feature.key.name) {
      throw new MillraceError("REACT_KEY", keyFault(`feature "${feature.name}"`, feature.key.name, stream));
    }
    return {
      kind: "feature",
      name: feature.name,
      stream: feature.stream,
      lane: featureLane(feature.stream),
      from: "beginning",
      stateHash: featureStateHash(feature),
      plan: feature,
    };
  });
}

export interface FeatureParts {
  readonly project: Pick<Project, "features" | "streams">;
  readonly partitions: (stream: string) => number;
  readonly partitionOf: (key: string, partitions: number) => number;
  /** Asks the feature's operator in the lane of a partition. */
  readonly read: (feature: string, partition: number, request: FeatureRead) => Promise<unknown>;
  readonly clock: () => number;
}

export function featureReads({ project, partitions, partitionOf, read, clock }: FeatureParts): FeatureReads {
  const known = (name: string): Feature => {
    const feature = project.features.get(name);
    if (feature !== undefined) return feature;
    throw new MillraceError("FEATURE_UNKNOWN", { feature: name, nearest: didYouMean(name, project.features.keys()) });
  };

  /** One request for each partition that has keys of them. */
  const values = async (feature: Feature, keys: readonly string[], request: Omit<FeatureRead, "keys">) => {
    const count = partitions(feature.stream);
    const byPartition = new Map<number, number[]>();
    for (const [i, key] of keys.entries()) {
      const partition = count === 1 ? 0 : partitionOf(key, count);
      byPartition.set(partition, [...(byPartition.get(partition) ?? []), i]);
    }
    const found: FeatureValue[] = new Array<FeatureValue>(keys.length).fill(null);
    await Promise.all(
      [...byPartition].map(async ([partition, places]) => {
        const asked = { ...request, keys: places.map((i) => keys[i] as string) };
        const answer = (await read(feature.name, partition, asked)) as FeatureAnswer;
        for (const [j, place] of places.entries()) found[place] = answer.values[j] ?? null;
      }),
    );
    return found;
  };

  return {
    list: () => [...project.features.values()].map((feature) => summary(feature)),
    get: (name) => summary(known(name)),
    sql(name, labels) {
      return labels === undefined ? featureSql(known(name)) : labelsSql(known(name), labels);
    },
    async read(names, entities, askedMs) {
      const nowMs = clock();
      const atMs = askedMs ?? nowMs;
      const columns = await Promise.all(
        names.map(known).map((feature) => {
          const keys = entities.map((entity) => keyOf(feature, entity));
          return values(feature, keys, { atUs: atMs * 1000, nowMs });
        }),
      );
      return { atMs, rows: entities.map((_, row) => columns.map((column) => column[row] ?? null)) };
    },
  };
}

function keyOf({ name, key }: Feature, entity: Readonly<Record<string, string>>): string {
  const found = Object.hasOwn(entity, key.name) ? entity[key.name] : undefined;
  if (found !== undefined) return found;
  throw new MillraceError("REQUEST_INVALID", { reason: `feature "${name}" needs "${key.name}" of each entity` });
}

function virtual(feature: Feature): VirtualTable {
  return {
    columns: featureColumns(feature),
    inputs: [feature.stream],
    async relation(picture) {
      const inputs = new Map([[feature.stream, await picture.relation({ name: feature.stream })]]);
      return { kind: "view", statement: { sql: featureSql(feature), inputs } };
    },
  };
}

function featureTable({ name }: Feature): string {
  return `features.${name}`;
}

function summary(feature: Feature): FeatureSummary {
  const { name, stream, key, time, aggregate, where, windowMs, latenessMs, idleMs } = feature;
  return {
    ...{ name, stream, key: key.name, time: time?.name ?? "_received_at", aggregate: aggregate.function },
    ...(aggregate.field && { field: aggregate.field.name }),
    ...(where && { where: where.sql }),
    ...{ windowMs, latenessMs, idleMs },
    ...(feature.default !== undefined && { default: feature.default }),
    ...{ type: duckdbType(aggregate.column.type), table: featureTable(feature) },
  };
}
