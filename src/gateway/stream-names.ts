import { nearestMatch } from "../define/nearest.ts";
import { MillraceError } from "../errors.ts";

/** STREAM_UNKNOWN with the name that was probably meant. */
export function unknownStream(name: string, streams: ReadonlyMap<string, unknown>): MillraceError {
  // No stream's name is longer, and comparing costs the product of the lengths.
  const nearest = name.length <= 200 ? nearestMatch(name, streams.keys()) : undefined;
  const list = "GET /v1/streams lists the streams.";
  const suggestion = nearest === undefined ? list : `Did you mean "${nearest}"? ${list}`;
  return new MillraceError(
    "STREAM_UNKNOWN",
    { stream: name.slice(0, 200).toWellFormed(), suggestion },
    { details: { nearest } },
  );
}
