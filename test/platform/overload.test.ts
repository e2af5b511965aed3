import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { temporaryFolder } from "../flow/open-flow.ts";
import { RunningPlatform } from "./running-platform.ts";

const MIB = 1024 * 1024;

/** Announces a body of which little comes, so that its room stays taken; resolves once it is let in or refused. */
async function slowSender({ url, key }: RunningPlatform): Promise<{ socket: Socket; refused: boolean }> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => undefined);
  const head = `POST /v1/streams/order_lines/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${key}`;
  socket.write(
    `${head}\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: ${MIB / 8}\r\n\r\n`,
  );
  const [answer] = (await once(socket, "data")) as [Buffer];
  return { socket, refused: !answer.toString().startsWith("HTTP/1.1 100 ") };
}

test("while the door has no room for a sender, queries and health are answered and other keys get in", async () => {
  await using dir = await temporaryFolder();
  await using platform = await RunningPlatform.start("examples/securecart", dir.path, ["--inflight", "1MiB"]);
  const made = await platform.command("keys", "create", "--name", "quiet", "--scopes", "ingest", "--json");
  const quiet = platform.as((JSON.parse(made.stdout) as { token: string }).token);
  const slow: Socket[] = [];
  for (let refused = false; !refused; ) {
    const sender = await slowSender(platform);
    slow.push(sender.socket);
    refused = sender.refused;
    assert.ok(slow.length < 10, "a mebibyte is full");
  }
  const line = {
    invoice_no: "i1",
    line_id: "l1",
    stock_code: "85123A",
    quantity: 2,
    invoice_date: "2026-01-05T10:00:00Z",
    unit_price: "1.500",
    country: "Germany",
  };
  assert.equal((await quiet.post("order_lines", [line])).status, 202);
  assert.deepEqual(await platform.sql("select line_id from order_lines"), [["l1"]]);
  for (const path of ["/healthz", "/readyz", "/v1/status"]) assert.equal((await platform.get(path)).status, 200);
  for (const socket of slow) socket.destroy();
  for (let tries = 0; ; tries++) {
    const { socket, refused } = await slowSender(platform);
    socket.destroy();
    if (!refused) break;
    assert.ok(tries < 500, "room is given back once the slow senders have gone");
    await new Promise((wake) => setTimeout(wake, 10));
  }
  assert.deepEqual(await platform.sql("select count(*) from order_lines"), [[1]]);
});
