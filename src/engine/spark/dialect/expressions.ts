/** Expressions of DuckDB's tree as Spark's text. */

import type { ColumnType } from "../../../define/project.ts";
import { type AstNode, isNode } from "../../../define/sql-ast.ts";
import { quoteSparkLiteral, quoteSparkName } from "../../../define/sql-text.ts";
import { parseDuckdbType } from "../../../define/types.ts";
import { castTo, VARIANT } from "./casts.ts";
import { AGGREGATES, FUNCTIONS, type Rule, WINDOWS } from "./functions.ts";
import type { Known, Scope } from "./scope.ts";
import {
  BOOLEAN,
  commonType,
  constantInteger,
  DECIMAL,
  DOUBLE,
  INTEGER,
  isNumber,
  type Kind,
  kindOf,
  LONG,
  Refused,
  STRING,
  type Value,
} from "./value.ts";

/** What an expression needs of the query it stands in. */
export interface Around {
  refuse(error: unknown, node: AstNode): void;
  query(node: AstNode): { readonly sql: string; readonly columns: readonly Known[] };
}

export class Expressions {
  readonly #scope: Scope;
  readonly #around: Around;

  constructor(scope: Scope, around: Around) {
    this.#scope = scope;
    this.#around = around;
  }

  sql(node: AstNode): string {
    return this.value(node).sql;
  }

  /** What cannot be translated is told, and stands as a null of no type. */
  value(node: AstNode): Value {
    try {
      return this.#value(node);
    } catch (error) {
      this.#around.refuse(error, node);
      return { sql: "NULL", type: undefined };
    }
  }

  order(order: AstNode): string {
    const nulls = order.null_order === "NULLS FIRST" ? "NULLS FIRST" : "NULLS LAST";
    const { expression } = order as { expression: AstNode };
    const [name, more] = expression.class === "COLUMN_REF" ? (expression.column_names as string[]) : [];
    // A name that the select list gives goes before a column of the same name.
    const given = name !== undefined && more === undefined && this.#scope.aliases.has(name.toLowerCase());
    return `${given ? quoteSparkName(name) : this.sql(expression)} ${order.type === "DESCENDING" ? "DESC" : "ASC"} ${nulls}`;
  }

  #value(node: AstNode): Value {
    switch (node.class) {
      case "COLUMN_REF":
        return this.#scope.column(node.column_names as string[]);
      case "CONSTANT":
        return constant(node.value as AstNode);
      case "CAST":
        return this.#cast(node);
      case "COMPARISON":
        return this.#comparison(node);
      case "CONJUNCTION": {
        const word = node.type === "CONJUNCTION_OR" ? " OR " : " AND ";
        return {
          sql: `(${this.#children(node)
            .map((child) => child.sql)
            .join(word)})`,
          type: BOOLEAN,
        };
      }
      case "BETWEEN": {
        const [input, lower, upper] = [node.input, node.lower, node.upper].map((part) => this.value(part as AstNode));
        if (input === undefined || lower === undefined || upper === undefined)
          throw new TypeError("BETWEEN has three parts");
        const bounds = [lower, upper].map((bound) => aligned(input, bound)[1].sql);
        return { sql: `(${input.sql} BETWEEN ${bounds.join(" AND ")})`, type: BOOLEAN };
      }
      case "CASE":
        return this.#case(node);
      case "OPERATOR":
        return this.#operator(node);
      case "FUNCTION":
        return this.#function(node);
      case "WINDOW":
        return this.#window(node);
      case "SUBQUERY":
        return this.#subquery(node);
      default:
        throw new Refused(describe(node), VARIANT);
    }
  }

  #children(node: AstNode): Value[] {
    return ((node.children ?? []) as AstNode[]).map((child) => this.value(child));
  }

  #cast(node: AstNode): Value {
    const child = this.value(node.child as AstNode);
    if (node.try_cast === true)
      throw new Refused("try_cast", "the two take different texts for values; cast what is of the type already");
    return castTo(child, castType(node.cast_type as AstNode));
  }

  #comparison(node: AstNode): Value {
    const [left, right] = aligned(this.value(node.left as AstNode), this.value(node.right as AstNode));
    const type = String(node.type);
    if (type === "COMPARE_DISTINCT_FROM") return { sql: `(NOT (${left.sql} <=> ${right.sql}))`, type: BOOLEAN };
    const operator = COMPARISONS[type];
    if (operator === undefined) throw new Refused(describe(node), VARIANT);
    return { sql: `(${left.sql} ${operator} ${right.sql})`, type: BOOLEAN };
  }

  #case(node: AstNode): Value {
    const checks = (node.case_checks as AstNode[]).map((check) => ({
      condition: this.sql(check.when_expr as AstNode),
      result: this.value(check.then_expr as AstNode),
    }));
    const otherwise = isNode(node.else_expr) ? this.value(node.else_expr) : undefined;
    const type = commonType([...checks.map(({ result }) => result), ...(otherwise ? [otherwise] : [])]);
    const list = checks.map(({ condition, result }) => `WHEN ${condition} THEN ${result.sql}`).join(" ");
    return { sql: `CASE ${list}${otherwise ? ` ELSE ${otherwise.sql}` : ""} END`, type };
  }

  #operator(node: AstNode): Value {
    const type = String(node.type);
    const values = this.#children(node);
    const [first] = values;
    if (first === undefined) throw new Refused(describe(node), VARIANT);
    const rest = values.slice(1);
    switch (type) {
      case "OPERATOR_NOT":
        return { sql: `(NOT ${first.sql})`, type: BOOLEAN };
      case "OPERATOR_IS_NULL":
        return { sql: `(${first.sql} IS NULL)`, type: BOOLEAN };
      case "OPERATOR_IS_NOT_NULL":
        return { sql: `(${first.sql} IS NOT NULL)`, type: BOOLEAN };
      case "OPERATOR_COALESCE":
        return { sql: `coalesce(${values.map(({ sql }) => sql).join(", ")})`, type: commonType(values) };
      case "COMPARE_IN":
      case "COMPARE_NOT_IN": {
        const list = rest.map((one) => aligned(first, one)[1].sql);
        const word = type === "COMPARE_IN" ? "IN" : "NOT IN";
        return { sql: `(${first.sql} ${word} (${list.join(", ")}))`, type: BOOLEAN };
      }
      case "ARRAY_EXTRACT":
        return element(first, rest[0]);
      default:
        throw new Refused(describe(node), VARIANT);
    }
  }

  #function(node: AstNode): Value {
    const name = String(node.function_name).toLowerCase();
    const call = name === "count_star" ? "count" : name;
    const isOperator = node.is_operator === true;
    const interval = INTERVALS[call];
    if (interval !== undefined) return this.#interval(interval, ((node.children ?? []) as AstNode[])[0]);
    const aggregate = AGGREGATES[call];
    const rule = aggregate ?? FUNCTIONS[call];
    if (rule === undefined) throw unreviewed(call, isOperator);
    if (!["", "main"].includes(String(node.schema ?? "")))
      throw new Refused(`${node.schema}.${call}, a function of a schema`, "call it without the schema");
    const orders = isNode(node.order_bys) ? ((node.order_bys.orders ?? []) as unknown[]) : [];
    if (orders.length > 0) throw new Refused(`${call}(… order by …)`, VARIANT);
    const args = this.#children(node);
    const distinct = node.distinct === true;
    if (distinct && (aggregate === undefined || args.length !== 1))
      throw new Refused(`${call}(distinct …)`, "one column");
    const made = rule(distinct ? [{ ...args[0]!, sql: `DISTINCT ${args[0]!.sql}` }] : args);
    if (!isNode(node.filter)) return made;
    return { sql: `${made.sql} FILTER (WHERE ${this.sql(node.filter)})`, type: made.type };
  }

  #window(node: AstNode): Value {
    const name = String(node.function_name).toLowerCase().replace("count_star", "count");
    const rule: Rule | undefined = WINDOWS[name] ?? AGGREGATES[name];
    if (rule === undefined) throw unreviewed(name, false);
    if (node.distinct === true || node.ignore_nulls === true || ((node.arg_orders ?? []) as unknown[]).length > 0)
      throw new Refused(`${name} over a window with DISTINCT, IGNORE NULLS or an order of its own`, VARIANT);
    if (node.exclude_clause !== "NO_OTHER") throw new Refused("a window that excludes rows", VARIANT);
    const args = this.#children(node);
    for (const part of [node.offset_expr, node.default_expr]) if (isNode(part)) args.push(this.value(part));
    const made = rule(args);
    const filter = isNode(node.filter_expr) ? `${made.sql} FILTER (WHERE ${this.sql(node.filter_expr)})` : made.sql;
    const partitions = (node.partitions as AstNode[]).map((part) => this.sql(part));
    const orders = (node.orders as AstNode[]).map((order) => this.order(order));
    const parts = [
      partitions.length > 0 ? `PARTITION BY ${partitions.join(", ")}` : "",
      orders.length > 0 ? `ORDER BY ${orders.join(", ")}` : "",
      this.#frame(node, orders.length > 0, name in WINDOWS && !FRAMED.has(name)),
    ];
    return { sql: `${filter} OVER (${parts.filter((part) => part !== "").join(" ")})`, type: made.type };
  }

  #frame(node: AstNode, ordered: boolean, frameless: boolean): string {
    const [start, end] = [String(node.start), String(node.end)];
    if (frameless || (start === "UNBOUNDED_PRECEDING" && end === "CURRENT_ROW_RANGE")) {
      // Spark wants to be told that without an order all rows belong to the frame of an aggregate.
      return "";
    }
    const rows = start.endsWith("_ROWS") || end.endsWith("_ROWS");
    if (start.endsWith("_GROUPS") || end.endsWith("_GROUPS"))
      throw new Refused("a window frame of GROUPS", "ROWS or RANGE");
    if (!rows && !ordered) return "";
    const bound = (text: string, expression: unknown) => {
      const words = text.replace(/_(ROWS|RANGE)$/, "");
      if (words === "UNBOUNDED_PRECEDING" || words === "UNBOUNDED_FOLLOWING" || words === "CURRENT_ROW")
        return words.replace("_", " ");
      const distance = isNode(expression) ? this.value(expression) : undefined;
      const number = constantInteger(distance);
      if (!rows || number === undefined)
        throw new Refused("a window frame by RANGE of a distance", "ROWS, or a frame without a distance");
      return `${number} ${words.endsWith("PRECEDING") ? "PRECEDING" : "FOLLOWING"}`;
    };
    return `${rows ? "ROWS" : "RANGE"} BETWEEN ${bound(start, node.start_expr)} AND ${bound(end, node.end_expr)}`;
  }

  #subquery(node: AstNode): Value {
    const { sql, columns } = this.#around.query((node.subquery as AstNode).node as AstNode);
    switch (node.subquery_type) {
      case "SCALAR":
        return { sql: `(${sql})`, type: columns[0]?.type };
      case "EXISTS":
        return { sql: `EXISTS (${sql})`, type: BOOLEAN };
      case "NOT_EXISTS":
        return { sql: `(NOT EXISTS (${sql}))`, type: BOOLEAN };
      case "ANY": {
        if (node.comparison_type !== "COMPARE_EQUAL")
          throw new Refused("a comparison with ANY or ALL of a query", "IN or EXISTS");
        return { sql: `(${this.sql(node.child as AstNode)} IN (${sql}))`, type: BOOLEAN };
      }
      default:
        throw new Refused(describe(node), VARIANT);
    }
  }

  /** `interval 1 day` is parsed as to_days(cast(trunc(cast(1 as double)) as integer)). */
  #interval(make: (count: string) => string, argument: AstNode | undefined): Value {
    let node = argument;
    for (;;) {
      const inner: unknown =
        node?.class === "CAST"
          ? node.child
          : node?.function_name === "trunc"
            ? (node.children as AstNode[])[0]
            : undefined;
      if (!isNode(inner)) break;
      node = inner;
    }
    const count = node && this.value(node);
    const number = typeof count?.constant === "string" ? Number(count.constant) : constantInteger(count);
    if (number === undefined || !Number.isSafeInteger(number))
      throw new Refused("an interval of a length that is computed", "a literal such as interval 1 day");
    return { sql: make(String(number)), type: { kind: "interval" } };
  }
}

const INTERVALS: Readonly<Record<string, (count: string) => string>> = {
  to_years: (n) => `make_ym_interval(${n}, 0)`,
  to_months: (n) => `make_ym_interval(0, ${n})`,
  to_weeks: (n) => `make_dt_interval(${Number(n) * 7})`,
  to_days: (n) => `make_dt_interval(${n})`,
  to_hours: (n) => `make_dt_interval(0, ${n})`,
  to_minutes: (n) => `make_dt_interval(0, 0, ${n})`,
  to_seconds: (n) => `make_dt_interval(0, 0, 0, ${n})`,
  to_milliseconds: (n) => `make_dt_interval(0, 0, 0, CAST(${n} AS DECIMAL(18,6)) / 1000)`,
  to_microseconds: (n) => `make_dt_interval(0, 0, 0, CAST(${n} AS DECIMAL(18,6)) / 1000000)`,
};

const COMPARISONS: Readonly<Record<string, string>> = {
  COMPARE_EQUAL: "=",
  COMPARE_NOTEQUAL: "<>",
  COMPARE_LESSTHAN: "<",
  COMPARE_GREATERTHAN: ">",
  COMPARE_LESSTHANOREQUALTO: "<=",
  COMPARE_GREATERTHANOREQUALTO: ">=",
  COMPARE_NOT_DISTINCT_FROM: "<=>",
};

/** Window functions that look at a frame. */
const FRAMED = new Set(["first_value", "last_value"]);

/** The two as both engines compare them as the same values: a literal takes the type of what it is compared with. */
function aligned(left: Value, right: Value): readonly [Value, Value] {
  const kinds = [kindOf(left), kindOf(right)];
  if (kinds.includes("unknown") || kinds.includes("null") || kinds[0] === kinds[1]) return [left, right];
  if (isNumber(left) && isNumber(right)) return [left, right];
  const all = (...allowed: string[]) => kinds.every((kind) => allowed.includes(kind));
  if (all("string", "json") || all("date", "timestamp", "timestamp_ntz")) return [left, right];
  if (typeof right.constant === "string" && isStored(left.type)) return [left, castTo(right, left.type)];
  if (typeof left.constant === "string" && isStored(right.type)) return [castTo(left, right.type), right];
  throw new Refused(`a comparison of ${kinds[0]} and ${kinds[1]}`, "cast one to the type of the other");
}

function isStored(type: Kind): type is ColumnType {
  return type !== undefined && type.kind !== "interval" && type.kind !== "null";
}

/** An element of a list (counted from 1 in both), or the value of a key. */
function element(of: Value, at: Value | undefined): Value {
  if (at === undefined) throw new Refused("an element of nothing", VARIANT);
  if (of.type?.kind === "map") return { sql: `try_element_at(${of.sql}, ${at.sql})`, type: of.type.value };
  if (of.type?.kind === "array" && (constantInteger(at) ?? 0) > 0)
    return { sql: `try_element_at(${of.sql}, ${at.sql})`, type: of.type.element };
  throw new Refused(
    "x[i] of something that is no map, or with a place that is computed",
    "a list and a number from 1 on",
  );
}

function constant(value: AstNode): Value {
  const { id, type_info: info } = value.type as { id: string; type_info: { width?: number; scale?: number } | null };
  if (value.is_null === true) return { sql: "NULL", type: { kind: "null" } };
  const raw = value.value;
  switch (id) {
    case "BOOLEAN":
      return { sql: raw === true ? "TRUE" : "FALSE", type: BOOLEAN, constant: raw === true };
    case "TINYINT":
    case "SMALLINT":
    case "INTEGER":
      return { sql: String(raw), type: INTEGER, constant: Number(raw) };
    case "BIGINT":
      return { sql: `${raw}L`, type: LONG, constant: BigInt(raw as number) };
    case "HUGEINT": {
      const { upper, lower } = raw as { upper: number | bigint; lower: number | bigint };
      const whole = (BigInt(upper) << 64n) + BigInt(lower);
      return { sql: `CAST(${whole}BD AS DECIMAL(38,0))`, type: DECIMAL, constant: whole };
    }
    case "DECIMAL": {
      const digits = decimalDigits(raw, info?.scale ?? 0);
      return { sql: `${digits}BD`, type: { kind: "decimal", precision: info?.width ?? 38, scale: info?.scale ?? 0 } };
    }
    case "DOUBLE":
      return { sql: `CAST('${raw}' AS DOUBLE)`, type: DOUBLE, constant: Number(raw) };
    case "VARCHAR":
    case "STRING_LITERAL":
      return { sql: quoteSparkLiteral(String(raw)), type: STRING, constant: String(raw) };
    default:
      throw new Refused(`a literal of type ${id}`, VARIANT);
  }
}

/** A decimal is held as its digits; wide ones in two halves. */
function decimalDigits(raw: unknown, scale: number): string {
  const whole = isNode(raw)
    ? (BigInt(raw.upper as number) << 64n) + BigInt(raw.lower as number)
    : BigInt(raw as number);
  const sign = whole < 0n ? "-" : "";
  const text = String(whole < 0n ? -whole : whole).padStart(scale + 1, "0");
  return scale === 0 ? `${sign}${text}` : `${sign}${text.slice(0, -scale)}.${text.slice(-scale)}`;
}

function castType(node: AstNode): ColumnType {
  return parseDuckdbType(typeText(node));
}

/** The text of a type in the tree. */
function typeText({ id, type_info: info }: AstNode): string {
  const facts = (info ?? {}) as {
    name?: string;
    width?: number;
    scale?: number;
    child_type?: AstNode;
    child_types?: { first: string; second: AstNode }[];
  };
  switch (id) {
    case "UNBOUND":
      return String(facts.name).toUpperCase();
    case "DECIMAL":
      return facts.width === undefined ? "DECIMAL" : `DECIMAL(${facts.width},${facts.scale})`;
    case "LIST":
      return `${typeText(facts.child_type as AstNode)}[]`;
    case "STRUCT":
      return `STRUCT(${fields(facts.child_types)})`;
    case "MAP": {
      const inner = (facts.child_type?.type_info as typeof facts | undefined)?.child_types ?? [];
      return `MAP(${inner.map(({ second }) => typeText(second)).join(", ")})`;
    }
    default:
      return String(id);
  }
}

function fields(list: { first: string; second: AstNode }[] | undefined): string {
  return (list ?? []).map(({ first, second }) => `"${first.replaceAll('"', '""')}" ${typeText(second)}`).join(", ");
}

function unreviewed(name: string, isOperator: boolean): Refused {
  const platform = PLATFORMS_OWN[name];
  if (platform !== undefined) return new Refused(`${name}, which only the embedded engine has`, platform);
  if (isOperator) return new Refused(`the operator ${name}`, VARIANT);
  return new Refused(
    `the function ${name}, which is not among those that are known to mean the same`,
    INSTEAD[name] ?? VARIANT,
  );
}

const EARLIER = "call it in a table that the embedded engine computes, and read that table here";

const PLATFORMS_OWN: Readonly<Record<string, string>> = {
  parse_user_agent: EARLIER,
  is_bot: EARLIER,
  locate_ip: EARLIER,
  connected_ids: EARLIER,
};

const INSTEAD: Readonly<Record<string, string>> = {
  random: "a function of the row, such as md5(id)",
  now: "a time among the columns",
  current_timestamp: "a time among the columns",
  today: "a time among the columns",
  count_if: "count(*) filter (…), which is 0 and not null where there are no rows",
  atan2: `${VARIANT} (the two differ at -0.0)`,
  unnest: `${VARIANT} (explode)`,
  string_split: `${VARIANT} (split takes a pattern there)`,
  strptime: `${VARIANT} (to_timestamp)`,
  json_extract: `${VARIANT} (get_json_object)`,
  json_extract_string: `${VARIANT} (get_json_object)`,
  list_transform: `${VARIANT} (transform)`,
  list_filter: `${VARIANT} (filter)`,
  first: "min, max, or arg_min by what orders the rows",
  last: "min, max, or arg_max by what orders the rows",
  list: `${VARIANT} (sort_array(collect_list(x)))`,
  array_agg: `${VARIANT} (sort_array(collect_list(x)))`,
  string_agg: `${VARIANT} (listagg)`,
};

function describe(node: AstNode): string {
  return String(node.type ?? node.class)
    .toLowerCase()
    .replaceAll("_", " ")
    .replace(/^operator /, "");
}
