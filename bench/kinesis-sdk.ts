/**
 * Puts records with AWS's SDK as it is, over HTTP/2: `node bench/kinesis-sdk.ts '{"port":8080,…}'`. Prints one line of JSON:
 * `{records, seconds, recordsPerSecond, cores}`. The SDK signs and encodes, which takes more of the machine than the door does.
 */
import { KinesisClient, PutRecordsCommand } from "@aws-sdk/client-kinesis";
import type { AccessKey } from "./kinesis-requests.ts";
import { TelemetryEvents } from "./telemetry.ts";

const { port, key, underWay, durationMs, recordsPerRequest } = JSON.parse(process.argv[2] ?? "{}") as {
  port: number;
  key: AccessKey;
  underWay: number;
  durationMs: number;
  recordsPerRequest: number;
};
const events = new TelemetryEvents({ sender: 200 });
const client = new KinesisClient({
  endpoint: `http://127.0.0.1:${port}`,
  region: "eu-central-1",
  credentials: key,
  maxAttempts: 1,
});
let records = 0;
let until = Number.POSITIVE_INFINITY;

async function sendOn(): Promise<void> {
  while (performance.now() < until) {
    const Records = Array.from({ length: recordsPerRequest }, (_, n) => ({
      Data: events.one(),
      PartitionKey: `v${n}`,
    }));
    const { FailedRecordCount } = await client.send(new PutRecordsCommand({ StreamName: "telemetry", Records }));
    if (FailedRecordCount !== 0) throw new Error(`${FailedRecordCount} records were refused`);
    records += recordsPerRequest;
  }
}

const senders = Array.from({ length: underWay }, () => sendOn());
await new Promise((resolve) => setTimeout(resolve, 1000));
const [before, cpu, startedMs] = [records, process.cpuUsage(), performance.now()];
until = startedMs + durationMs;
await Promise.all(senders);
const seconds = (performance.now() - startedMs) / 1000;
const { user, system } = process.cpuUsage(cpu);
client.destroy();
const recordsPerSecond = Math.round((records - before) / seconds);
console.log(
  JSON.stringify({ records: records - before, seconds, recordsPerSecond, cores: (user + system) / 1e6 / seconds }),
);
