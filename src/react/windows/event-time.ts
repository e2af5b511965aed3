/**
 * Times as windows reckon with them: whole microseconds since 1970 in UTC, as a number. That is exact until the year 2255; what claims to be later is
 * ahead of every clock and in no window.
 */

const MICROS_PER_DAY = 86_400_000_000;

/** The time that a text of a contract's `date-time` or `date` says; undefined for anything else. A date is its first moment. */
export function microseconds(value: unknown): number | undefined {
  if (typeof value !== "string" || value.length < 10) return undefined;
  const day = daysSince1970(number(value, 0, 4), number(value, 5, 7), number(value, 8, 10)) * MICROS_PER_DAY;
  if (value.length === 10) return Number.isNaN(day) ? undefined : day;
  const seconds = number(value, 11, 13) * 3600 + number(value, 14, 16) * 60 + number(value, 17, 19);
  let at = 19;
  let fraction = 0;
  if (value.charCodeAt(at) === POINT) {
    let unit = 100_000;
    for (at++; isDigit(value.charCodeAt(at)); at++) {
      fraction += (value.charCodeAt(at) - ZERO) * unit;
      unit = unit > 1 ? unit / 10 : 0;
    }
  }
  const time = day + seconds * 1_000_000 + fraction - offsetSeconds(value, at) * 1_000_000;
  return Number.isNaN(time) ? undefined : time;
}

/** The time as a contract's `date-time` in UTC, without a fraction when there is none. */
export function timeText(micros: number): string {
  const millis = Math.floor(micros / 1000);
  const rest = micros - millis * 1000;
  const text = new Date(millis).toISOString();
  if (rest === 0) return text.endsWith(".000Z") ? `${text.slice(0, -5)}Z` : text;
  return `${text.slice(0, -1)}${String(rest).padStart(3, "0")}Z`;
}

/** The text of a moment in UTC with six decimals: of two moments, the later one is the greater text. */
export function comparableTime(text: string): string {
  if (text.endsWith("Z")) return `${text.slice(0, 19)}.${text.slice(20, -1).slice(0, 6).padEnd(6, "0")}Z`;
  const zone = text.slice(-6);
  const moment = new Date(`${text.slice(0, 19)}${zone}`).toISOString();
  return `${moment.slice(0, 19)}.${text.slice(20, -6).slice(0, 6).padEnd(6, "0")}Z`;
}

const ZERO = 0x30;
const POINT = 0x2e;

function isDigit(code: number): boolean {
  return code >= ZERO && code <= 0x39;
}

/** Digits as a number; NaN when there is something else among them. */
function number(text: string, from: number, to: number): number {
  let value = 0;
  for (let i = from; i < to; i++) {
    const code = text.charCodeAt(i);
    value = isDigit(code) ? value * 10 + (code - ZERO) : Number.NaN;
  }
  return value;
}

/** Of the zone that begins at `at`: `Z`, or `+02:00`. */
function offsetSeconds(text: string, at: number): number {
  const sign = text[at];
  if (sign === "Z") return 0;
  if (sign !== "+" && sign !== "-") return Number.NaN;
  const seconds = number(text, at + 1, at + 3) * 3600 + number(text, at + 4, at + 6) * 60;
  return sign === "+" ? seconds : -seconds;
}

/** Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil. */
function daysSince1970(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  return (
    era * 146_097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719_468
  );
}
