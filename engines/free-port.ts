import { randomInt } from "node:crypto";
import { createServer } from "node:net";

/**
 * A free port of the loopback, below those that systems give to outgoing connections (Linux: from 32768): a broker that was
 * stopped finds its own free when it starts again.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const port = randomInt(20_000, 32_000);
    if (!given.has(port) && (await isFree(port))) {
      given.add(port);
      return port;
    }
  }
  throw new Error("no free port between 20000 and 32000 was found in 200 attempts");
}

const given = new Set<number>();

function isFree(port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer();
    server.once("error", () => done(false));
    server.listen(port, "127.0.0.1", () => server.close(() => done(true)));
  });
}
