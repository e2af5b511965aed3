/**
 * String formats a contract may ask for. Moments and days are accepted exactly where the lake converts them without
 * loss: RFC 3339 in the proleptic Gregorian calendar, years 1 to 9999 in UTC, at most microseconds, no leap seconds and
 * no hour 24. All other formats are as ajv-formats has them.
 */
import type { Format } from "ajv";
import ajvFormats from "ajv-formats/dist/formats.js";

export type FormatTest = (text: string) => boolean;

const DATE = /^(\d{4})-(\d{2})-(\d{2})$/;
const DATE_TIME =
  /^(\d{4})-(\d{2})-(\d{2})T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6}0*)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

export function isDate(text: string): boolean {
  const match = DATE.exec(text);
  return match !== null && isDay(match);
}

export function isDateTime(text: string): boolean {
  const match = DATE_TIME.exec(text);
  if (match === null || !isDay(match)) return false;
  if (text.endsWith("Z")) return true;
  // An offset can carry a moment out of the years that all engines share.
  const year = new Date(`${text.slice(0, 19)}${text.slice(-6)}`).getUTCFullYear();
  return year >= 1 && year <= 9999;
}

function isDay(match: RegExpExecArray): boolean {
  const [year, month, day] = [Number(match[1]), Number(match[2]), Number(match[3])];
  return year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= daysOfMonth(year, month);
}

export function daysOfMonth(year: number, month: number): number {
  if (month !== 2) return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
  return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
}

/** Every format a contract may name, as a test of a string. */
export const FORMATS: ReadonlyMap<string, FormatTest> = new Map([
  ...Object.entries(ajvFormats.fullFormats).flatMap(([name, format]): [string, FormatTest][] => {
    const test = asTest(format);
    return test === undefined ? [] : [[name, test]];
  }),
  ["date", isDate],
  ["date-time", isDateTime],
]);

/** Undefined for the formats of numbers, which restrict no string. */
function asTest(format: Format): FormatTest | undefined {
  if (format === true) return () => true;
  if (format instanceof RegExp) return (text) => format.test(text);
  if (typeof format === "function") return (text) => format(text) === true;
  if (typeof format !== "object" || format.type === "number") return undefined;
  return asTest(format.validate as Format);
}
