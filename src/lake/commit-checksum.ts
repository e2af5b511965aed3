import { crc32 } from "node:zlib";
import { type Actions, MalformedAction, serializeActions } from "./actions.ts";

/**
 * A checksum over a whole commit, so that a bit that flipped on the disk shows even where the file is still well-formed JSON.
 * It is the last field of the first line, which readers of the protocol ignore:
 *
 *     {"commitInfo":{…,"engineInfo":"Millrace","checksum":"1c291ca3"}}
 *
 * CRC-32 in eight hexadecimal digits over the file as it is without that field. Commits of other writers have none.
 */
const FIELD = /,"checksum":"([0-9a-f]{8})"\}\}$/;

/** The bytes of a commit; its commitInfo must not be empty. */
export function sealCommit(actions: Actions & Required<Pick<Actions, "commitInfo">>): Uint8Array {
  const plain = serializeActions(actions);
  const end = plain.indexOf(10) - 2;
  return Buffer.concat([plain.subarray(0, end), Buffer.from(`,"checksum":"${checksum(plain)}"`), plain.subarray(end)]);
}

/**
 * A commit without its checksum, which was right.
 * @throws MalformedAction when it is not, or when the commit is empty
 */
export function unsealCommit(bytes: Uint8Array): Uint8Array {
  if (bytes.length === 0) throw new MalformedAction("is empty");
  const end = bytes.indexOf(10);
  const first = Buffer.from(bytes.buffer, bytes.byteOffset, end < 0 ? bytes.length : end).toString("latin1");
  const match = FIELD.exec(first);
  if (!match) return bytes;
  const plain = Buffer.concat([bytes.subarray(0, match.index), Buffer.from("}}"), bytes.subarray(first.length)]);
  if (checksum(plain) !== match[1]) throw new MalformedAction("does not match its checksum");
  return plain;
}

function checksum(content: Uint8Array): string {
  return crc32(content).toString(16).padStart(8, "0");
}
