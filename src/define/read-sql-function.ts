import { createHash } from "node:crypto";
import * as z from "zod";
import { readContract } from "./contract.ts";
import type { Definition } from "./definition.ts";
import { invalidOption, isRecord, unknownOptions } from "./options.ts";
import { type Problem, problem } from "./problem.ts";
import type { Column } from "./project.ts";
import { duckdbType } from "./types.ts";
import { isZod } from "./zod-definition.ts";

/** A function of the project that SQL can call. */
export interface SqlFunction {
  readonly name: string;
  readonly takes: readonly Column[];
  readonly gives: Column;
  readonly compute: (values: Readonly<Record<string, unknown>>) => unknown;
  /** Changes with its parameters, its result and its text: what was computed by another one is computed again. */
  readonly hash: string;
  readonly file: string;
}

const NAME = /^[a-z][a-z0-9_]{0,62}$/;
const TAKEN: ReadonlySet<string> = new Set(["string", "integer", "long", "double", "float", "boolean", "timestamp", "date", "decimal", "json"]); // biome-ignore format: one list
const GIVEN: ReadonlySet<string> = new Set(["string", "integer", "long", "double", "float", "boolean", "timestamp"]);

/** The function that a definition describes, or everything that is wrong with it as such. */
export function readSqlFunction({ name, options }: Definition, file: string): SqlFunction | readonly Problem[] {
  const subject = `sqlFunction "${name}"`;
  const problems: Problem[] = [];
  if (typeof name !== "string" || !NAME.test(name)) {
    const allowed = "a name is lower-case letters, digits and _, begins with a letter and has at most 63 characters";
    problems.push(problem("NAME_INVALID", { subject: "a sqlFunction", got: name, allowed }));
  }
  if (!isRecord(options))
    return [...problems, invalidOption(subject, "the second argument", options, "an object of options")];
  const { takes, gives, compute } = options;
  problems.push(...unknownOptions(subject, options, ["takes", "gives", "compute"]));
  if (typeof compute !== "function")
    problems.push(invalidOption(subject, "the third argument", compute, "the function that computes"));
  const parameters = columnsOf(takes, `takes of ${subject}`, TAKEN, problems);
  if (!isZod(gives)) {
    problems.push(invalidOption(subject, "gives", gives, "a Zod schema of one value"));
    return problems;
  }
  const [result] = columnsOf(z.object({ result: gives as z.ZodType }), `gives of ${subject}`, GIVEN, problems);
  if (problems.length > 0 || result === undefined) return problems;
  const signature = [...parameters, result].map(({ type, nullable }) => `${duckdbType(type)} ${nullable}`);
  const hash = createHash("sha256").update([...signature, String(compute)].join("\n")).digest("hex").slice(0, 16); // biome-ignore format: one thing
  return { name, takes: parameters, gives: result, compute: compute as SqlFunction["compute"], hash, file };
}

function columnsOf(
  schema: unknown,
  subject: string,
  kinds: ReadonlySet<string>,
  problems: Problem[],
): readonly Column[] {
  const contract = readContract(schema, subject);
  if (!("columns" in contract)) {
    problems.push(...contract);
    return [];
  }
  for (const { name, type } of contract.columns)
    if (!kinds.has(type.kind))
      problems.push(invalidOption(subject, name, type.kind, `${[...kinds].join(", ")}; others go as text or JSON, with a cast in SQL`)); // biome-ignore format: one call
  return contract.columns;
}
