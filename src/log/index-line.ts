/**
 * The side index: one line per commit span (consecutive events of one source that became durable together):
 *
 *     {"from":1200,"count":100,"at":33120,"bytes":27600,"crc":"0a1b2c3d","receivedAt":1763693000000,
 *      "source":"http","group":1100,"check":"89abcdef"}        (without the line break)
 *
 * `from`: first offset; `at`, `bytes`: where its lines lie in the data file; `crc`: CRC-32 of those bytes, or `lost` when
 * damage took the original line and the data does not explain itself;
 * `receivedAt`: milliseconds since the epoch (UTC); `group`: first offset of the group commit the span was part of, which proves
 * that everything below it had been made durable before; `check`: CRC-32 of this line up to the comma before `"check"`.
 */
import { crc32 } from "node:zlib";

export interface IndexLine {
  readonly from: number;
  readonly count: number;
  readonly at: number;
  readonly bytes: number;
  /** Undefined: lost. */
  readonly crc: number | undefined;
  readonly receivedAtMs: number;
  readonly source: string;
  readonly group: number;
}

/** The line with its line break. */
export function encodeIndexLine(line: IndexLine): string {
  const body =
    `{"from":${line.from},"count":${line.count},"at":${line.at},"bytes":${line.bytes},"crc":"${line.crc === undefined ? LOST : hex(line.crc)}",` +
    `"receivedAt":${line.receivedAtMs},"source":${JSON.stringify(line.source)},"group":${line.group}`;
  return `${body},"check":"${hex(crc32(body))}"}\n`;
}

/**
 * The line in `buffer` from `start` to `end` (without its line break); undefined when it is not what was once written.
 * A whole segment's index is read at start, so the fields are taken where they stand: five times as fast as JSON.parse.
 */
export function parseIndexLine(buffer: Buffer, start: number, end: number): IndexLine | undefined {
  const bodyEnd = end - CHECK_LENGTH;
  if (bodyEnd <= start || !holds(buffer, bodyEnd, CHECK_KEY) || !holds(buffer, end - 2, '"}')) return undefined;
  if (parseHex(buffer, bodyEnd + CHECK_KEY.length) !== crc32(buffer.subarray(start, bodyEnd))) return undefined;
  const cursor = new Cursor(buffer, start);
  return {
    from: cursor.number('{"from":'),
    count: cursor.number(',"count":'),
    at: cursor.number(',"at":'),
    bytes: cursor.number(',"bytes":'),
    crc: cursor.checksum(',"crc":"'),
    receivedAtMs: cursor.number(',"receivedAt":'),
    source: cursor.string(',"source":'),
    group: cursor.number(',"group":'),
  };
}

/** Walks a line that its check has proved to be one of ours: keys are stepped over, not compared. */
class Cursor {
  readonly #buffer: Buffer;
  #at: number;

  constructor(buffer: Buffer, at: number) {
    this.#buffer = buffer;
    this.#at = at;
  }

  number(key: string): number {
    this.#at += key.length;
    let value = 0;
    for (;;) {
      const digit = (this.#buffer[this.#at] as number) - 48;
      if (!(digit >= 0 && digit <= 9)) return value;
      value = value * 10 + digit;
      this.#at++;
    }
  }

  checksum(key: string): number | undefined {
    this.#at += key.length;
    const value = parseHex(this.#buffer, this.#at);
    this.#at += (value === undefined ? LOST.length : 8) + 1;
    return value;
  }

  string(key: string): string {
    const start = this.#at + key.length;
    let end = start + 1;
    let escaped = false;
    while (this.#buffer[end] !== QUOTE) {
      const escapes = this.#buffer[end] === BACKSLASH;
      escaped ||= escapes;
      end += escapes ? 2 : 1;
    }
    this.#at = end + 1;
    return escaped
      ? JSON.parse(this.#buffer.toString("utf8", start, end + 1))
      : this.#buffer.toString("utf8", start + 1, end);
  }
}

/** Eight hexadecimal digits; undefined when they are not. */
function parseHex(buffer: Buffer, at: number): number | undefined {
  let value = 0;
  for (let i = at; i < at + 8; i++) {
    const byte = buffer[i] as number;
    if (byte >= 48 && byte <= 57) value = value * 16 + byte - 48;
    else if (byte >= 97 && byte <= 102) value = value * 16 + byte - 87;
    else return undefined;
  }
  return value;
}

function holds(buffer: Buffer, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (buffer[at + i] !== text.charCodeAt(i)) return false;
  return true;
}

const LOST = "lost";
const CHECK_KEY = ',"check":"';
const CHECK_LENGTH = CHECK_KEY.length + 8 + 2;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

function hex(value: number): string {
  return value.toString(16).padStart(8, "0");
}
