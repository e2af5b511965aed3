/**
 * Whether a decimal arrives in a table exactly. A JSON number passes through a double, and is then scaled by a power of
 * ten, so it is exact only while its digits before the point and the column's scale make at most 15 digits together
 * (checked against DuckDB for every scale). A string has no such limit.
 */
const EXACT_DIGITS = 15;

const DECIMAL_TEXT = /^-?0*(\d*?)(?:\.(\d+))?$/;
const BEGINS_WITH_DIGIT = /^-?\d/;

/** Why the value is no decimal of `precision` digits with `scale` of them after the point; undefined when it is one. */
export function decimalFault(value: unknown, precision: number, scale: number): string | undefined {
  if (typeof value !== "number" && typeof value !== "string") return "must be a decimal: a number or a string";
  const text = typeof value === "string" ? value : plainText(value);
  const match = DECIMAL_TEXT.exec(text);
  if (match === null || !BEGINS_WITH_DIGIT.test(text)) return 'must be a decimal, written like "-12.50"';
  const whole = (match[1] as string).length;
  const decimals = match[2]?.length ?? 0;
  if (decimals > scale) return `must have at most ${scale} decimals`;
  if (whole > precision - scale) return `must have at most ${precision - scale} digits before the point`;
  if (typeof value === "number" && whole + scale > EXACT_DIGITS) {
    return `must be sent as a string to keep its digits (like "${text}")`;
  }
  return undefined;
}

/** True when a number as written and the double it becomes are the same decimal. */
export function isExactDouble(source: string): boolean {
  const written = digitsAndExponent(source);
  const kept = digitsAndExponent(String(Number(source)));
  return written.digits === kept.digits && written.exponent === kept.exponent;
}

/** The shortest text of a double without an exponent. */
function plainText(value: number): string {
  const text = String(value);
  if (!text.includes("e")) return text;
  const { digits, exponent } = digitsAndExponent(text);
  const sign = value < 0 ? "-" : "";
  if (exponent >= 0) return `${sign}${digits}${"0".repeat(exponent)}`;
  const padded = digits.padStart(1 - exponent, "0");
  return `${sign}${padded.slice(0, exponent)}.${padded.slice(exponent)}`;
}

/** `123.40e2` -> digits "1234", exponent 1: digits times ten to the exponent, without zeros at either end. */
function digitsAndExponent(text: string): { digits: string; exponent: number } {
  const [mantissa = "", power = "0"] = text.replace(/^-/, "").toLowerCase().split("e");
  const [whole = "", decimals = ""] = mantissa.split(".");
  const all = `${whole}${decimals}`.replace(/^0+/, "");
  const digits = all.replace(/0+$/, "");
  const exponent = digits === "" ? 0 : Number(power) - decimals.length + all.length - digits.length;
  return { digits, exponent };
}
