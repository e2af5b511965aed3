import type { FastifyInstance, preHandlerAsyncHookHandler } from "fastify";
import { MillraceError } from "../errors.ts";

export interface ReceiptsRouteOptions {
  /** What became of the event. @throws STREAM_UNKNOWN, EVENT_UNKNOWN */
  readonly receipt: (stream: string, id: string, options: { older: boolean }) => Promise<unknown>;
  /** Lets only keys with the scope through. */
  readonly requireScope: (scope: "query") => preHandlerAsyncHookHandler;
}

/**
 * `GET /v1/streams/{stream}/events/{id}?older=true`: where an event is now.
 *
 *     {"stream", "id", "searchedOlder", "arrivals": [{
 *       "partition", "offset", "receivedAt", "source", "original": true, "duplicateOf"?,
 *       "bronze": Fate, "tables": [{"table", …Fate}], "functions": [{"function", …FunctionFate}]}]}    arrivals newest first
 *
 *     Fate   {"fate": "stored", "version"?, "file"} | {"fate": "superseded"} | {"fate": "duplicate", "duplicateOf"}
 *          | {"fate": "filtered"} | {"fate": "dead-lettered", "deadLetterId", "stage", "code", "message", "status"}
 *          | {"fate": "pending"}
 *     FunctionFate   {"fate": "handled"} | {"fate": "duplicate", "duplicateOf"} | {"fate": "filtered"} (from before it began) | {"fate": "pending"} | {"fate": "dead-lettered", …}
 *
 * Arrivals before the stream's horizon are looked for when there are none within it, or with `older=true`.
 */
export async function receiptsRoute(app: FastifyInstance, options: ReceiptsRouteOptions): Promise<void> {
  const query = { preHandler: options.requireScope("query") };
  app.get<{ Params: { stream: string; id: string }; Querystring: Record<string, unknown> }>(
    "/v1/streams/:stream/events/:id",
    query,
    async ({ params, query: { older = "false", ...others } }) => {
      const [unknown] = Object.keys(others);
      if (unknown !== undefined)
        throw new MillraceError("PARAMETER_INVALID", { name: unknown, got: "not known here", allowed: '"older"' });
      if (older !== "true" && older !== "false")
        throw new MillraceError("PARAMETER_INVALID", {
          name: "older",
          got: JSON.stringify(older),
          allowed: "true or false",
        });
      return options.receipt(params.stream, params.id, { older: older === "true" });
    },
  );
}
