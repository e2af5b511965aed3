import type { Stream } from "../define/project.ts";
import { MillraceError } from "../errors.ts";
import type { Admit } from "../flow/dead-letter-desk.ts";
import { CloudIntake, takesEnvelope } from "../gateway/cloud-events.ts";
import type { EventJudge, JudgeLimits } from "../gateway/event-judge.ts";
import { EventReader } from "../gateway/event-reader.ts";
import { type PartitionOf, partitionRouter } from "../gateway/partition-router.ts";
import { PlainIntake } from "../gateway/plain-intake.ts";
import { judgeOf } from "../gateway/segment/plan-judge.ts";
import type { EventLog } from "../log/event-log.ts";

export interface ContractDoorOptions {
  readonly streams: ReadonlyMap<string, Stream>;
  readonly log: EventLog;
  readonly partitionOf: PartitionOf;
  readonly limits: JudgeLimits;
}

/** `partitions`: how many the stream is taken to have; `otherwise`: the one for an event that neither key nor id places. */
export type ContractDoor = (
  stream: string,
  payload: Uint8Array,
  partitions?: number,
  otherwise?: number,
) => ReturnType<Admit>;

/**
 * The front door without HTTP, for an event that is sent through it once more or comes from elsewhere: the same contract, the same partition. What is
 * refused as it stands and is a CloudEvents envelope is tried as one, as its first sender may have meant it.
 */
export function contractDoor({ streams, log, partitionOf, limits }: ContractDoorOptions): ContractDoor {
  const judges = new Map<string, EventJudge>();
  return (name, payload, partitions, otherwise) => {
    const stream = streams.get(name);
    if (stream === undefined)
      return { kind: "refused", code: "STREAM_UNKNOWN", message: `there is no stream "${name}"` };
    const judge = judges.get(name) ?? judgeOf(stream, limits);
    judges.set(name, judge);
    const body = Buffer.from(payload);
    const placed = otherwise === undefined ? undefined : () => otherwise;
    const router = partitionRouter(stream, partitions ?? log.partitions(name), partitionOf, placed);
    const plain = read(body, new PlainIntake(body, "", judge, router), limits);
    if (plain.kind === "accepted" || !body.includes('"specversion"')) return plain;
    return read(body, new CloudIntake(body, judge, router, takesEnvelope(stream)), limits);
  };
}

function read(body: Buffer, intake: PlainIntake | CloudIntake, { maxEventBytes }: JudgeLimits): ReturnType<Admit> {
  const reader = new EventReader(body, "single", intake, maxEventBytes);
  try {
    while (!reader.read());
  } catch (error) {
    // A body that is no JSON at all is not worth a request's failure here: it is the one event that is refused.
    if (!(error instanceof MillraceError) || error.code !== "BODY_MALFORMED_JSON") throw error;
    return { kind: "refused", code: "EVENT_MALFORMED_JSON", message: error.message };
  }
  const [refused] = reader.takeRefused();
  if (refused) return { kind: "refused", code: refused.code, message: refused.message };
  const [run] = intake.runs();
  if (!run) return { kind: "refused", code: "BODY_EMPTY", message: "it holds no event" };
  return { kind: "accepted", partition: run.partition, line: run.payload };
}
