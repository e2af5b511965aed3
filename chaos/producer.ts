/**
 * A producer in a process of its own. It sends one batch at a time per sender and sends it again until it is acknowledged, so
 * that the events of a lane arrive in their order; an obligation is written after each 202. Told to stop, it ends
 * once everything it has sent is acknowledged.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Answer, Client } from "./client.ts";
import { type Obligation, ObligationWriter } from "./obligations.ts";
import { Random } from "./random.ts";
import { Lane, type Sent, type StreamName } from "./traffic.ts";

export interface ProducerOptions {
  readonly seed: number;
  readonly name: string;
  readonly ports: readonly number[];
  readonly key: string;
  readonly dir: string;
  readonly senders: number;
  /** Mean pause between two batches of a sender. */
  readonly pauseMs: number;
  readonly mostEvents: number;
}

const STREAMS: readonly StreamName[] = ["orders", "orders", "orders", "payments", "stock_levels"];

const options = JSON.parse(process.argv[2] ?? "") as ProducerOptions;
const client = new Client(options.ports, options.key);
const writer = new ObligationWriter(join(options.dir, `${options.name}.obligations`));
let stopping = false;
process.on("SIGTERM", () => {
  stopping = true;
});
process.on("disconnect", () => process.exit(1)); // never outlives the oracle
process.channel?.unref();
process.on("SIGINT", () => undefined); // the oracle says when

await Promise.all(Array.from({ length: options.senders }, (_, i) => send(i)));

async function send(sender: number): Promise<void> {
  const random = new Random(options.seed * 1000 + sender);
  const lanes = Array.from({ length: 3 }, (_, i) => new Lane(`${options.name}s${sender}l${i}`, random));
  while (!stopping) {
    const stream = random.pick(STREAMS);
    const events = Array.from({ length: random.int(1, options.mostEvents) }, () => random.pick(lanes).event(stream));
    const body = `${events.map((event) => event.text).join("\n")}\n`;
    let answer: Answer | undefined;
    for (;;) {
      answer = await client.send("POST", `/v1/streams/${stream}/events`, body, "application/x-ndjson");
      if (answer && answer.status !== 429 && answer.status !== 503) break;
      await sleep(random.int(20, 200));
    }
    const ranges = understood(answer, events);
    if (ranges === undefined) {
      console.log(
        JSON.stringify({
          violation: "a batch got an answer it must not get",
          stream,
          answer,
          body: body.slice(0, 2000),
        }),
      );
      process.exit(1);
    }
    writer.write(events, ranges);
    await sleep(options.pauseMs * 2 * random.next());
  }
}

/** The offset ranges of an answer that accepts what is valid and refuses the rest; undefined for any other. */
function understood(answer: Answer, events: readonly Sent[]): Obligation["in"] | undefined {
  const refused = events.flatMap(({ fate }, i) => (fate === "door" ? [i] : []));
  if (answer.status !== (refused.length === events.length ? 422 : 202)) return undefined;
  const body = JSON.parse(answer.body);
  const rejected = (body.rejected ?? body.error?.details?.rejected ?? []) as { index: number }[];
  if (answer.status === 202 && body.accepted !== events.length - refused.length) return undefined;
  if (answer.status === 202 && rejected.map(({ index }) => index).join() !== refused.join()) return undefined;
  return ((body.partitions ?? []) as { partition: number; from: number; to: number }[]).map(
    ({ partition, from, to }) => [partition, from, to] as const,
  );
}
