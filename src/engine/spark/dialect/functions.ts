/**
 * The functions and operators of DuckDB that are known to mean the same in Spark, each with how it is written there. What is not here is refused:
 * a name that both engines have says nothing (`round` of a double, `concat` of a null, `trim` of a no-break space, `date_sub`,
 * `split`…). `test/engines/` compares both engines over random values for every one of them.
 */
import { castTo } from "./casts.ts";
import { firstOf, likePattern, sparkRegex } from "./patterns.ts";
import {
  BOOLEAN,
  commonType,
  constantInteger,
  DATE,
  DECIMAL,
  DOUBLE,
  INTERVAL,
  isFloating,
  isInstant,
  isInteger,
  isNull,
  isNumber,
  isText,
  type Kind,
  kindOf,
  LONG,
  Refused,
  STRING,
  TIMESTAMP,
  type Value,
} from "./value.ts";

/** Writes a call; refuses arguments for which the two differ. */
export type Rule = (args: readonly Value[]) => Value;

/** A call with the same name, or another, of arguments of certain kinds. */
function same(name: string, type: Kind, ...kinds: readonly Check[]): Rule {
  return (args) => {
    take(name, args, kinds);
    return { sql: `${name}(${args.map(({ sql }) => sql).join(", ")})`, type };
  };
}

interface Check {
  readonly is: (value: Value) => boolean;
  readonly words: string;
}

const any: Check = { is: () => true, words: "anything" };
const text: Check = { is: isText, words: "text" };
const number: Check = { is: isNumber, words: "a number" };
const integer: Check = { is: isInteger, words: "a whole number" };
const instant: Check = { is: isInstant, words: "a timestamp" };
/** A quantile of decimals is a decimal in DuckDB, rounded to their digits. */
const wholeOrDouble: Check = {
  is: (value) => isInteger(value) || isFloating(value),
  words: "a whole number or a double",
};
const day: Check = { is: (value) => isInstant(value) || kindOf(value) === "date", words: "a date or a timestamp" };
const bool: Check = { is: (value) => kindOf(value) === "boolean", words: "a condition" };
const constantText: Check = { is: ({ constant }) => typeof constant === "string", words: "a text as it is written" };
const positive: Check = {
  is: (value) => (constantInteger(value) ?? 0) > 0,
  words: "a number from 1 on as it is written",
};
const scalar: Check = {
  is: (value) => !["struct", "array", "map", "unknown"].includes(kindOf(value)),
  words: "text, a number, a boolean, a date or a timestamp",
};

function take(name: string, args: readonly Value[], kinds: readonly Check[]): void {
  if (args.length !== kinds.length)
    throw new Refused(`${name} of ${args.length} arguments`, `${name} of ${kinds.length}`);
  for (const [i, check] of kinds.entries()) {
    const value = args[i] as Value;
    if (isNull(value) || check.is(value)) continue;
    const what = value.type === undefined ? "something whose type is not known" : kindOf(value);
    throw new Refused(`${name} of ${what}`, `${check.words} there`);
  }
}

function double(value: Value): string {
  return kindOf(value) === "double" ? value.sql : `CAST(${value.sql} AS DOUBLE)`;
}

/** Written for each argument anew: `rule(sql…)`. */
function made(
  kinds: readonly Check[],
  type: Kind | ((args: readonly Value[]) => Kind),
  write: (...sql: string[]) => string,
): (name: string) => Rule {
  return (name) => (args) => {
    take(name, args, kinds);
    return { sql: write(...args.map(({ sql }) => sql)), type: typeof type === "function" ? type(args) : type };
  };
}

function plus(args: readonly Value[]): Value {
  const [a, b] = args as [Value, Value];
  if (args.length === 1) return a;
  if (kindOf(a) === "interval") return plus([b, a]);
  if (kindOf(b) === "interval" && (isInstant(a) || kindOf(a) === "date")) return moved("+", a, b);
  if (kindOf(a) === "date" && isInteger(b)) return { sql: `date_add(${a.sql}, CAST(${b.sql} AS INT))`, type: DATE };
  if (isInteger(a) && kindOf(b) === "date") return plus([b, a]);
  return arithmetic("+", a, b);
}

function minus(args: readonly Value[]): Value {
  const [a, b] = args as [Value, Value];
  if (args.length === 1) {
    if (!isNumber(a)) throw new Refused(`- of ${kindOf(a)}`, "a number there");
    const constant =
      typeof a.constant === "number"
        ? { constant: -a.constant }
        : typeof a.constant === "bigint"
          ? { constant: -a.constant }
          : {};
    return { sql: `(- ${a.sql})`, type: a.type, ...constant };
  }
  if (kindOf(b) === "interval" && (isInstant(a) || kindOf(a) === "date")) return moved("-", a, b);
  if (kindOf(a) === "date" && isInteger(b)) return { sql: `date_sub(${a.sql}, CAST(${b.sql} AS INT))`, type: DATE };
  if (kindOf(a) === "date" && kindOf(b) === "date")
    return { sql: `CAST(datediff(${a.sql}, ${b.sql}) AS BIGINT)`, type: LONG };
  if (isInstant(a) && isInstant(b)) return { sql: `(${a.sql} - ${b.sql})`, type: INTERVAL };
  return arithmetic("-", a, b);
}

/** A date becomes an instant when an interval is added to it. */
function moved(operator: string, a: Value, b: Value): Value {
  const from = kindOf(a) === "date" ? `CAST(${a.sql} AS TIMESTAMP)` : a.sql;
  return { sql: `(${from} ${operator} ${b.sql})`, type: TIMESTAMP };
}

function arithmetic(operator: string, a: Value, b: Value): Value {
  if (isNull(a) || isNull(b)) return { sql: "NULL", type: { kind: "null" } };
  if (!isNumber(a) || !isNumber(b)) throw new Refused(`${known(a)} ${operator} ${known(b)}`, "numbers there");
  if (kindOf(a) === "float" || kindOf(b) === "float") throw new Refused(`${operator} of FLOAT`, "cast to double first");
  return { sql: `(${a.sql} ${operator} ${b.sql})`, type: commonType([a, b]) };
}

function known(value: Value): string {
  return value.type === undefined ? "something whose type is not known" : kindOf(value);
}

/** Always of doubles, and by zero as IEEE 754 has it. */
function divide(args: readonly Value[]): Value {
  take("/", args, [number, number]);
  const [a, b] = args as [Value, Value];
  const [x, y] = [double(a), double(b)];
  const divisor = typeof b.constant === "string" ? undefined : b.constant;
  if (divisor !== undefined && Number(divisor) !== 0) return { sql: `(${x} / ${y})`, type: DOUBLE };
  // x times infinity is infinity with the sign of x, and not a number where x is zero. Zero has a sign, which only its text shows.
  const infinity = `CASE WHEN CAST(${y} AS STRING) = '-0.0' THEN CAST('-Infinity' AS DOUBLE) ELSE CAST('Infinity' AS DOUBLE) END`;
  const byZero = `${x} * CASE WHEN ${y} = 0D THEN ${infinity} END`;
  return { sql: `coalesce(try_divide(${x}, ${y}), ${byZero})`, type: DOUBLE };
}

/** Whole numbers only, for of others the two mean different things. By zero it is null. */
function whole(operator: "div" | "%"): Rule {
  return (args) => {
    const name = operator === "div" ? "//" : "%";
    take(name, args, [integer, integer]);
    const [a, b] = args as [Value, Value];
    const divisor = constantInteger(b);
    const by = divisor !== undefined && divisor !== 0 ? b.sql : `nullif(${b.sql}, 0)`;
    return { sql: `(${a.sql} ${operator} ${by})`, type: commonType([a, b]) };
  };
}

/** Other types are written as text first, where the two write them alike. */
function asText(value: Value): string {
  return isText(value) || isNull(value) ? value.sql : castTo(value, { kind: "string" }).sql;
}

function like(name: string, word: string): Rule {
  return (args) => {
    take(name, args, [text, constantText]);
    const [a, b] = args as [Value, Value];
    return { sql: `(${a.sql} ${word} ${likePattern(String(b.constant))})`, type: BOOLEAN };
  };
}

function round(args: readonly Value[]): Value {
  const [a, digits] = args as [Value, Value | undefined];
  take("round", args, digits === undefined ? [number] : [number, integer]);
  const places = digits === undefined ? 0 : constantInteger(digits);
  if (places === undefined || places < 0 || places > 15)
    throw new Refused(
      "round to a number of places that is computed or negative",
      "from 0 to 15 places as they are written",
    );
  if (isInteger(a)) return a;
  if (kindOf(a) === "decimal") return { sql: `round(${a.sql}, ${places})`, type: a.type };
  if (places === 0) return { sql: `round(${double(a)}, 0)`, type: DOUBLE };
  // By the product of doubles, as DuckDB has it; Spark alone would round the shortest text of the double.
  return { sql: `(round(${double(a)} * 1E${places}D, 0) / 1E${places}D)`, type: DOUBLE };
}

function extreme(name: "greatest" | "least"): Rule {
  return (args) => {
    const type = commonType(args);
    if (type === undefined) throw new Refused(`${name} of different or unknown types`, "cast them to one type");
    if (args.length === 1) return args[0] as Value;
    return { sql: `${name}(${args.map(({ sql }) => sql).join(", ")})`, type };
  };
}

const UNITS = new Set([
  "year",
  "quarter",
  "month",
  "week",
  "day",
  "hour",
  "minute",
  "second",
  "millisecond",
  "microsecond",
]);

function unit(value: Value | undefined): string {
  const name = String(value?.constant ?? "")
    .toLowerCase()
    .replace(/s$/, "");
  if (!UNITS.has(name))
    throw new Refused(`the unit ${JSON.stringify(value?.constant ?? value?.sql)}`, [...UNITS].join(", "));
  return name;
}

const PARTS: Readonly<Record<string, (x: string) => string>> = {
  year: (x) => `year(${x})`,
  quarter: (x) => `quarter(${x})`,
  month: (x) => `month(${x})`,
  week: (x) => `weekofyear(${x})`,
  day: (x) => `day(${x})`,
  hour: (x) => `hour(CAST(${x} AS TIMESTAMP))`,
  minute: (x) => `minute(CAST(${x} AS TIMESTAMP))`,
  second: (x) => `second(CAST(${x} AS TIMESTAMP))`,
  dow: (x) => `(dayofweek(${x}) - 1)`,
  dayofweek: (x) => `(dayofweek(${x}) - 1)`,
  isodow: (x) => `(weekday(${x}) + 1)`,
  doy: (x) => `dayofyear(${x})`,
  dayofyear: (x) => `dayofyear(${x})`,
};

function part(name: string): Rule {
  return (args) => {
    take(name, args, [day]);
    return { sql: `CAST(${PARTS[name]?.((args[0] as Value).sql)} AS BIGINT)`, type: LONG };
  };
}

function datePart(args: readonly Value[]): Value {
  const [name, value] = args;
  const field = String(name?.constant ?? "").toLowerCase();
  if (PARTS[field] === undefined || value === undefined)
    throw new Refused(`the part ${JSON.stringify(field)} of a date`, Object.keys(PARTS).join(", "));
  return part(field)([value]);
}

/** How many boundaries of the unit lie between the two; Spark's own counts whole units that have passed. */
function dateDiff(args: readonly Value[]): Value {
  take("date_diff", args, [constantText, day, day]);
  const [name, from, to] = args as [Value, Value, Value];
  const of = unit(name);
  const days = (value: Value) => (kindOf(value) === "date" ? value.sql : `CAST(${value.sql} AS DATE)`);
  const micros = (value: Value) => `unix_micros(CAST(${value.sql} AS TIMESTAMP))`;
  const count = (each: (value: Value) => string): Value => ({
    sql: `CAST(${each(to)} - ${each(from)} AS BIGINT)`,
    type: LONG,
  });
  switch (of) {
    case "year":
      return count((value) => `year(${value.sql})`);
    case "quarter":
      return count((value) => `(year(${value.sql}) * 4 + quarter(${value.sql}))`);
    case "month":
      return count((value) => `(year(${value.sql}) * 12 + month(${value.sql}))`);
    case "week":
      throw new Refused("date_diff of weeks", "the days between the two Mondays, divided by 7 with //");
    case "day":
      return { sql: `CAST(datediff(${days(to)}, ${days(from)}) AS BIGINT)`, type: LONG };
    default: {
      const size = { hour: 3_600_000_000, minute: 60_000_000, second: 1_000_000, millisecond: 1000 }[of] ?? 1;
      // `div` cuts towards zero, and a boundary before 1970 lies below.
      return count((value) => `((${micros(value)} - pmod(${micros(value)}, ${size}L)) div ${size}L)`);
    }
  }
}

const FORMATS: Readonly<Record<string, string>> = {
  Y: "yyyy",
  m: "MM",
  d: "dd",
  H: "HH",
  M: "mm",
  S: "ss",
  j: "DDD",
  f: "SSSSSS",
  g: "SSS",
};

function strftime(args: readonly Value[]): Value {
  take("strftime", args, [day, constantText]);
  const [value, format] = args as [Value, Value];
  let pattern = "";
  for (const [piece, directive, literal] of String(format.constant).matchAll(/%([\s\S])|([^%]+)|%$/g)) {
    if (literal !== undefined) pattern += /[A-Za-z]/.test(literal) ? `''${literal}''` : literal;
    else if (directive === "%") pattern += "%";
    else if (directive !== undefined && FORMATS[directive] !== undefined) pattern += FORMATS[directive];
    else
      throw new Refused(
        `${piece} in the format of strftime`,
        `${Object.keys(FORMATS)
          .map((one) => `%${one}`)
          .join(", ")}`,
      );
  }
  if (/['\\[\]{}#]/.test(String(format.constant)))
    throw new Refused("a quote or bracket in the format of strftime", "concat the parts");
  return { sql: `date_format(${value.sql}, '${pattern}')`, type: STRING };
}

/** Formats with `%s`, `%d` and `%.2f` only, each of which Spark writes by another function. */
function printf(args: readonly Value[]): Value {
  const [format, ...values] = args;
  if (typeof format?.constant !== "string") throw new Refused("a format that is computed", "a text as it is written");
  const parts: string[] = [];
  let next = 0;
  for (const [piece, literal] of format.constant.matchAll(/([^%]+)|%(?:\.\d+f|s|d|%)|%/g)) {
    if (literal !== undefined || piece === "%%") {
      parts.push(`'${(literal ?? "%").replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`);
      continue;
    }
    const value = values[next++];
    const places = /^%\.(\d+)f$/.exec(piece)?.[1];
    if (value === undefined || piece === "%")
      throw new Refused(`the format ${JSON.stringify(format.constant)}`, "%s, %d and %.2f");
    if (places !== undefined && isFloating(value)) {
      const zeros = Number(places) === 0 ? "0" : `0.${"0".repeat(Number(places))}`;
      parts.push(fixed(double(value), zeros));
    } else if (piece === "%d" && isInteger(value)) parts.push(`CAST(${value.sql} AS STRING)`);
    else if (piece === "%s" && isText(value)) parts.push(value.sql);
    else throw new Refused(`${piece} of ${known(value)}`, "%s of text, %d of a whole number, %.2f of a double");
  }
  return { sql: `concat(${parts.join(", ")})`, type: STRING };
}

/** As C writes it: half of a last digit goes to the even one, by the exact value. */
function fixed(x: string, zeros: string): string {
  const special = `WHEN isnan(${x}) THEN 'nan' WHEN ${x} = CAST('Infinity' AS DOUBLE) THEN 'inf' WHEN ${x} = CAST('-Infinity' AS DOUBLE) THEN '-inf'`;
  return `(CASE ${special} ELSE format_number(${x}, '${zeros}') END)`;
}

/** What DuckDB trims: all that Unicode calls a space separator. Spark alone trims U+0020 only. */
const SPACES = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000";

function trim(name: string, side: "BOTH" | "LEADING" | "TRAILING"): Rule {
  return (args) => {
    take(name, args, args.length > 1 ? [text, constantText] : [text]);
    const characters = args[1] === undefined ? `'${SPACES}'` : args[1].sql;
    return { sql: `trim(${side} ${characters} FROM ${(args[0] as Value).sql})`, type: STRING };
  };
}

const substring: Rule = (args) => {
  take("substring", args, args.length > 2 ? [text, positive, positive] : [text, positive]);
  return { sql: `substring(${args.map(({ sql }) => sql).join(", ")})`, type: STRING };
};

const math =
  (name: string, write = name): Rule =>
  (args) => {
    take(name, args, [number]);
    return { sql: `${write}(${double(args[0] as Value)})`, type: DOUBLE };
  };

/** Where DuckDB ends with an error and Spark goes on. */
const guarded =
  (name: string, condition: (x: string) => string): Rule =>
  (args) => {
    take(name, args, [number]);
    const x = double(args[0] as Value);
    return {
      sql: `(CASE WHEN ${condition(x)} THEN raise_error('${name}: out of range') ELSE ${name}(${x}) END)`,
      type: DOUBLE,
    };
  };

const towards =
  (name: "floor" | "ceil"): Rule =>
  (args) => {
    take(name, args, [number]);
    const value = args[0] as Value;
    if (isInteger(value)) return value;
    if (kindOf(value) === "decimal") return { sql: `${name}(${value.sql})`, type: DECIMAL };
    // Spark's gives a whole number of 64 bits; a double beyond 2^53 has no fraction.
    const x = double(value);
    return { sql: `(CASE WHEN abs(${x}) < 9E15D THEN CAST(${name}(${x}) AS DOUBLE) ELSE ${x} END)`, type: DOUBLE };
  };

const first = (args: readonly Value[]): Kind => args[0]?.type;

export const FUNCTIONS: Readonly<Record<string, Rule>> = {
  "+": plus,
  "-": minus,
  "*": ([a, b]) => arithmetic("*", a as Value, b as Value),
  "/": divide,
  "//": whole("div"),
  "%": whole("%"),
  mod: whole("%"),
  "||": (args) => {
    if (args.some((value) => ["array", "unknown"].includes(kindOf(value))))
      throw new Refused("|| of something that is no text", "texts");
    return { sql: `(${args.map(asText).join(" || ")})`, type: STRING };
  },
  "~~": like("like", "LIKE"),
  "!~~": like("not like", "NOT LIKE"),
  nullif: ([a, b]) => ({ sql: `nullif(${(a as Value).sql}, ${(b as Value).sql})`, type: (a as Value).type }),
  greatest: extreme("greatest"),
  least: extreme("least"),
  error: ([message]) => ({ sql: `raise_error(${(message as Value).sql})`, type: { kind: "null" } }),
  // numbers
  abs: made([number], first, (x) => `abs(${x})`)("abs"),
  round,
  floor: towards("floor"),
  ceil: towards("ceil"),
  ceiling: towards("ceil"),
  sqrt: guarded("sqrt", (x) => `${x} < 0D`),
  ln: guarded("ln", (x) => `${x} <= 0D`),
  log10: guarded("log10", (x) => `${x} <= 0D`),
  exp: math("exp"),
  sin: math("sin"),
  cos: math("cos"),
  atan: math("atan"),
  radians: math("radians"),
  degrees: math("degrees"),
  pi: () => ({ sql: "pi()", type: DOUBLE }),
  // texts
  length: made([text], LONG, (x) => `CAST(length(${x}) AS BIGINT)`)("length"),
  strlen: made([text], LONG, (x) => `CAST(octet_length(${x}) AS BIGINT)`)("strlen"),
  trim: trim("trim", "BOTH"),
  ltrim: trim("ltrim", "LEADING"),
  rtrim: trim("rtrim", "TRAILING"),
  starts_with: same("startswith", BOOLEAN, text, text),
  prefix: same("startswith", BOOLEAN, text, text),
  ends_with: same("endswith", BOOLEAN, text, text),
  suffix: same("endswith", BOOLEAN, text, text),
  contains: same("contains", BOOLEAN, text, text),
  substring,
  substr: substring,
  left: same("left", STRING, text, positive),
  right: same("right", STRING, text, positive),
  replace: same(
    "replace",
    STRING,
    text,
    {
      is: ({ constant }) => typeof constant === "string" && constant !== "",
      words: "a text that is not empty, as it is written",
    },
    text,
  ),
  split_part: same(
    "split_part",
    STRING,
    text,
    {
      is: ({ constant }) => typeof constant === "string" && constant !== "",
      words: "a text that is not empty, as it is written",
    },
    positive,
  ),
  concat: (args) => {
    if (args.some((value) => ["array", "unknown"].includes(kindOf(value))))
      throw new Refused("concat of something that is no text", "texts");
    return { sql: `concat(${args.map((value) => `coalesce(${asText(value)}, '')`).join(", ")})`, type: STRING };
  },
  concat_ws: (args) => {
    if (args.some((value) => ["array", "unknown"].includes(kindOf(value))))
      throw new Refused("concat_ws of something that is no text", "texts");
    return { sql: `concat_ws(${args.map(asText).join(", ")})`, type: STRING };
  },
  md5: same("md5", STRING, text),
  sha256: made([text], STRING, (x) => `sha2(${x}, 256)`)("sha256"),
  printf,
  regexp_matches: (args) => {
    take("regexp_matches", args, [text, constantText]);
    return { sql: `(${(args[0] as Value).sql} RLIKE ${sparkRegex(String(args[1]?.constant))})`, type: BOOLEAN };
  },
  regexp_full_match: (args) => {
    take("regexp_full_match", args, [text, constantText]);
    return {
      sql: `(${(args[0] as Value).sql} RLIKE ${sparkRegex(String(args[1]?.constant), (pattern) => `\\A(?:${pattern})\\z`)})`,
      type: BOOLEAN,
    };
  },
  regexp_replace: (args) => {
    const all = args[3] === undefined ? false : args[3].constant === "g";
    if (args[3] !== undefined && !all) throw new Refused("regexp_replace with these options", "none, or 'g'");
    take("regexp_replace", args.slice(0, 3), [text, constantText, constantText]);
    const replacement = String(args[2]?.constant);
    if (/[\\$]/.test(replacement)) throw new Refused("regexp_replace by a text with \\ or $", "a text without them");
    const subject = (args[0] as Value).sql;
    const pattern = String(args[1]?.constant);
    const [search, put] = all ? [sparkRegex(pattern), replacement] : [sparkRegex(pattern, firstOf), `$1${replacement}`];
    return { sql: `regexp_replace(${subject}, ${search}, '${put.replaceAll("'", "\\'")}')`, type: STRING };
  },
  // dates and instants
  date_trunc: (args) => {
    take("date_trunc", args, [constantText, day]);
    return { sql: `date_trunc('${unit(args[0])}', CAST(${args[1]?.sql} AS TIMESTAMP))`, type: TIMESTAMP };
  },
  date_diff: dateDiff,
  datediff: dateDiff,
  date_part: datePart,
  datepart: datePart,
  year: part("year"),
  quarter: part("quarter"),
  month: part("month"),
  week: part("week"),
  weekofyear: part("week"),
  day: part("day"),
  dayofmonth: part("day"),
  hour: part("hour"),
  minute: part("minute"),
  second: part("second"),
  dayofweek: part("dow"),
  isodow: part("isodow"),
  dayofyear: part("doy"),
  epoch_us: made([instant], LONG, (x) => `unix_micros(${x})`)("epoch_us"),
  epoch_ms: made([instant], LONG, (x) => `(unix_micros(${x}) div 1000)`)("epoch_ms"),
  epoch: made([instant], DOUBLE, (x) => `(unix_micros(${x}) / 1000000D)`)("epoch"),
  strftime,
  last_day: made([day], DATE, (x) => `last_day(${x})`)("last_day"),
};

const sum: Rule = (args) => {
  take("sum", args, [number]);
  const value = args[0] as Value;
  const type = isInteger(value) ? LONG : isFloating(value) ? DOUBLE : DECIMAL;
  return { sql: `sum(${value.sql})`, type };
};

const ofDoubles =
  (name: string, write = name): Rule =>
  (args) => {
    take(name, args, [number]);
    const value = args[0] as Value;
    const distinct = value.sql.startsWith("DISTINCT ");
    const inner = double(distinct ? { ...value, sql: value.sql.slice(9) } : value);
    return { sql: `${write}(${distinct ? "DISTINCT " : ""}${inner})`, type: DOUBLE };
  };

/** Rows whose first argument is null do not count in DuckDB. */
const byExtreme =
  (name: string, write: string): Rule =>
  (args) => {
    take(name, args, [any, scalar]);
    const [value, by] = args as [Value, Value];
    const null_ = `CASE WHEN ${value.sql} IS NOT NULL THEN ${by.sql} END`;
    return { sql: `${write}(${value.sql}, ${null_})`, type: value.type };
  };

export const AGGREGATES: Readonly<Record<string, Rule>> = {
  count: (args) => {
    if (args.length > 1) throw new Refused("count of several arguments", "one");
    return { sql: args.length === 0 ? "count(1)" : `count(${(args[0] as Value).sql})`, type: LONG };
  },
  sum,
  min: (args) => {
    take("min", args, [scalar]);
    return { sql: `min(${(args[0] as Value).sql})`, type: (args[0] as Value).type };
  },
  max: (args) => {
    take("max", args, [scalar]);
    return { sql: `max(${(args[0] as Value).sql})`, type: (args[0] as Value).type };
  },
  avg: ofDoubles("avg"),
  mean: ofDoubles("avg"),
  median: (args) => {
    take("median", args, [wholeOrDouble]);
    return ofDoubles("median")(args);
  },
  stddev: ofDoubles("stddev", "stddev_samp"),
  stddev_samp: ofDoubles("stddev_samp"),
  stddev_pop: ofDoubles("stddev_pop"),
  variance: ofDoubles("variance", "var_samp"),
  var_samp: ofDoubles("var_samp"),
  var_pop: ofDoubles("var_pop"),
  quantile_cont: (args) => {
    const share = Number(/^(\d*\.?\d+)(?:BD)?$/.exec(args[1]?.sql ?? "")?.[1] ?? Number.NaN);
    take("quantile_cont", args, [wholeOrDouble, any]);
    if (!(share >= 0 && share <= 1))
      throw new Refused("quantile_cont of this", "a number and a share from 0 to 1 as it is written");
    return { sql: `percentile(${double(args[0] as Value)}, ${share}D)`, type: DOUBLE };
  },
  any_value: (args) => {
    take("any_value", args, [any]);
    return { sql: `any_value(${(args[0] as Value).sql}, true)`, type: (args[0] as Value).type };
  },
  arg_min: byExtreme("arg_min", "min_by"),
  min_by: byExtreme("min_by", "min_by"),
  arg_max: byExtreme("arg_max", "max_by"),
  max_by: byExtreme("max_by", "max_by"),
  bool_and: same("bool_and", BOOLEAN, bool),
  bool_or: same("bool_or", BOOLEAN, bool),
};

export const WINDOWS: Readonly<Record<string, Rule>> = {
  row_number: () => ({ sql: "row_number()", type: LONG }),
  rank: () => ({ sql: "rank()", type: LONG }),
  dense_rank: () => ({ sql: "dense_rank()", type: LONG }),
  percent_rank: () => ({ sql: "percent_rank()", type: DOUBLE }),
  cume_dist: () => ({ sql: "cume_dist()", type: DOUBLE }),
  ntile: (args) => {
    take("ntile", args, [positive]);
    return { sql: `ntile(${args[0]?.sql})`, type: LONG };
  },
  lag: shifted("lag"),
  lead: shifted("lead"),
  first_value: (args) => {
    take("first_value", args, [any]);
    return { sql: `first_value(${(args[0] as Value).sql})`, type: (args[0] as Value).type };
  },
  last_value: (args) => {
    take("last_value", args, [any]);
    return { sql: `last_value(${(args[0] as Value).sql})`, type: (args[0] as Value).type };
  },
};

function shifted(name: string): Rule {
  return (args) => {
    const [value, offset] = args;
    if (value === undefined || (offset !== undefined && constantInteger(offset) === undefined))
      throw new Refused(`${name} by a distance that is computed`, "a number as it is written");
    return { sql: `${name}(${args.map(({ sql }) => sql).join(", ")})`, type: value.type };
  };
}
