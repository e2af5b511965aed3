/** How values that JSON has no form for are written: ISO 8601, and decimals in full. */

const MICROS_PER_DAY = 86_400_000_000;
const INFINITE_DAYS = 0x7fffffff;
const INFINITE = 0x7fffffffffffffffn;

/** `YYYY-MM-DD` from days since 1970-01-01; years beyond four digits with a sign and six, as ISO 8601 has it. */
export function dateText(days: number): string {
  if (Math.abs(days) >= INFINITE_DAYS) return days > 0 ? "infinity" : "-infinity";
  // Civil from days (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms"): Date ends at the year 275760.
  const z = days + 719_468;
  const era = Math.floor(z / 146_097);
  const doe = z - era * 146_097;
  const yoe = Math.floor((doe - Math.floor(doe / 1460) + Math.floor(doe / 36_524) - Math.floor(doe / 146_096)) / 365);
  const doy = doe - (365 * yoe + Math.floor(yoe / 4) - Math.floor(yoe / 100));
  const mp = Math.floor((5 * doy + 2) / 153);
  const day = doy - Math.floor((153 * mp + 2) / 5) + 1;
  const month = mp < 10 ? mp + 3 : mp - 9;
  const year = yoe + era * 400 + (month <= 2 ? 1 : 0);
  return `${yearText(year)}-${two(month)}-${two(day)}`;
}

/**
 * ISO 8601 in UTC from a count of 10^-`digits` seconds since 1970: milliseconds always (as `Date` writes them),
 * microseconds and nanoseconds where they are not zero.
 */
export function instantText(count: bigint | number, digits: 0 | 3 | 6 | 9): string {
  if (typeof count === "number") {
    if (digits === 6) return microsText(count, 0);
    return instantText(BigInt(count), digits);
  }
  if (count === INFINITE || count === -INFINITE) return count > 0 ? "infinity" : "-infinity";
  const exact = digits === 9 ? count % 1000n : 0n;
  const nanos = exact < 0n ? exact + 1000n : exact;
  const micros = digits === 9 ? (count - nanos) / 1000n : count * 10n ** BigInt(6 - digits);
  return microsText(micros, Number(nanos));
}

function microsText(micros: bigint | number, nanos: number): string {
  let days: number;
  let rest: number;
  if (typeof micros === "number") {
    days = Math.floor(micros / MICROS_PER_DAY);
    rest = micros - days * MICROS_PER_DAY;
  } else {
    const day = BigInt(MICROS_PER_DAY);
    const whole = micros / day - (micros % day < 0n ? 1n : 0n);
    days = Number(whole);
    rest = Number(micros - whole * day);
  }
  const clock = timeOfDay(rest, 3);
  if (nanos === 0) return `${dateText(days)}T${clock}Z`;
  return `${dateText(days)}T${clock.padEnd(15, "0")}${three(nanos)}Z`;
}

/** `HH:MM:SS`, with a fraction where there is one. */
export function timeText(micros: bigint): string {
  return timeOfDay(Number(micros), 0);
}

function timeOfDay(micros: number, least: 0 | 3): string {
  const seconds = Math.floor(micros / 1_000_000);
  const rest = micros - seconds * 1_000_000;
  const clock = `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  if (rest % 1000 !== 0) return `${clock}.${String(rest).padStart(6, "0")}`;
  return rest === 0 && least === 0 ? clock : `${clock}.${three(rest / 1000)}`;
}

/** ISO 8601 duration: `P1Y2M3DT4H5M6.5S`. */
export function durationText(months: number, days: number, micros: bigint): string {
  const part = (value: number, unit: string) => (value === 0 ? "" : `${value}${unit}`);
  const years = Math.trunc(months / 12);
  const date = part(years, "Y") + part(months - years * 12, "M") + part(days, "D");
  const sign = micros < 0n ? "-" : "";
  const size = micros < 0n ? -micros : micros;
  const seconds = size / 1_000_000n;
  const fraction = String(size % 1_000_000n)
    .padStart(6, "0")
    .replace(/0+$/, "");
  const hours = part(Number(seconds / 3600n), "H");
  const minutes = part(Number((seconds / 60n) % 60n), "M");
  const rest = `${seconds % 60n}${fraction === "" ? "" : `.${fraction}`}`;
  const time = [hours, minutes, rest === "0" ? "" : `${rest}S`].filter((t) => t !== "").map((t) => sign + t);
  if (time.length > 0) return `P${date}T${time.join("")}`;
  return date === "" ? "PT0S" : `P${date}`;
}

/** The digits of a decimal, given its value times 10^scale. */
export function decimalText(unscaled: number | string, scale: number): string {
  if (scale === 0) return String(unscaled);
  const text = String(unscaled);
  const negative = text.startsWith("-");
  const digits = (negative ? text.slice(1) : text).padStart(scale + 1, "0");
  return `${negative ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/** DuckDB stores a UUID as a signed 128-bit number, its highest bit flipped so that it sorts. */
export function uuidText(low: bigint, high: bigint): string {
  const hex = (high ^ (1n << 63n)).toString(16).padStart(16, "0") + low.toString(16).padStart(16, "0");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

function yearText(year: number): string {
  if (year >= 0 && year <= 9999) return String(year).padStart(4, "0");
  return `${year < 0 ? "-" : "+"}${String(Math.abs(year)).padStart(6, "0")}`;
}

function two(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}

function three(value: number): string {
  return value < 10 ? `00${value}` : value < 100 ? `0${value}` : String(value);
}
