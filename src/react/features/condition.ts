import type { Comparison, Constant, FeatureCondition } from "../../define/feature-condition.ts";
import type { Column } from "../../define/project.ts";

type Event = Readonly<Record<string, unknown>>;
/** As SQL judges: `null` where something that is not known decides. */
type Judge = (event: Event) => boolean | null;

/** Whether an event meets a condition, as SQL's WHERE decides it. */
export function compileCondition(condition: FeatureCondition): (event: Event) => boolean {
  const judge = compile(condition);
  return (event) => judge(event) === true;
}

function compile(condition: FeatureCondition): Judge {
  switch (condition.op) {
    case "and":
      return every(condition.of.map(compile), false);
    case "or":
      return every(condition.of.map(compile), true);
    case "not": {
      const inner = compile(condition.of);
      return (event) => {
        const known = inner(event);
        return known === null ? null : !known;
      };
    }
    case "is null":
      return (event) => (event[condition.field.name] ?? null) === null;
    case "is not null":
      return (event) => (event[condition.field.name] ?? null) !== null;
    case "is true":
      return (event) => (event[condition.field.name] as boolean | null | undefined) ?? null;
    case "in":
    case "not in": {
      const { field } = condition;
      const read = reader(field);
      const values = new Set(condition.values.map((value) => read(written(value))));
      const among = condition.op === "in";
      return (event) => {
        const given = event[field.name] ?? null;
        return given === null ? null : values.has(read(given)) === among;
      };
    }
    default: {
      const { field } = condition;
      const read = reader(field);
      const wanted = read(written(condition.value));
      const compare = COMPARE[condition.op];
      return (event) => {
        const given = event[field.name] ?? null;
        return given === null ? null : compare(read(given), wanted);
      };
    }
  }
}

/** `deciding` true: OR, which is true as soon as one is; false: AND, which is false as soon as one is. */
function every(judges: readonly Judge[], deciding: boolean): Judge {
  return (event) => {
    let unknown = false;
    for (const judge of judges) {
      const known = judge(event);
      if (known === deciding) return deciding;
      if (known === null) unknown = true;
    }
    return unknown ? null : !deciding;
  };
}

type Comparable = string | number | bigint | boolean;

const COMPARE: Readonly<Record<Comparison, (a: Comparable, b: Comparable) => boolean>> = {
  "=": (a, b) => a === b,
  "<>": (a, b) => a !== b,
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
};

function written(constant: Constant): unknown {
  return typeof constant === "object" ? constant.digits : constant;
}

/** A value as it is compared. Minus zero is zero. */
function reader({ type }: Column): (value: unknown) => Comparable {
  switch (type.kind) {
    case "string":
    case "boolean":
      return (value) => value as string | boolean;
    case "decimal":
      return (value) => units(typeof value === "number" ? value.toFixed(type.scale) : String(value), type.scale);
    case "float":
      // Constants are compared as the doubles they are, so only a value of the event is rounded.
      return (value) => (typeof value === "string" ? Number(value) : Math.fround(value as number)) + 0;
    default:
      return (value) => Number(value) + 0;
  }
}

function units(text: string, scale: number): bigint {
  const [whole = "0", decimals = ""] = text.split(".");
  const amount = BigInt(whole.replace("-", "") + decimals.padEnd(scale, "0"));
  return whole.startsWith("-") ? -amount : amount;
}
