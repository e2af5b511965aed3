/**
 * Unpacks a compressed body, never to more than the limit: a bomb stops there, whatever it would have become.
 *
 * A body that ends too early, or goes on after its end, is refused: a decoder that stops at the first frame would lose
 * the rest without a word. Several gzip members or zstd frames in a row are one body (RFC 1952, RFC 8878).
 */
import type { Transform } from "node:stream";
import { constants, createBrotliDecompress, createGunzip, createZstdDecompress } from "node:zlib";
import { MillraceError } from "../errors.ts";
import type { Refusal } from "./admission.ts";

export type Encoding = "gzip" | "zstd" | "br";

export const ENCODINGS: readonly Encoding[] = ["gzip", "zstd", "br"];

/** The one encoding of a body, or undefined when it stands as it is. @throws BODY_ENCODING_UNSUPPORTED */
export function contentEncoding(header: string | undefined): Encoding | undefined {
  if (header === undefined) return undefined;
  const name = header.trim().toLowerCase();
  if (name === "" || name === "identity") return undefined;
  if (name === "x-gzip") return "gzip";
  if (ENCODINGS.includes(name as Encoding)) return name as Encoding;
  const allowed = [...ENCODINGS, "identity"];
  throw new MillraceError(
    "BODY_ENCODING_UNSUPPORTED",
    { got: header.slice(0, 100), allowed: allowed.join(", ") },
    { details: { allowed } },
  );
}

/**
 * Calls back with the whole body unpacked, or with BODY_TOO_LARGE, or BODY_ENCODING_BROKEN. `grow` is asked before any more bytes
 * are kept, and its refusal is the answer: many bombs at once stop there as well.
 */
export function unpack(
  encoding: Encoding,
  packed: Buffer,
  limit: number,
  grow: (bytes: number) => Refusal | undefined,
  done: (error: MillraceError | Refusal | undefined, body: Buffer) => void,
): void {
  const parts: Buffer[] = [];
  let frames = 0;
  let size = 0;
  const next = (rest: Buffer): void => {
    // At least one byte over the limit must fit, or a body of exactly the limit would seem too large.
    decode(encoding, rest, Math.max(1, limit - size), grow, (problem, part, used) => {
      if (problem !== undefined)
        return done(problem instanceof Error ? unpackError(encoding, problem, limit) : problem, rest);
      parts.push(part);
      size += part.length;
      if (size > limit) return done(new MillraceError("BODY_TOO_LARGE", { limit, unpacked: " when unpacked" }), rest);
      if (used >= rest.length) return done(undefined, parts.length === 1 ? part : Buffer.concat(parts, size));
      if (encoding === "zstd" && used > 0 && ++frames < MAX_FRAMES) return next(rest.subarray(used));
      done(
        new MillraceError("BODY_ENCODING_BROKEN", { encoding, reason: `${rest.length - used} bytes follow its end` }),
        rest,
      );
    });
  };
  next(packed);
}

/** What the types of a decoder leave out: how many bytes it took. */
type Decoder = Transform & { readonly bytesWritten: number };

const DECODERS: Readonly<Record<Encoding, (options: object) => Decoder>> = {
  gzip: createGunzip,
  zstd: createZstdDecompress,
  br: createBrotliDecompress,
};

/** Fewer and larger steps through the thread pool than by default. */
const CHUNK_BYTES = 64 * 1024;
/** Each frame is a trip through the thread pool, however small it is. */
const MAX_FRAMES = 1000;
/** A frame may not ask for more memory than this power of two: 32 MiB, more than any level but "ultra" uses. */
const ZSTD_WINDOW_LOG = 25;

function decode(
  encoding: Encoding,
  packed: Buffer,
  limit: number,
  grow: (bytes: number) => Refusal | undefined,
  done: (problem: NodeJS.ErrnoException | Refusal | undefined, part: Buffer, used: number) => void,
): void {
  const params = encoding === "zstd" ? { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG } : {};
  const decoder = DECODERS[encoding]({ chunkSize: CHUNK_BYTES, params });
  const chunks: Buffer[] = [];
  let size = 0;
  let ended = false;
  const end = (problem: NodeJS.ErrnoException | Refusal | undefined): void => {
    if (ended) return;
    ended = true;
    const used = decoder.bytesWritten;
    decoder.destroy();
    if (problem !== undefined) done(problem, packed, 0);
    else done(undefined, chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, size), used);
  };
  decoder.on("data", (chunk: Buffer) => {
    if (ended) return;
    size += chunk.length;
    if (size > limit) return end(Object.assign(new Error("too large"), { code: TOO_LARGE }));
    const refusal = grow(chunk.length);
    if (refusal !== undefined) return end(refusal);
    chunks.push(chunk);
  });
  decoder.on("error", end);
  decoder.on("end", () => end(undefined));
  decoder.end(packed);
}

const TOO_LARGE = "TOO_LARGE";

function unpackError(encoding: Encoding, error: NodeJS.ErrnoException, limit: number): MillraceError {
  if (error.code === TOO_LARGE) return new MillraceError("BODY_TOO_LARGE", { limit, unpacked: " when unpacked" });
  return new MillraceError("BODY_ENCODING_BROKEN", { encoding, reason: error.message }, { cause: error });
}
