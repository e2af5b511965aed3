import * as z from "zod";
import { MillraceError } from "../errors.ts";
import { MAX_DECIMAL_PRECISION } from "./types.ts";

/** Keyword of the contract's JSON Schema that says how many digits a decimal has: `[precision, scale]`. */
export const DECIMAL_KEYWORD = "x-millrace-decimal";

/**
 * Money and other exact numbers: at most `precision` digits, `scale` of them after the point. An event may hold it as a JSON
 * number or as a string (`12.5`, `"12.50"`); it is stored exactly, and what does not fit is refused at the door.
 *
 * The platform reads the digits as they were sent. Strings are the safe choice beyond 15 digits, because many senders round
 * longer numbers before they leave.
 *
 * @throws OPTION_INVALID when the digits are not whole numbers with 1 <= precision <= 38 and 0 <= scale <= precision.
 */
export function decimal(precision: number, scale: number): z.ZodUnion<readonly [z.ZodNumber, z.ZodString]> {
  const whole = Number.isInteger(precision) && Number.isInteger(scale);
  if (!whole || precision < 1 || precision > MAX_DECIMAL_PRECISION || scale < 0 || scale > precision) {
    throw new MillraceError("OPTION_INVALID", {
      subject: "decimal(precision, scale)",
      option: "precision and scale",
      got: `${precision}, ${scale}`,
      allowed: `whole numbers with 1 <= precision <= ${MAX_DECIMAL_PRECISION} and 0 <= scale <= precision`,
    });
  }
  return z
    .union([z.number(), z.string().regex(decimalPattern(precision, scale))])
    .meta({ [DECIMAL_KEYWORD]: [precision, scale] });
}

function decimalPattern(precision: number, scale: number): RegExp {
  const whole = precision === scale ? "0" : `\\d{1,${precision - scale}}`;
  const fraction = scale === 0 ? "" : `(?:\\.\\d{1,${scale}})?`;
  return new RegExp(`^-?${whole}${fraction}$`, "u");
}
