import type { JsonScanner } from "../json-scanner.ts";

/** A key of an object and where it stands: from the quote before the key to behind the value. */
export interface Member {
  readonly key: string;
  readonly start: number;
  readonly valueStart: number;
  readonly end: number;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** The members of the object that stands from `start` to `end`, in their order; undefined when that is no object. The bytes must be valid JSON. */
export function membersOf(bytes: Buffer, start: number, end: number, scanner: JsonScanner): Member[] | undefined {
  if (bytes[start] !== OPEN_OBJECT) return undefined;
  const members: Member[] = [];
  let at = scanner.skipSpace(bytes, start + 1, end);
  while (bytes[at] !== CLOSE_OBJECT) {
    const { keyEnd, valueStart } = keyAt(bytes, at, end, scanner);
    const key = JSON.parse(bytes.toString("utf8", at, keyEnd)) as string;
    const valueEnd = scanner.scan(bytes, valueStart, end);
    members.push({ key, start: at, valueStart, end: valueEnd });
    at = scanner.skipSpace(bytes, valueEnd, end);
    if (bytes[at] === COMMA) at = scanner.skipSpace(bytes, at + 1, end);
  }
  return members;
}

/** Where the key at `at` ends and its value begins; `valueStart` is -1 when no key and colon stand there, and `keyEnd` where it went wrong. */
export function keyAt(
  bytes: Buffer,
  at: number,
  end: number,
  scanner: JsonScanner,
): { readonly keyEnd: number; readonly valueStart: number } {
  if (bytes[at] !== QUOTE) return { keyEnd: at, valueStart: -1 };
  const keyEnd = scanner.scan(bytes, at, end);
  if (keyEnd < 0) return { keyEnd: scanner.at, valueStart: -1 };
  const colon = scanner.skipSpace(bytes, keyEnd, end);
  if (bytes[colon] !== COLON) return { keyEnd: colon, valueStart: -1 };
  return { keyEnd, valueStart: scanner.skipSpace(bytes, colon + 1, end) };
}
