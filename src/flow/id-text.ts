import type { Column, Stream } from "../define/project.ts";

/**
 * An event's `_id` as the engine computes it (`eventId`), from the event as JSON has it; undefined for streams whose id has a field that only the engine writes
 * as it does (numbers with a fraction).
 */
export function idText(
  stream: Stream,
): ((event: Readonly<Record<string, unknown>>, fallback: string) => string) | undefined {
  const fields = stream.id.map((name) => stream.columns.find((column) => column.name === name) as Column);
  const writers = fields.map(({ type }) => writer(type));
  if (!writers.every((write) => write !== undefined)) return undefined;
  const text = (event: Readonly<Record<string, unknown>>, i: number): string | null => {
    const value = event[(fields[i] as Column).name] ?? null;
    return value === null ? null : (writers[i] as (value: unknown) => string)(value);
  };
  if (fields.length === 1) return (event, fallback) => text(event, 0) ?? fallback;
  return (event, fallback) => {
    const texts = fields.map((_, i) => text(event, i));
    return texts.every((one) => one === null) ? fallback : jsonList(texts);
  };
}

function writer(type: Column["type"]): ((value: unknown) => string) | undefined {
  switch (type.kind) {
    case "string":
    case "date":
      return (value) => value as string;
    case "integer":
    case "long":
    case "boolean":
      return (value) => String(value);
    case "decimal":
      return (value) => decimalText(value, type.scale);
    case "timestamp":
      return (value) => timestampText(value as string);
    default:
      return undefined;
  }
}

/** With all its decimals, and without a sign before zero. */
function decimalText(value: unknown, scale: number): string {
  const text = typeof value === "number" ? value.toFixed(scale) : String(value);
  const [whole = "0", decimals = ""] = text.replace("-", "").split(".");
  const digits = whole.replace(/^0+(?=\d)/, "");
  const amount = scale === 0 ? digits : `${digits}.${decimals.padEnd(scale, "0")}`;
  return text.startsWith("-") && /[1-9]/.test(amount) ? `-${amount}` : amount;
}

/** `2025-06-30 12:00:00.5+00`: in UTC, without zeros at the end of the fraction. */
function timestampText(value: string): string {
  const zone = value.endsWith("Z") ? "Z" : value.slice(-6);
  const fraction = value.slice(20, -zone.length).slice(0, 6).replace(/0+$/, "");
  const moment = zone === "Z" ? value : new Date(value.slice(0, 19) + zone).toISOString();
  return `${moment.slice(0, 10)} ${moment.slice(11, 19)}${fraction === "" ? "" : `.${fraction}`}+00`;
}

/** As the engine writes JSON: control characters without a short form in capital hexadecimals. */
function jsonList(texts: readonly (string | null)[]): string {
  return JSON.stringify(texts).replace(/\\u00[01][0-9a-f]/g, (unit) => `\\u00${unit.slice(4).toUpperCase()}`);
}
