/**
 * Functions that make a value as large as an argument says. DuckDB's memory limit does not count what such a function
 * allocates, and an interrupt does not reach into it: `range(100000000)` takes ten gigabytes and a minute, whatever the
 * limits. Macros of the same names come before the built-in functions and refuse sizes that no real query needs. (The table
 * function `range` hands out its rows as they are read and needs no bound.)
 */

/** A vector of 2,048 such values is 200 MB. */
const MOST_BYTES = 100_000;
/** As numbers, 400 kB. */
const MOST_ITEMS = 50_000;
/** What replacing can make of a text at the worst: texts of events (1 MiB) pass with replacements of some size. */
const MOST_EXPANDED_BYTES = 64 * 2 ** 20;

/** Steps of an interval between two times; a month has at least 28 days. */
const STEPS = "abs(epoch(b) - epoch(a)) / greatest(0.000001, abs(date_part('epoch', c) * 28 / 31))";

/** Statements that set the bounds, to be run in a new database. */
export const BOUNDED_FUNCTIONS: readonly string[] = [
  `CREATE MACRO repeat(s, n) AS system.main.repeat(s, ${bounded("n", "n * strlen(s::VARCHAR)", MOST_BYTES, "repeat")})`,
  ...["lpad", "rpad"].map(
    (name) => `CREATE MACRO ${name}(s, n, p) AS system.main.${name}(s, ${bounded("n", "n", MOST_BYTES, name)}, p)`,
  ),
  `CREATE MACRO replace(s, a, b) AS system.main.replace(s, a, ${expanded("replace")})`,
  `CREATE MACRO regexp_replace
    (s, a, b) AS system.main.regexp_replace(s, a, ${expanded("regexp_replace")}),
    (s, a, b, o) AS system.main.regexp_replace(s, a, ${expanded("regexp_replace")}, o)`,
  ...["range", "generate_series"].map((name) => {
    const bound = (count: string) => bounded("b", count, MOST_ITEMS, name);
    const times = ["DATE", "TIMESTAMP", "TIMESTAMPTZ"].map(
      (type) => `, (a ${type}, b ${type}, c INTERVAL) AS system.main.${name}(a, ${bound(STEPS)}, c)`,
    );
    return `CREATE MACRO ${name}
      (b) AS system.main.${name}(${bound("b")}),
      (a, b) AS system.main.${name}(a, ${bound("b - a")}),
      (a BIGINT, b BIGINT, c BIGINT) AS system.main.${name}(a, ${bound("abs((b::HUGEINT - a) // nullif(c, 0))")}, c)
      ${times.join("")}`;
  }),
  ...["list_resize", "array_resize"].map((name) => {
    const bound = bounded("n", "n", MOST_ITEMS, name);
    return `CREATE MACRO ${name}
      (l, n) AS system.main.${name}(l, ${bound}), (l, n, v) AS system.main.${name}(l, ${bound}, v)`;
  }),
];

/** `argument`, or an error when `size` is beyond the bound. */
function bounded(argument: string, size: string, most: number, name: string): string {
  const what = most === MOST_ITEMS ? "items" : "bytes";
  return `CASE WHEN (${size}) > ${most} THEN error('${name} makes more than ${most} ${what} in one value') ELSE ${argument} END`;
}

function expanded(name: string): string {
  return bounded("b", "strlen(s) * (strlen(b) + 1)", MOST_EXPANDED_BYTES, name);
}
