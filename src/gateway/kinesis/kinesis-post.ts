/**
 * One request to the Kinesis door, from its whole body to its answer.
 *
 *     wait for its turn -> verify the signature -> read the parameters
 *       -> PutRecord(s): judge each event -> refused ones into the dead letters (durable) -> accepted ones into the log (durable)
 *       -> all others: see operations.ts
 *     -> answer
 */

import type { AcceptedRun } from "../accepted-events.ts";
import { REQUEST_BYTES, Ticket } from "../admission.ts";
import { asMillraceError } from "../error-answer.ts";
import type { StreamDoor } from "../stream-door.ts";
import type { Job, Place } from "../turns.ts";
import { AwsError, asAwsError, invalidArgument, serialization, validation } from "./aws-error.ts";
import type { Exchange } from "./kinesis-answer.ts";
import { answerKinesis, failKinesis } from "./kinesis-answer.ts";
import type { KinesisDeps } from "./kinesis-door.ts";
import { openStream, requireAccess, streamName } from "./kinesis-streams.ts";
import { operationOf } from "./operations.ts";
import type { Parameters } from "./parameters.ts";
import { missing, optionalText, parametersOf, requiredText } from "./parameters.ts";
import type { PutRecord } from "./record-intake.ts";
import { MOST_RECORDS, RecordIntake, SOURCE } from "./record-intake.ts";
import { isHashKey, sequenceNumber, shardId } from "./shards.ts";
import type { Claim, SignedRequest } from "./signature.ts";

const LONGEST_PARTITION_KEY = 256;

export class KinesisPost implements Job {
  place: Place;
  readonly #deps: KinesisDeps;
  readonly #exchange: Exchange;
  readonly #operation: string;
  readonly #signed: SignedRequest;
  readonly #claim: Claim;
  #ticket: Ticket;
  #body: Buffer | undefined;
  #put: { readonly door: StreamDoor; readonly records: readonly PutRecord[] } | undefined;
  #intake: RecordIntake | undefined;

  constructor(
    deps: KinesisDeps,
    exchange: Exchange,
    operation: string,
    signed: SignedRequest,
    claim: Claim,
    ticket: Ticket,
  ) {
    this.#deps = deps;
    this.#exchange = exchange;
    this.#operation = operation;
    this.#signed = signed;
    this.#claim = claim;
    this.#ticket = ticket;
    this.place = ticket.lane.place;
  }

  /** The body is there whole. */
  begin(body: Buffer): void {
    this.#body = body;
    this.#ticket.whole();
    this.#deps.admission.turns.take(this);
  }

  step(): "done" | "more" | "paused" {
    try {
      if (this.#put === undefined) this.#open(this.#body as Buffer);
      else if (!this.#judge(this.#put)) return "more";
    } catch (error) {
      this.fail(error);
    }
    return "done";
  }

  #open(body: Buffer): void {
    const { signatures, kinesis, doors, log, limits } = this.#deps;
    const { principal, region } = this.#claim;
    signatures.verify(this.#signed, body, this.#claim);
    const input = parametersOf(this.#exchange.codec.decode(body));
    this.#body = undefined;
    if (this.#operation === "PutRecords" || this.#operation === "PutRecord") {
      this.#openPut(input, body.length);
      return;
    }
    const { maxEventBytes } = limits;
    const { codec } = this.#exchange;
    const hold = (bytes: number) => this.#ticket.grow(bytes);
    const call = { ...kinesis, input, principal, region, doors, log, maxEventBytes, codec, hold };
    const operation = operationOf(this.#operation);
    (async () => operation(call))().then(
      (output) => this.#answer(output === undefined ? "" : codec.encode(output)),
      (error: unknown) => this.fail(error),
    );
  }

  /** From here on the request is one of its stream's. */
  #openPut(input: Parameters, bodyBytes: number): void {
    const { doors, admission } = this.#deps;
    const { principal } = this.#claim;
    const name = streamName(input);
    requireAccess(principal, "send", name);
    const door = openStream(doors, name);
    const records = this.#operation === "PutRecord" ? [recordOf(input, "")] : recordsOf(input);
    const ticket = new Ticket(door.lanes.lane(principal.id));
    this.#ticket.release();
    // The body, what its data stands for, and the answer.
    const refusal = ticket.enter(REQUEST_BYTES + 2 * bodyBytes);
    if (refusal !== undefined) {
      door.counts.refused(refusal.error.code);
      this.fail(refusal);
      return;
    }
    this.#ticket = ticket;
    this.place = ticket.lane.place;
    this.#put = { door, records };
    ticket.whole();
    // Taken once this turn is over, for a job has one place at a time.
    queueMicrotask(() => admission.turns.take(this));
  }

  /** False: there is more to judge. */
  #judge({ door, records }: { readonly door: StreamDoor; readonly records: readonly PutRecord[] }): boolean {
    const { limits, deadLetters } = this.#deps;
    this.#intake ??= new RecordIntake(records, door, this.#deps.routerOf(door), limits.maxEventBytes);
    const intake = this.#intake;
    if (!intake.take()) return false;
    if (intake.refused.length === 0) {
      this.#store(door, intake);
      return true;
    }
    const letters = intake.refused.map(({ code, message, payload }) => {
      return { stream: door.stream.name, stage: "door" as const, code, message, payload, source: SOURCE };
    });
    deadLetters.record(letters).then(
      () => {
        for (const { code } of intake.refused) door.counts.rejected(code);
        this.#store(door, intake);
      },
      (error: unknown) => this.fail(error),
    );
    return true;
  }

  #store(door: StreamDoor, intake: RecordIntake): void {
    const runs = intake.runs();
    const { log } = this.#deps;
    const { name } = door.stream;
    const [first] = runs;
    if (first === undefined) {
      this.#finish(door, intake, [], new Map());
      return;
    }
    this.#ticket.logging();
    if (runs.length === 1) {
      log.append(name, first.partition, first).then(
        ({ from }) => this.#finish(door, intake, runs, new Map([[first.partition, from]])),
        (error: unknown) => this.fail(error),
      );
      return;
    }
    // Partitions are not written together: of a record whose partition failed the answer says so, and the others are stored.
    Promise.allSettled(runs.map((run) => log.append(name, run.partition, run))).then((outcomes) => {
      const stored = new Map<number, number | AwsError>();
      outcomes.forEach((outcome, index) => {
        const { partition } = runs[index] as AcceptedRun;
        stored.set(partition, outcome.status === "fulfilled" ? outcome.value.from : this.#failure(outcome.reason));
      });
      const [failure] = stored.values().filter((from) => typeof from !== "number");
      const isStored = stored.values().some((from) => typeof from === "number");
      if (failure !== undefined && !isStored) this.fail(failure);
      else this.#finish(door, intake, runs, stored);
    });
  }

  #failure(error: unknown): AwsError {
    return asAwsError(asMillraceError(error, this.#operation, this.#deps.report));
  }

  /** `stored`: by partition the first offset, or why there is none. */
  #finish(
    { counts }: StreamDoor,
    intake: RecordIntake,
    runs: readonly AcceptedRun[],
    stored: ReadonlyMap<number, number | AwsError>,
  ): void {
    for (const { partition, count, payload } of runs) {
      if (typeof stored.get(partition) !== "number") continue;
      counts.accepted += count;
      counts.bytes += payload.length;
    }
    const { partitions, positions } = intake;
    const results: Result[] = [];
    let failed = 0;
    let refusals: Map<number, string> | undefined;
    for (let index = 0; index < partitions.length; index++) {
      const partition = partitions[index] as number;
      const from = stored.get(partition);
      if (typeof from === "number") {
        const offset = from + (positions[index] as number);
        results.push({ SequenceNumber: sequenceNumber(partition, offset), ShardId: shardId(partition) });
        continue;
      }
      failed++;
      refusals ??= firstRefusals(intake);
      results.push(
        from === undefined
          ? // A record without an event in it cannot be stored, nor is there anything to lose.
            { ErrorCode: "InvalidArgumentException", ErrorMessage: refusals.get(index) ?? "The record holds no event." }
          : { ErrorCode: "InternalFailure", ErrorMessage: from.message },
      );
    }
    if (this.#operation === "PutRecords") {
      this.#answer(
        this.#exchange.codec.encode({ EncryptionType: "NONE", FailedRecordCount: failed, Records: results }),
      );
      return;
    }
    const [only] = results as [Result];
    if ("ErrorCode" in only) this.fail(new AwsError(only.ErrorCode, only.ErrorMessage));
    else this.#answer(this.#exchange.codec.encode({ EncryptionType: "NONE", ...only }));
  }

  #answer(body: string | Buffer): void {
    answerKinesis(this.#deps, this.#exchange, 200, body);
    this.#ticket.release();
  }

  /** Answers with what is wrong; nothing of the body is kept. */
  fail(error: unknown): void {
    this.#body = undefined;
    this.#put = undefined;
    this.#intake = undefined;
    this.#ticket.release();
    failKinesis(this.#deps, this.#exchange, error);
  }
}

type Result =
  | { readonly SequenceNumber: string; readonly ShardId: string }
  | { readonly ErrorCode: string; readonly ErrorMessage: string };

/** By record, of which nothing may have been stored. */
function firstRefusals({ refused }: RecordIntake): Map<number, string> {
  const found = new Map<number, string>();
  for (const { index, code, message } of refused) if (!found.has(index)) found.set(index, `${code}: ${message}`);
  return found;
}

/** @throws AwsError */
function recordsOf(input: Parameters): PutRecord[] {
  const { Records: records } = input;
  if (records === undefined || records === null) throw missing("Records");
  if (!Array.isArray(records)) throw serialization("Records is no list.");
  if (records.length === 0) {
    throw validation([], "records", "Member must have length greater than or equal to 1");
  }
  if (records.length > MOST_RECORDS) {
    const got = `${records.length} records`;
    throw validation(got, "records", `Member must have length less than or equal to ${MOST_RECORDS}`);
  }
  return records.map((record, index) => recordOf(parametersOf(record), `records.${index + 1}.member.`));
}

function recordOf(input: Parameters, place: string): PutRecord {
  const { Data: data, PartitionKey: key } = input;
  if (data === undefined || data === null) throw missing(`${place}data`);
  if (typeof data !== "string" && !(data instanceof Uint8Array)) throw serialization("Data is no blob.");
  // The usual case needs no closer look.
  const partitionKey =
    typeof key === "string" && key.length >= 1 && key.length <= LONGEST_PARTITION_KEY
      ? key
      : requiredText(input, "PartitionKey", LONGEST_PARTITION_KEY);
  const explicitHashKey = optionalText(input, "ExplicitHashKey");
  if (explicitHashKey !== undefined && !isHashKey(explicitHashKey)) {
    throw invalidArgument(
      `Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was ${explicitHashKey.slice(0, 50)}`,
    );
  }
  return { data, partitionKey, explicitHashKey };
}
