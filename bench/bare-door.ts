/** The peer of the HTTP door: node:http, reading each body to its end and answering 202 without looking at it. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const ANSWER = '{"accepted":1,"rejected":[],"partitions":[{"partition":0,"from":0,"to":0}]}';

const server = createServer((request, response) => {
  request.resume();
  request.once("end", () => {
    response.writeHead(202, { "Content-Type": "application/json", "Content-Length": ANSWER.length });
    response.end(ANSWER);
  });
});
server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`ready http://127.0.0.1:${(server.address() as AddressInfo).port}\n`);
});
