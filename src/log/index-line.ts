/**
 * The side index: one line per commit span (consecutive events of one source that became durable together):
 *
 *     {"from":1200,"count":100,"at":33120,"bytes":27600,"crc":"0a1b2c3d","receivedAt":1763693000000,"source":"http","group":1100,"check":"89abcdef"}
 *
 * `from`: first offset; `at`, `bytes`: where its lines lie in the data file; `crc`: CRC-32 of those bytes, or `lost` when damage
 * took the original line and the data does not explain itself;
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

/** The line in `buffer` from `start` to `end` (without its line break); undefined when it is not what was once written. */
export function parseIndexLine(buffer: Buffer, start: number, end: number): IndexLine | undefined {
  const checkAt = end - CHECK_LENGTH;
  if (checkAt <= start) return undefined;
  const tail = buffer.toString("latin1", checkAt, end);
  if (!tail.startsWith(CHECK_KEY) || !tail.endsWith('"}')) return undefined;
  if (hex(crc32(buffer.subarray(start, checkAt))) !== tail.slice(CHECK_KEY.length, -2)) return undefined;
  const fields = JSON.parse(buffer.toString("utf8", start, end));
  return {
    from: fields.from,
    count: fields.count,
    at: fields.at,
    bytes: fields.bytes,
    crc: fields.crc === LOST ? undefined : Number.parseInt(fields.crc, 16),
    receivedAtMs: fields.receivedAt,
    source: fields.source,
    group: fields.group,
  };
}

const LOST = "lost";
const CHECK_KEY = ',"check":"';
const CHECK_LENGTH = CHECK_KEY.length + 8 + 2;

function hex(value: number): string {
  return value.toString(16).padStart(8, "0");
}
