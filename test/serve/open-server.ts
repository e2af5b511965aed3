import fastify, { type FastifyInstance } from "fastify";
import { MillraceError } from "../../src/errors.ts";

/** A fastify over loopback that answers errors as the platform's server does. */
export async function openServer(
  register: (app: FastifyInstance) => void,
): Promise<{ url: string; close(): Promise<void> }> {
  const app = fastify({ forceCloseConnections: true });
  app.setErrorHandler((error, _request, reply) => {
    if (!(error instanceof MillraceError)) throw error;
    return reply.code(error.status).send({ error: error.toJSON() });
  });
  register(app);
  const url = await app.listen({ host: "127.0.0.1", port: 0 });
  return { url, close: () => app.close() };
}
