/**
 * Unpacks a compressed body, never to more than the limit: a bomb stops there, whatever it would have become.
 *
 * A body that ends too early, or goes on after its end, is refused: a decoder that stops at the first frame would lose
 * the rest without a word. Several gzip members or zstd frames in a row are one body (RFC 1952, RFC 8878).
 */
import type { InputType } from "node:zlib";
import { brotliDecompress, constants, gunzip, zstdDecompress } from "node:zlib";
import { MillraceError } from "../errors.ts";

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

/** Calls back with the whole body unpacked, or with BODY_TOO_LARGE, or BODY_ENCODING_BROKEN. */
export function unpack(
  encoding: Encoding,
  packed: Buffer,
  limit: number,
  done: (error: MillraceError | undefined, body: Buffer) => void,
): void {
  const parts: Buffer[] = [];
  let frames = 0;
  let size = 0;
  const next = (rest: Buffer): void => {
    // At least one byte over the limit must fit, or a body of exactly the limit would seem too large.
    decode(encoding, rest, Math.max(1, limit - size), (error, part, used) => {
      if (error !== undefined) return done(unpackError(encoding, error, limit), rest);
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

interface Decoded {
  readonly buffer: Buffer;
  /** The stream that did the work; it knows how many bytes it took. */
  readonly engine: { readonly bytesWritten: number };
}

/** A decoder with `info`, which the type definitions do not have: it then gives the engine beside the bytes. */
type Decoder = (
  packed: InputType,
  options: object,
  done: (error: NodeJS.ErrnoException | null, result: Decoded) => void,
) => void;

const DECODERS: Readonly<Record<Encoding, Decoder>> = {
  gzip: gunzip as unknown as Decoder,
  zstd: zstdDecompress as unknown as Decoder,
  br: brotliDecompress as unknown as Decoder,
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
  done: (error: NodeJS.ErrnoException | undefined, part: Buffer, used: number) => void,
): void {
  const params = encoding === "zstd" ? { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG } : {};
  const options = { maxOutputLength: limit, chunkSize: CHUNK_BYTES, info: true, params };
  DECODERS[encoding](packed, options, (error, result) => {
    if (error !== null) done(error, packed, 0);
    else done(undefined, result.buffer, result.engine.bytesWritten);
  });
}

function unpackError(encoding: Encoding, error: NodeJS.ErrnoException, limit: number): MillraceError {
  if (error.code === "ERR_BUFFER_TOO_LARGE")
    return new MillraceError("BODY_TOO_LARGE", { limit, unpacked: " when unpacked" });
  return new MillraceError("BODY_ENCODING_BROKEN", { encoding, reason: error.message }, { cause: error });
}
