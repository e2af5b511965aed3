import { didYouMean } from "../define/nearest.ts";
import { MillraceError } from "../errors.ts";
import type { ApiKeys } from "../state/api-keys.ts";

/** The keys, and no write key is made for a stream that the project does not have. */
export function keysForStreams(
  keys: ApiKeys,
  streams: ReadonlyMap<string, unknown>,
): Omit<ApiKeys, "verify" | "principal" | "accessKey" | "problem" | "close"> {
  return {
    async create(request) {
      for (const scope of request.scopes) {
        const stream = scope.startsWith("write:") ? scope.slice(6) : undefined;
        if (stream === undefined || streams.has(stream)) continue;
        const reason = `it would write to "${stream}", and there is no such stream${didYouMean(stream, streams.keys())}`;
        throw new MillraceError("KEY_INVALID", { reason });
      }
      return keys.create(request);
    },
    list: () => keys.list(),
    revoke: (id) => keys.revoke(id),
  };
}
