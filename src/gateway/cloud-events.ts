/**
 * CloudEvents 1.0 over HTTP (cloudevents/spec, v1.0.2: http-protocol-binding, json-format).
 *
 *     structured  Content-Type: application/cloudevents+json        {"specversion":"1.0","id":…,"source":…,"type":…,"data":{…}}
 *     batch       Content-Type: application/cloudevents-batch+json  [ envelope, … ]
 *     binary      ce-specversion, ce-id, ce-source, ce-type, ce-… as headers; the body is the data
 *
 * A stream whose schema has a property `specversion` takes the whole envelope as its event. Any other takes the
 * envelope's `data`, byte for byte. Either way the event's `_source` is the envelope's `source`.
 */

import { isUtf8 } from "node:buffer";
import type { IncomingHttpHeaders } from "node:http";
import type { Stream } from "../define/project.ts";
import { MillraceError } from "../errors.ts";
import type { AcceptedRun } from "./accepted-events.ts";
import { AcceptedEvents } from "./accepted-events.ts";
import { duplicateKey, keysIn } from "./duplicate-keys.ts";
import type { EventJudge, Refusal } from "./event-judge.ts";
import { refuse } from "./event-judge.ts";
import type { Intake } from "./event-reader.ts";
import type { JsonScanner } from "./json-scanner.ts";
import type { Router } from "./partition-router.ts";

/** True when the stream's events are envelopes themselves. */
export function takesEnvelope(stream: Stream): boolean {
  const { properties } = stream.jsonSchema;
  return typeof properties === "object" && properties !== null && Object.hasOwn(properties, "specversion");
}

/** True when the headers carry an envelope. */
export function isBinaryMode(headers: IncomingHttpHeaders): boolean {
  return headers["ce-specversion"] !== undefined || headers["ce-id"] !== undefined;
}

export type Attributes = Readonly<Record<string, string>>;

/** The attributes that come as headers. @throws CLOUDEVENT_INVALID */
export function binaryAttributes(headers: IncomingHttpHeaders): Attributes {
  const attributes: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith("ce-") && typeof value === "string") attributes[name.slice(3)] = percentDecoded(name, value);
  }
  if (headers["content-type"] !== undefined) attributes.datacontenttype = headers["content-type"];
  const fault = attributeFault(attributes);
  if (fault !== undefined) throw new MillraceError("CLOUDEVENT_INVALID", { reason: fault });
  return attributes;
}

/** The text limit of the log for a source. */
const MAX_SOURCE = 200;
const REQUIRED = ["specversion", "id", "source", "type"] as const;
/** Control characters, which no attribute may hold (spec, "Type System"). */
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

function attributeFault(attributes: Readonly<Record<string, unknown>>): string | undefined {
  for (const name of REQUIRED) {
    const value = attributes[name];
    if (value === undefined || value === null) return `the attribute "${name}" is missing`;
    if (typeof value !== "string" || value === "") return `the attribute "${name}" must be a non-empty string`;
    if (CONTROL.test(value)) return `the attribute "${name}" holds a control character`;
  }
  if (attributes.specversion !== "1.0")
    return `specversion is ${JSON.stringify(attributes.specversion)}, "1.0" is taken`;
  const { length } = attributes.source as string;
  return length > MAX_SOURCE ? `the source has ${length} characters; ${MAX_SOURCE} are allowed` : undefined;
}

/** Takes the events out of envelopes. */
export class CloudIntake implements Intake {
  readonly plan = undefined;
  readonly scanner: JsonScanner;
  readonly #body: Buffer;
  readonly #judge: EventJudge;
  readonly #router: Router | undefined;
  readonly #wholeEnvelope: boolean;
  /** Binary mode: the envelope's attributes. */
  readonly #attributes: Attributes | undefined;
  /** In the order of the body; a new one begins where the source changes, so that order holds. */
  readonly #accepted: AcceptedEvents[] = [];

  constructor(
    body: Buffer,
    judge: EventJudge,
    router: Router | undefined,
    wholeEnvelope: boolean,
    attributes?: Attributes,
  ) {
    this.#body = body;
    this.#judge = judge;
    this.#router = router;
    this.#wholeEnvelope = wholeEnvelope;
    this.#attributes = attributes;
    this.scanner = judge.scanner;
  }

  takeQuick(): boolean {
    return false; // envelopes have no quick way
  }

  take(start: number, end: number, scanned: boolean): Refusal | undefined {
    if (this.#attributes !== undefined) return this.#takeData(this.#attributes, start, end, scanned);
    return this.#takeEnvelope(start, end);
  }

  runs(): AcceptedRun[] {
    return this.#accepted.flatMap((accepted) => accepted.runs());
  }

  /** Binary mode. */
  #takeData(attributes: Attributes, start: number, end: number, scanned: boolean): Refusal | undefined {
    const source = attributes.source as string;
    if (!this.#wholeEnvelope) return this.#keep(this.#body, start, end, scanned, source);
    const head = JSON.stringify(attributes).slice(0, -1);
    const envelope = Buffer.concat([Buffer.from(`${head},"data":`), this.#body.subarray(start, end), Buffer.from("}")]);
    return this.#keep(envelope, 0, envelope.length, false, source);
  }

  #takeEnvelope(start: number, end: number): Refusal | undefined {
    const { scanner } = this;
    const body = this.#body;
    // What an event may not hold its envelope may not either; the judge words it.
    if (scanner.problem !== undefined) return this.#judge.judge(body, start, end, true);
    const { keys } = scanner;
    const text = body.toString("utf8", start, end);
    const envelope: unknown = JSON.parse(text);
    if (typeof envelope !== "object" || envelope === null || Array.isArray(envelope))
      return invalid("it is not an object");
    if (keysIn(envelope) !== keys) {
      const { key, pointer } = duplicateKey(text);
      return refuse("EVENT_DUPLICATE_KEY", {
        key: JSON.stringify(key),
        where: pointer === "" ? "" : ` (at "${pointer}")`,
      });
    }
    const attributes = envelope as Record<string, unknown>;
    const fault = attributeFault(attributes);
    if (fault !== undefined) return invalid(fault);
    const source = attributes.source as string;
    if (this.#wholeEnvelope) return this.#keep(body, start, end, false, source);
    if (Object.hasOwn(attributes, "data_base64")) return this.#takeBase64(attributes, source);
    const data = memberRange(scanner, body, start, end, "data");
    if (data === undefined) return invalid("it has no data");
    return this.#keep(body, data.start, data.end, false, source);
  }

  #takeBase64(attributes: Readonly<Record<string, unknown>>, source: string): Refusal | undefined {
    const { data_base64: encoded } = attributes;
    if (Object.hasOwn(attributes, "data")) return invalid("it has both data and data_base64");
    if (
      typeof encoded !== "string" ||
      !/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(encoded)
    ) {
      return invalid("data_base64 is not base64");
    }
    const data = Buffer.from(encoded, "base64");
    if (!isUtf8(data)) return invalid("data_base64 does not hold JSON: it is not UTF-8");
    const start = this.scanner.skipSpace(data, 0, data.length);
    let end = data.length;
    while (end > start && this.scanner.skipSpace(data, end - 1, end) === end) end--;
    return this.#keep(data, start, end, false, source);
  }

  #keep(bytes: Buffer, start: number, end: number, scanned: boolean, source: string): Refusal | undefined {
    const refusal = this.#judge.judge(bytes, start, end, scanned);
    if (refusal !== undefined) return refusal;
    const partition = this.#router === undefined ? 0 : this.#router.ofValue(this.#judge.value);
    let accepted = this.#accepted.at(-1);
    if (accepted === undefined || accepted.body !== bytes || accepted.source !== source) {
      accepted = new AcceptedEvents(bytes, source);
      this.#accepted.push(accepted);
    }
    accepted.add(partition, start, end, this.scanner.lineBreaks);
    return undefined;
  }
}

function invalid(reason: string): Refusal {
  return refuse("CLOUDEVENT_INVALID", { reason });
}

/** Where the value of a member stands in an object that is known to be valid JSON with no key twice. */
function memberRange(
  scanner: JsonScanner,
  bytes: Buffer,
  start: number,
  end: number,
  name: string,
): { start: number; end: number } | undefined {
  let at = scanner.skipSpace(bytes, start + 1, end);
  while (bytes[at] === 0x22) {
    const keyEnd = scanner.scan(bytes, at, end);
    const key = JSON.parse(bytes.toString("utf8", at, keyEnd)) as string;
    const colon = scanner.skipSpace(bytes, keyEnd, end);
    const valueStart = scanner.skipSpace(bytes, colon + 1, end);
    const valueEnd = scanner.scan(bytes, valueStart, end);
    if (key === name) return { start: valueStart, end: valueEnd };
    at = scanner.skipSpace(bytes, scanner.skipSpace(bytes, valueEnd, end) + 1, end);
  }
  return undefined;
}

/** Header values carry what is not printable ASCII percent-encoded as UTF-8. */
function percentDecoded(name: string, value: string): string {
  const text =
    value.startsWith('"') && value.endsWith('"') && value.length > 1
      ? value.slice(1, -1).replaceAll(/\\(.)/g, "$1")
      : value;
  try {
    return decodeURIComponent(text.replaceAll(/%(?![0-9A-Fa-f]{2})/g, "%25"));
  } catch {
    throw new MillraceError("CLOUDEVENT_INVALID", { reason: `the header ${name} is not percent-encoded UTF-8` });
  }
}
