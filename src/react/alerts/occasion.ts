/** What an alert says of a row: its key, severity, summary and details. The same for streams and tables. */
import type { Occasion } from "../../define/alert.ts";
import type { Alert } from "../../define/alert-event.ts";
import type { Severity } from "../../define/alert-routes.ts";
import { type AlertRules, SEVERITIES } from "../../define/read-alert.ts";
import { MillraceError } from "../../errors.ts";
import { type Reason, type Row, valueAt } from "./judgement.ts";
import { numberText } from "./number-text.ts";

/** The kind of alerts that definitions raise. */
export const DEFINED = "alert";
/** A summary is a sentence, and a row's value may be anything. */
const MOST_SUMMARY = 1_000;
const MOST_KEY = 500;

/** The values of the key's fields as one text; several are parts of a path. */
export function keyOf(row: Row, fields: readonly string[]): string {
  const texts = fields.map((field) => plainText(valueAt(row, field)));
  const key = texts.length === 1 ? texts[0]! : texts.map((text) => encodeURIComponent(text.toWellFormed())).join("/");
  return key.slice(0, MOST_KEY).toWellFormed();
}

/** @throws ALERT_CONDITION when a function of the definition gives something else than it should; what it throws */
export function alertOf(
  { name, severity, summary }: AlertRules & { readonly name: string },
  row: Row,
  key: string,
  reason: Reason | undefined,
  details: Readonly<Record<string, unknown>>,
): Alert {
  const occasion: Occasion = {
    key,
    reason: reason?.text ?? "there is such a row",
    ...(reason?.value === undefined ? {} : { value: reason.value }),
    ...(reason?.expected === undefined ? {} : { expected: reason.expected }),
  };
  return {
    kind: DEFINED,
    name,
    key,
    severity: severityOf((severity ?? "warning") as Severity | ((row: Row) => Severity), row, name),
    summary: summaryOf(summary as string | ((row: Row, occasion: Occasion) => string) | undefined, row, occasion, name),
    details: { reason: reason ?? null, ...details },
  };
}

function severityOf(given: Severity | ((row: Row) => Severity), row: Row, alert: string): Severity {
  const said = typeof given === "function" ? given(row) : given;
  if (SEVERITIES.includes(said)) return said;
  throw new MillraceError("ALERT_CONDITION", {
    alert,
    reason: `its severity is ${plainText(said)}, not one of ${SEVERITIES.join(", ")}`,
  });
}

function summaryOf(
  given: string | ((row: Row, occasion: Occasion) => string) | undefined,
  row: Row,
  occasion: Occasion,
  alert: string,
): string {
  if (given === undefined)
    return shortened(occasion.key === "" ? occasion.reason : `${occasion.key}: ${occasion.reason}`);
  if (typeof given === "string")
    return shortened(
      given.replaceAll(/\{([^{}]+)\}/g, (_, name: string) => {
        const field = name.trim();
        return plainText(Object.hasOwn(occasion, field) ? occasion[field as keyof Occasion] : valueAt(row, field));
      }),
    );
  const said: unknown = given(row, occasion);
  if (typeof said === "string") return shortened(said);
  throw new MillraceError("ALERT_CONDITION", { alert, reason: "its summary gave no text" });
}

function shortened(text: string): string {
  return text.length <= MOST_SUMMARY ? text : `${text.slice(0, MOST_SUMMARY - 1)}…`;
}

function plainText(value: unknown): string {
  if (typeof value === "number") return numberText(value);
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
