/** Which of the given brokers are asked, where most of them are not there. */
import assert from "node:assert/strict";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";
import { Cluster } from "../../src/log/kafka/cluster.ts";

/** A port at which nobody listens. */
async function nobody(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${port}`;
}

for (const dead of [1, 2, 3]) {
  test(`of ${dead + 1} brokers the last one is asked when those before it are not there`, async (t) => {
    let asked = 0;
    const server = createServer((socket) => {
      asked++;
      socket.destroy(); // it is enough to have been asked
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => server.close());
    const brokers = [];
    for (let i = 0; i < dead; i++) brokers.push(await nobody());
    brokers.push(`127.0.0.1:${(server.address() as AddressInfo).port}`);
    await assert.rejects(Cluster.connect({ brokers, clientId: "test" }), { code: /^KAFKA_/ });
    assert.ok(asked > 0);
  });
}
