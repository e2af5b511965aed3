import { type Definition, definitionKind } from "./definition.ts";
import { didYouMean } from "./nearest.ts";
import { invalidOption, isRecord, showValue } from "./options.ts";
import type { Problem } from "./problem.ts";
import type { Table } from "./project.ts";
import type { Feature } from "./read-feature.ts";
import type { StreamFunction } from "./read-function.ts";
import { readLookups } from "./read-lookup.ts";

export interface FunctionSurroundings {
  readonly tables: ReadonlyMap<string, Table>;
  readonly features: ReadonlyMap<string, Feature>;
  /** Names of definitions with problems of their own, which are told there. */
  readonly broken: ReadonlySet<string>;
}

/** A function with the features and tables that it reads, or what is wrong with those. */
export function bindFunction(
  one: StreamFunction,
  { options }: Definition,
  { tables, features, broken }: FunctionSurroundings,
): StreamFunction | readonly Problem[] {
  const problems: Problem[] = [];
  const subject = `function "${one.name}"`;
  const given = isRecord(options) ? options : {};
  const own = readFeatures(given["features"], one, features, problems);
  const around = {
    names: () => tables.keys(),
    columns: (name: string) => tables.get(name)?.columns ?? (broken.has(name) ? [] : undefined),
  };
  const lookups = readLookups(given["lookups"], subject, around, problems);
  return problems.length > 0 ? problems : { ...one, features: own, lookups };
}

function readFeatures(
  given: unknown,
  { name, stream }: StreamFunction,
  features: ReadonlyMap<string, Feature>,
  problems: Problem[],
): readonly string[] {
  const subject = `function "${name}"`;
  const allowed = "a list of features, as feature(…) gives them";
  if (given === undefined) return [];
  if (!Array.isArray(given)) {
    problems.push(invalidOption(subject, "features", given, allowed));
    return [];
  }
  return (given as unknown[]).flatMap((one) => {
    const read = definitionKind(one) === "feature" ? (one as Definition).name : one;
    const feature = typeof read === "string" ? features.get(read) : undefined;
    if (feature?.stream === stream) return [feature.name];
    const what =
      typeof read !== "string"
        ? allowed
        : feature === undefined
          ? `a feature that a module of the project exports${didYouMean(read, [...features.keys()])}`
          : `a feature of the stream "${stream}"; it is one of "${feature.stream}"`;
    problems.push(invalidOption(subject, "features", showValue(read), what));
    return [];
  });
}
