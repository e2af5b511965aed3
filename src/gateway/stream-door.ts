import type { Stream } from "../define/project.ts";
import type { EventLog } from "../log/event-log.ts";
import type { Admission, StreamLanes } from "./admission.ts";
import type { KeyVerifier } from "./auth.ts";
import { takesEnvelope } from "./cloud-events.ts";
import type { DeadLetterSink } from "./dead-letter-sink.ts";
import type { DoorMetrics, StreamCounts } from "./door-metrics.ts";
import type { FailureReport } from "./error-answer.ts";
import type { EventJudge } from "./event-judge.ts";
import type { PartitionOf, Router } from "./partition-router.ts";
import { partitionRouter } from "./partition-router.ts";
import { judgeOf } from "./segment/plan-judge.ts";

/** What the door knows of one stream. */
export class StreamDoor {
  readonly stream: Stream;
  readonly judge: EventJudge;
  readonly router: Router | undefined;
  readonly wholeEnvelope: boolean;
  readonly counts: StreamCounts;
  readonly lanes: StreamLanes;

  /** @throws CONTRACT_NOT_COMPILABLE */
  constructor(stream: Stream, deps: DoorDeps) {
    this.stream = stream;
    this.judge = judgeOf(stream, deps.limits);
    this.router = partitionRouter(stream, deps.log.partitions(stream.name), deps.partitionOf);
    this.wholeEnvelope = takesEnvelope(stream);
    this.counts = deps.metrics.stream(stream.name);
    this.lanes = deps.admission.stream(stream.name);
  }
}

export interface DoorLimits {
  readonly maxBodyBytes: number;
  readonly maxEventBytes: number;
  readonly maxNesting: number;
  readonly idleBodyMs: number;
}

/** What the events door works with. */
export interface DoorDeps {
  readonly log: EventLog;
  readonly streams: ReadonlyMap<string, Stream>;
  readonly keys: KeyVerifier;
  readonly deadLetters: DeadLetterSink;
  readonly partitionOf: PartitionOf;
  readonly admission: Admission;
  readonly metrics: DoorMetrics;
  readonly limits: DoorLimits;
  readonly report: FailureReport;
  /** True once the server takes nothing new. */
  readonly isClosing: () => boolean;
}
