/**
 * Says of one event whether the platform may promise to keep it, and if not, why.
 *
 * The plain majority passes the quick scanner. What it is not sure of takes the exact way: scan, parse, count keys, validate.
 */
import type { Stream } from "../define/project.ts";
import type { ErrorCode } from "../errors.ts";
import { messageOf } from "../errors.ts";
import type { Contract } from "./contract.ts";
import { compileContract } from "./contract.ts";
import { duplicateKey, keysIn } from "./duplicate-keys.ts";
import { JsonScanner } from "./json-scanner.ts";
import type { ValuePlan } from "./quick-plan.ts";
import { quickPlan } from "./quick-plan.ts";
import { violationText } from "./violation.ts";

export interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
}

export interface JudgeLimits {
  readonly maxEventBytes: number;
  readonly maxNesting: number;
}

export class EventJudge {
  /** The event as a value, after an exact judgement that found it fine. */
  value: unknown;
  /** What the quick scanner follows; undefined when the contract is beyond it. */
  readonly plan: ValuePlan | undefined;
  readonly scanner: JsonScanner;
  readonly #limits: JudgeLimits;
  readonly #contract: Contract;

  /** @throws CONTRACT_NOT_COMPILABLE */
  constructor(stream: Stream, limits: JudgeLimits) {
    this.#limits = limits;
    this.#contract = compileContract(stream);
    this.plan = quickPlan(stream, limits.maxNesting);
    this.scanner = new JsonScanner(limits.maxNesting);
  }

  /**
   * Judges the value from `start` to `end` exactly. `scanned` says that the scanner's last scan was of these bytes.
   * Returns undefined when the event may be stored.
   */
  judge(bytes: Buffer, start: number, end: number, scanned = false): Refusal | undefined {
    const { scanner } = this;
    if (end - start > this.#limits.maxEventBytes) {
      return refuse("EVENT_TOO_LARGE", { size: end - start, limit: this.#limits.maxEventBytes });
    }
    if (!scanned) {
      const after = scanner.scan(bytes, start, end);
      if (after < 0 || after < end) return malformed(bytes, start, end, after, scanner);
    }
    if (scanner.problem !== undefined) return this.#unstorable(bytes, start);
    const text = scanner.ascii ? bytes.toString("latin1", start, end) : bytes.toString("utf8", start, end);
    const value: unknown = JSON.parse(text);
    if (keysIn(value) !== scanner.keys) {
      const { key, pointer } = duplicateKey(text);
      return refuse("EVENT_DUPLICATE_KEY", {
        key: JSON.stringify(key),
        where: pointer === "" ? "" : ` (at "${pointer}")`,
      });
    }
    const violation = scanner.longNumbers ? this.#contract.violationIn(value, text) : this.#contract.violation(value);
    if (violation !== undefined) return refuse("EVENT_INVALID", { violation: violationText(violation) });
    this.value = value;
    return undefined;
  }

  #unstorable(bytes: Buffer, start: number): Refusal {
    const { problem, at } = this.scanner;
    const position = at - start;
    switch (problem) {
      case "too-deep":
        return refuse("EVENT_TOO_DEEP", { position, limit: this.#limits.maxNesting });
      case "lone-surrogate":
        return refuse("EVENT_NOT_STORABLE", {
          position,
          reason: `half of a surrogate pair stands alone (${bytes.toString("latin1", at, at + 6)})`,
        });
      case "nul":
        return refuse("EVENT_NOT_STORABLE", {
          position,
          reason: "a string holds the character U+0000, which PostgreSQL cannot keep",
        });
      case "number-not-finite":
        return refuse("EVENT_NOT_STORABLE", { position, reason: "a number lies beyond what a double can hold" });
      default:
        return refuse("EVENT_NOT_STORABLE", {
          position,
          reason: "an integer beyond 2^53 has digits that a double does not keep",
        });
    }
  }
}

export function refuse(code: ErrorCode, params: Record<string, unknown>): Refusal {
  return { code, message: messageOf(code, params) };
}

function malformed(bytes: Buffer, start: number, end: number, after: number, scanner: JsonScanner): Refusal {
  const at = after < 0 ? scanner.at : scanner.skipSpace(bytes, after, end);
  const expected = after < 0 ? scanner.expected : "the end of the event";
  return refuse("EVENT_MALFORMED_JSON", { position: at - start, expected, got: shown(bytes, at, end) });
}

/** What stands at a position, for a message. */
export function shown(bytes: Buffer, at: number, end: number): string {
  if (at >= end) return "the end";
  const byte = bytes[at] as number;
  if (byte === 0xef && bytes[at + 1] === 0xbb && bytes[at + 2] === 0xbf) return "a byte order mark";
  if (byte >= 0x21 && byte < 0x7f) return `"${String.fromCharCode(byte)}"`;
  return `byte 0x${byte.toString(16).padStart(2, "0")}`;
}
