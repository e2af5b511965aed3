/**
 * What SDKs of browsers and phones ask for before they send: `GET /v1/projects/{writeKey}/settings`. They learn that there is one
 * destination, this platform, and where it is; that they need not report how they fare (`metrics`); and nothing that a write key may not know.
 */
import type { FastifyInstance } from "fastify";
import type { WriteKeys } from "./write-key.ts";

/** A fastify plugin. */
export function settingsRoute(writeKeys: WriteKeys): (app: FastifyInstance) => Promise<void> {
  return async (app) => {
    app.get<{ Params: { writeKey: string } }>("/v1/projects/:writeKey/settings", async (request, reply) => {
      const { writeKey } = request.params;
      writeKeys.open(writeKey);
      // Where the sender found us is where it is to send to, whatever stands between.
      const forwarded = request.headers["x-forwarded-proto"];
      const protocol = /^https\b/.test(String(forwarded)) ? "https" : "http";
      const apiHost = `${request.headers.host}/v1`;
      reply.header("Cache-Control", "no-cache");
      return {
        integrations: {
          "Segment.io": { apiKey: writeKey, apiHost, protocol },
        },
        plan: {
          track: { __default: { enabled: true, integrations: {} } },
          identify: { __default: { enabled: true } },
          group: { __default: { enabled: true } },
        },
        edgeFunction: {},
        analyticsNextEnabled: true,
        enabledMiddleware: {},
        metrics: { sampleRate: 0 },
        remotePlugins: [],
        middlewareSettings: {},
      };
    });
  };
}
