import type { FastifyInstance, preHandlerAsyncHookHandler } from "fastify";
import { MillraceError } from "../errors.ts";
import type { ReactAnswers, ReactCall } from "../react/lane-calls.ts";

export interface ReactCallsRouteOptions {
  readonly answers: ReactAnswers;
  /** Lets only keys with the scope through. */
  readonly requireScope: (scope: "query" | "admin") => preHandlerAsyncHookHandler;
}

/** What people may ask who can only query. */
const QUESTIONS: ReadonlySet<unknown> = new Set<ReactCall["call"]>(["read", "destinations"]);

/**
 * `POST /v1/workers/react`: what another worker passes on of its requests about reactions and alerts, since this one has the lane, or looks after alerts;
 * `react/lane-calls.ts` has the bodies. `{"answer": …}`, or the error. With the key of whoever asked: scope query for what can be read, else admin.
 */
export async function reactCallsRoute(app: FastifyInstance, { answers, requireScope }: ReactCallsRouteOptions) {
  const guards = { query: requireScope("query"), admin: requireScope("admin") };
  app.post<{ Body: ReactCall }>(
    "/v1/workers/react",
    {
      async preHandler(request, reply) {
        const { call } = (request.body ?? {}) as { call?: unknown };
        await guards[QUESTIONS.has(call) ? "query" : "admin"].call(app, request, reply);
      },
    },
    async ({ body }) => {
      if (body?.to !== "lane" && body?.to !== "leader")
        throw new MillraceError("REQUEST_INVALID", { reason: 'it needs "to": "lane" or "leader"' });
      return { answer: (await answers.answer(body)) ?? null };
    },
  );
}
