import { MillraceError } from "../errors.ts";

/** @throws OBJECT_KEY_INVALID when a key could leave its store, or would be no key of every store. */
export function checkKey(key: string): void {
  // Nearly every key there is, and a query may name thousands.
  if (key.length <= MOST_BYTES && PLAIN.test(key)) return;
  const problem = keyProblem(key);
  if (problem !== undefined)
    throw new MillraceError("OBJECT_KEY_INVALID", { key: JSON.stringify(key), reason: problem });
}

/** Segments without anything odd, none of which begins with a dot. */
export const PLAIN = /^[\w=%-][\w=%.-]*(?:\/[\w=%-][\w=%.-]*)*$/;

/** No listing of S3 can hold them: XML has no way to write them. */
const CONTROL = /[\u0000-\u001f]/;

/** S3's limit, in bytes of UTF-8, less a kilobyte's quarter for the prefix that the lake has in its bucket. */
const MOST_BYTES = 768;

function keyProblem(key: string): string | undefined {
  if (CONTROL.test(key)) return "it holds control characters";
  if (key.includes("\\")) return "it holds a backslash";
  if (Buffer.byteLength(key) > MOST_BYTES) return `it is longer than ${MOST_BYTES} bytes`;
  const bad = key.split("/").find((segment) => segment === "" || segment === "." || segment === "..");
  return bad === undefined ? undefined : `it holds the segment "${bad}"`;
}
