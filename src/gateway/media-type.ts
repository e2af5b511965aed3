import { MillraceError } from "../errors.ts";
import type { Framing } from "./event-reader.ts";

/** How the events stand in a body, by its Content-Type. */
export interface BodyForm {
  readonly framing: Framing;
  /** The events are, or come wrapped in, CloudEvents. */
  readonly cloudEvents: boolean;
}

const JSON_BODY: BodyForm = { framing: "json", cloudEvents: false };
const LINES: BodyForm = { framing: "lines", cloudEvents: false };

const FORMS: ReadonlyMap<string, BodyForm> = new Map<string, BodyForm>([
  ["application/json", JSON_BODY],
  ["application/x-ndjson", LINES],
  ["application/ndjson", LINES],
  ["application/jsonl", LINES],
  ["application/x-jsonlines", LINES],
  ["application/cloudevents+json", { framing: "single", cloudEvents: true }],
  ["application/cloudevents-batch+json", { framing: "json", cloudEvents: true }],
]);

/** The usual headers as they stand, so that they need no parsing. Bounded: senders choose the text. */
const known = new Map<string, BodyForm>();
const MAX_KNOWN = 100;

/** @throws BODY_TYPE_UNSUPPORTED, BODY_CHARSET_UNSUPPORTED */
export function bodyForm(contentType: string | undefined): BodyForm {
  const form = known.get(contentType ?? "");
  if (form !== undefined) return form;
  const { type, charset } = parseMediaType(contentType);
  const found = FORMS.get(type);
  if (found === undefined) {
    const got = contentType === undefined ? "(none)" : JSON.stringify(type.slice(0, 100));
    throw new MillraceError(
      "BODY_TYPE_UNSUPPORTED",
      { got, allowed: [...FORMS.keys()].join(", ") },
      { details: { allowed: [...FORMS.keys()] } },
    );
  }
  requireUtf8(charset);
  if (known.size < MAX_KNOWN) known.set(contentType ?? "", found);
  return found;
}

/** For a CloudEvent in binary mode: its data must be JSON. @throws as `bodyForm` */
export function requireJsonData(contentType: string | undefined): void {
  const { type, charset } = parseMediaType(contentType);
  if (type !== "application/json" && !/^[\w.-]+\/[\w.-]+\+json$/.test(type)) {
    const got = contentType === undefined ? "(none)" : JSON.stringify(type.slice(0, 100));
    throw new MillraceError("BODY_TYPE_UNSUPPORTED", { got, allowed: "application/json and types that end in +json" });
  }
  requireUtf8(charset);
}

function requireUtf8(charset: string | undefined): void {
  // ASCII is UTF-8 as far as it goes.
  if (charset !== undefined && !["utf-8", "utf8", "us-ascii"].includes(charset)) {
    throw new MillraceError("BODY_CHARSET_UNSUPPORTED", { got: charset.slice(0, 100) });
  }
}

/** `type/subtype; name=value; …` (RFC 9110, section 8.3), lower-cased. */
function parseMediaType(header: string | undefined): { type: string; charset: string | undefined } {
  const [type = "", ...parameters] = (header ?? "").toLowerCase().split(";");
  const charset = parameters
    .map((parameter) => /^\s*charset\s*=\s*"?([^"\s]*)"?\s*$/.exec(parameter)?.[1])
    .find((name) => name !== undefined);
  return { type: type.trim(), charset };
}
