import { isUtf8 } from "node:buffer";

/** Finds the first byte that begins no valid character, by halves: valid so far as some cut near it is valid. */
export function firstInvalidUtf8(body: Buffer): number {
  let valid = 0;
  let invalid = body.length;
  // Invariant: the first `valid` bytes are whole, valid characters; the first `invalid` bytes hold the fault.
  while (invalid - valid > 4) {
    const middle = characterStart(body, (valid + invalid) >> 1, valid);
    if (middle === valid) break;
    if (isUtf8(body.subarray(valid, middle))) valid = middle;
    else invalid = middle;
  }
  while (valid < body.length) {
    let length = 1;
    while (length <= 4 && !isUtf8(body.subarray(valid, valid + length))) length++;
    if (length > 4) return valid;
    valid += length;
  }
  return valid;
}

/** The nearest position at or before `at` that is not inside a character. */
function characterStart(body: Buffer, at: number, least: number): number {
  let start = at;
  while (start > least && ((body[start] as number) & 0xc0) === 0x80) start--;
  return start;
}
