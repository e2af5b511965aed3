import { LOOKUP, type Lookup, type LookupOptions } from "./lookup.ts";
import { didYouMean } from "./nearest.ts";
import { invalidOption, isNameList, isRecord, unknownOptions } from "./options.ts";
import type { Problem } from "./problem.ts";
import type { Column } from "./project.ts";

/** A look-up as the thread of reactions keeps it. The same table, key and columns are kept once, whoever asks. */
export interface LookupPlan {
  readonly id: string;
  readonly table: string;
  readonly key: string;
  readonly asOf: string | undefined;
  readonly columns: readonly string[];
  readonly maxRows: number;
}

const MAX_ROWS = 1_000_000;
const OPTIONS = ["key", "asOf", "columns", "maxRows"];
const TIMES: ReadonlySet<string> = new Set(["timestamp", "date"]);

/** The look-ups of an option `lookups`, by their names; what is wrong with them is added to `problems`. `columnsOf`: undefined for no table. */
export function readLookups(
  lookups: unknown,
  subject: string,
  tables: { names(): Iterable<string>; columns(name: string): readonly Column[] | undefined },
  problems: Problem[],
): Readonly<Record<string, LookupPlan>> {
  if (lookups === undefined) return {};
  const allowed = 'an object of look-ups such as { service: lookup("silver.last_service", { key: "vehicle_id" }) }';
  if (!isRecord(lookups)) {
    problems.push(invalidOption(subject, "lookups", lookups, allowed));
    return {};
  }
  const plans: Record<string, LookupPlan> = {};
  for (const [name, value] of Object.entries(lookups)) {
    if (!isRecord(value) || !(LOOKUP in value)) {
      problems.push(invalidOption(subject, `lookups.${name}`, value, 'what lookup("table", { key: … }) gives'));
      continue;
    }
    const { table, options } = value as unknown as Lookup;
    const columns = tables.columns(table);
    if (columns === undefined) {
      const nearest = didYouMean(table, [...tables.names()]);
      problems.push(invalidOption(subject, `lookups.${name}`, table, `a table of the project${nearest}`));
      continue;
    }
    const plan = planOf(table, options, columns, `lookup "${name}" of ${subject}`, problems);
    if (plan !== undefined) plans[name] = plan;
  }
  return plans;
}

function planOf(
  table: string,
  options: LookupOptions,
  columns: readonly Column[],
  subject: string,
  problems: Problem[],
): LookupPlan | undefined {
  if (!isRecord(options)) {
    problems.push(invalidOption(subject, "the second argument", options, "an object of options"));
    return undefined;
  }
  const before = problems.length;
  problems.push(...unknownOptions(subject, options, OPTIONS));
  const { key, asOf, columns: kept, maxRows = MAX_ROWS } = options;
  const own = columns.filter(({ name }) => !name.startsWith("_")).map(({ name }) => name);
  const check = (option: string, name: unknown) => {
    const found = columns.find((column) => column.name === name);
    if (found === undefined)
      problems.push(invalidOption(subject, option, name, `a column of ${table}: ${own.join(", ")}`));
    return found;
  };
  check("key", key);
  const time = asOf === undefined ? undefined : check("asOf", asOf);
  if (time && !TIMES.has(time.type.kind))
    problems.push(invalidOption(subject, "asOf", asOf, `a timestamp or date; it is ${time.type.kind}`));
  if (kept !== undefined && !(isNameList(kept) && kept.length > 0))
    problems.push(invalidOption(subject, "columns", kept, "a list of columns"));
  else for (const name of kept ?? []) check("columns", name);
  if (!(Number.isSafeInteger(maxRows) && maxRows > 0))
    problems.push(invalidOption(subject, "maxRows", maxRows, "a whole number above 0"));
  if (problems.length > before) return undefined;
  const list = kept ?? own;
  const id = JSON.stringify([table, key, asOf ?? null, list, maxRows]);
  return { id, table, key, asOf, columns: list, maxRows };
}
