/** Who works on which partitions, by the groups of Kafka. */
import { MillraceError } from "../../../errors.ts";
import type { Assignment, GroupOptions, Membership } from "../../assignment.ts";
import type { KafkaLog } from "../open-kafka-log.ts";
import { GroupMember } from "./group-member.ts";

export interface KafkaAssignmentOptions {
  /** Name of this process among those that share the log; the same when it is started again. */
  readonly workerId: string;
  /** A process that is silent for longer loses its partitions. Milliseconds, default 20 s. */
  readonly sessionMs?: number;
  /** How long `lost` may take. Milliseconds, default 60 s. */
  readonly handOverMs?: number;
}

export function kafkaAssignment(
  log: KafkaLog,
  { workerId, sessionMs = 20_000, handOverMs = 60_000 }: KafkaAssignmentOptions,
): Assignment {
  const members = new Set<Promise<GroupMember>>();
  let closed = false;
  return {
    async join(user: GroupOptions): Promise<Membership> {
      if (closed) throw new MillraceError("SHUTTING_DOWN");
      const topics = new Map(
        user.streams.map((stream) => [stream, { topic: log.topicOf(stream), partitions: log.partitions(stream) }]),
      );
      const groupId = log.topicOf(user.group);
      const joining = GroupMember.join(
        { cluster: log.cluster, groupId, workerId, topics, sessionMs, handOverMs },
        user,
      );
      members.add(joining);
      try {
        return await joining;
      } catch (error) {
        members.delete(joining);
        throw error;
      }
    },
    async close(): Promise<void> {
      closed = true;
      await Promise.all([...members].map(async (joining) => (await joining.catch(() => undefined))?.leave()));
    },
  };
}
