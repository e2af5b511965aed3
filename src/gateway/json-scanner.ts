/**
 * Finds where a JSON value ends, and what in it a lake could not hold, in one pass over its bytes.
 *
 * Grammar: RFC 8259, nothing more. The bytes must already be valid UTF-8. Two kinds of finding are kept apart:
 * - *malformed*: the value has no end, so nothing after it can be trusted either (`scan` returns -1);
 * - *not storable*: the value is JSON, its end is known, but it holds something that two parsers read differently or
 *   that a table cannot keep (`problem` says what; `at` says where).
 */
export type ScanProblem =
  | "malformed"
  | "too-deep"
  | "lone-surrogate"
  | "nul"
  | "number-not-finite"
  | "integer-not-exact";

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** 1 for bytes that a string holds as they are: ASCII from the space on, but for the quote and the backslash. */
const PLAIN = new Uint8Array(256);
for (let byte = 0x20; byte < 0x80; byte++) PLAIN[byte] = byte === QUOTE || byte === BACKSLASH ? 0 : 1;

/** 1 for the four bytes JSON takes as white space. */
const SPACE = new Uint8Array(256);
for (const byte of [0x20, 0x09, 0x0a, 0x0d]) SPACE[byte] = 1;

/** The smallest count of digits an integer needs to lie beyond 2^53. */
const DIGITS_OF_EXACT_INTEGERS = 15;
/** Below this many characters a number without an exponent is finite for certain. */
const DIGITS_OF_FINITE_NUMBERS = 300;

export class JsonScanner {
  /** First finding of the last scan; undefined when the value is fine. */
  problem: ScanProblem | undefined;
  /** Byte position of the finding. */
  at = 0;
  /** What the grammar wanted at `at` when the value is malformed. */
  expected = "";
  /** Number of keys in all objects of the value, each occurrence counted. */
  keys = 0;
  /** True when the value is pure ASCII. */
  ascii = true;
  /** True when a number has more digits than a double keeps for certain, or an exponent, which may be beyond it. */
  longNumbers = false;
  /** True when raw line breaks stand between the value's tokens. */
  lineBreaks = false;

  readonly #maxNesting: number;
  /** One entry per open bracket: 1 for an object. */
  #open = new Uint8Array(64);

  constructor(maxNesting: number) {
    this.#maxNesting = maxNesting;
  }

  /** The position after white space from `from` on. */
  skipSpace(bytes: Uint8Array, from: number, end: number): number {
    let at = from;
    while (at < end && SPACE[bytes[at] as number] === 1) at++;
    return at;
  }

  /** Scans the value that begins at `from` exactly. Returns the position after it, or -1 when it is malformed. */
  scan(bytes: Uint8Array, from: number, end: number): number {
    this.problem = undefined;
    this.at = from;
    this.expected = "";
    this.keys = 0;
    this.ascii = true;
    this.longNumbers = false;
    this.lineBreaks = false;
    let at = from;
    let depth = 0;
    let wantsKey = false;
    for (;;) {
      at = this.#space(bytes, at, end);
      if (at >= end) return this.#malformed(at, wantsKey ? "a key" : "a value");
      let byte = bytes[at] as number;
      if (wantsKey) {
        if (byte !== QUOTE) return this.#malformed(at, "a key in double quotes");
        at = this.#string(bytes, at, end);
        if (at < 0) return -1;
        this.keys++;
        at = this.#space(bytes, at, end);
        if (at >= end || bytes[at] !== COLON) return this.#malformed(at, "a colon");
        at = this.#space(bytes, at + 1, end);
        if (at >= end) return this.#malformed(at, "a value");
        byte = bytes[at] as number;
        wantsKey = false;
      }
      if (byte === QUOTE) {
        at = this.#string(bytes, at, end);
      } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
        const object = byte === OPEN_OBJECT;
        if (depth >= this.#maxNesting) this.#found("too-deep", at);
        if (depth === this.#open.length) this.#grow();
        this.#open[depth++] = object ? 1 : 0;
        at = this.#space(bytes, at + 1, end);
        if (at < end && bytes[at] === (object ? CLOSE_OBJECT : CLOSE_ARRAY)) {
          depth--;
          at++;
        } else {
          wantsKey = object;
          continue;
        }
      } else if (byte === MINUS || (byte >= ZERO && byte <= NINE)) {
        at = this.#number(bytes, at, end);
      } else {
        at = this.#word(bytes, at, end);
      }
      if (at < 0) return -1;
      // A value has ended: close what ends with it, until a comma asks for the next value.
      for (;;) {
        if (depth === 0) return at;
        at = this.#space(bytes, at, end);
        const object = this.#open[depth - 1] === 1;
        const next = at < end ? bytes[at] : undefined;
        if (next === COMMA) {
          at++;
          wantsKey = object;
          break;
        }
        if (next !== (object ? CLOSE_OBJECT : CLOSE_ARRAY)) {
          return this.#malformed(at, object ? "a comma or }" : "a comma or ]");
        }
        depth--;
        at++;
      }
    }
  }

  #space(bytes: Uint8Array, from: number, end: number): number {
    let at = from;
    while (at < end) {
      const byte = bytes[at] as number;
      if (byte > 0x20 || SPACE[byte] === 0) return at;
      if (byte === 0x0a || byte === 0x0d) this.lineBreaks = true;
      at++;
    }
    return at;
  }

  #string(bytes: Uint8Array, from: number, end: number): number {
    let at = from + 1;
    for (;;) {
      while (at < end && PLAIN[bytes[at] as number] === 1) at++;
      if (at >= end) return this.#malformed(at, "the end of a string");
      const byte = bytes[at] as number;
      if (byte === QUOTE) return at + 1;
      if (byte >= 0x80) {
        this.ascii = false;
        at++;
      } else if (byte === BACKSLASH) {
        at = this.#escape(bytes, at, end);
        if (at < 0) return -1;
      } else {
        return this.#malformed(at, "no raw control character in a string");
      }
    }
  }

  #escape(bytes: Uint8Array, from: number, end: number): number {
    const letter = from + 1 < end ? bytes[from + 1] : undefined;
    switch (letter) {
      case QUOTE:
      case BACKSLASH:
      case 0x2f: // slash
      case 0x62: // b
      case 0x66: // f
      case 0x6e: // n
      case 0x72: // r
      case 0x74: // t
        return from + 2;
      case 0x75: // u
        break;
      default:
        return this.#malformed(from, "an escape that JSON knows");
    }
    const unit = hex4(bytes, from + 2, end);
    if (unit < 0) return this.#malformed(from, "four hexadecimal digits after \\u");
    if (unit === 0) this.#found("nul", from);
    if (unit < 0xd800 || unit > 0xdfff) return from + 6;
    if (unit < 0xdc00 && bytes[from + 6] === BACKSLASH && bytes[from + 7] === 0x75 && from + 12 <= end) {
      const low = hex4(bytes, from + 8, end);
      if (low >= 0xdc00 && low <= 0xdfff) return from + 12;
    }
    this.#found("lone-surrogate", from);
    return from + 6;
  }

  #number(bytes: Uint8Array, from: number, end: number): number {
    let at = bytes[from] === MINUS ? from + 1 : from;
    const first = at;
    const lead = at < end ? (bytes[at] as number) : 0;
    if (lead < ZERO || lead > NINE) return this.#malformed(at, "a digit");
    at = lead === ZERO ? at + 1 : digits(bytes, at, end);
    const integerDigits = at - first;
    let integer = true;
    let exponent = false;
    if (at < end && bytes[at] === DOT) {
      integer = false;
      const after = digits(bytes, at + 1, end);
      if (after === at + 1) return this.#malformed(after, "a digit after the decimal point");
      at = after;
    }
    if (at < end && ((bytes[at] as number) | 0x20) === 0x65) {
      integer = false;
      exponent = true;
      let power = at + 1;
      if (power < end && (bytes[power] === 0x2b || bytes[power] === MINUS)) power++;
      const after = digits(bytes, power, end);
      if (after === power) return this.#malformed(after, "a digit in the exponent");
      at = after;
    }
    if (exponent || at - first > DIGITS_OF_EXACT_INTEGERS) this.longNumbers = true;
    if (integer ? integerDigits > DIGITS_OF_EXACT_INTEGERS : exponent || integerDigits > DIGITS_OF_FINITE_NUMBERS) {
      this.#judgeNumber(latin1(bytes, from, at), integer, from);
    }
    return at;
  }

  #judgeNumber(text: string, integer: boolean, at: number): void {
    const value = Number(text);
    if (!Number.isFinite(value)) this.#found("number-not-finite", at);
    else if (integer && !Number.isSafeInteger(value) && BigInt(value) !== BigInt(text)) {
      // The shortest text of a double is what senders write that have nothing but the double.
      if (String(value) !== text) this.#found("integer-not-exact", at);
    }
  }

  #word(bytes: Uint8Array, from: number, end: number): number {
    const byte = bytes[from];
    const word = byte === 0x74 ? "true" : byte === 0x66 ? "false" : byte === 0x6e ? "null" : undefined;
    if (word === undefined) return this.#malformed(from, "a value");
    for (let i = 1; i < word.length; i++) {
      if (from + i >= end || bytes[from + i] !== word.charCodeAt(i)) return this.#malformed(from + i, `"${word}"`);
    }
    return from + word.length;
  }

  #found(problem: ScanProblem, at: number): void {
    if (this.problem !== undefined) return;
    this.problem = problem;
    this.at = at;
  }

  #malformed(at: number, expected: string): -1 {
    this.problem = "malformed";
    this.at = at;
    this.expected = expected;
    return -1;
  }

  #grow(): void {
    const larger = new Uint8Array(this.#open.length * 4);
    larger.set(this.#open);
    this.#open = larger;
  }
}

function digits(bytes: Uint8Array, from: number, end: number): number {
  let at = from;
  while (at < end && (bytes[at] as number) >= ZERO && (bytes[at] as number) <= NINE) at++;
  return at;
}

/** The value of four hexadecimal digits, or -1. */
function hex4(bytes: Uint8Array, from: number, end: number): number {
  if (from + 4 > end) return -1;
  let value = 0;
  for (let at = from; at < from + 4; at++) {
    const byte = bytes[at] as number;
    const lower = byte | 0x20;
    if (byte >= ZERO && byte <= NINE) value = value * 16 + byte - ZERO;
    else if (lower >= 0x61 && lower <= 0x66) value = value * 16 + lower - 0x57;
    else return -1;
  }
  return value;
}

function latin1(bytes: Uint8Array, from: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, end - from).toString("latin1");
}
