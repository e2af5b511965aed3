/** Where partitions begin and end, asked of their leaders: many partitions with one request to each broker. */
import { listOffsetsV6 } from "@platformatic/kafka";
import type { Cluster } from "./cluster.ts";
import { answerOf, BrokerRefusal, check } from "./failures.ts";
import type { KafkaPartition } from "./kafka-partition.ts";

export const LATEST = -1n;
export const EARLIEST = -2n;

/**
 * The offset of each partition at a time: `LATEST`, `EARLIEST`, or the first one at or after a time in milliseconds (-1 where there is
 * none). Asks again while leaders change, until the deadline.
 * @throws BrokerRefusal, or what the network says
 */
export async function listOffsets(
  cluster: Cluster,
  partitions: Iterable<KafkaPartition>,
  timestamp: bigint,
  deadline: number,
): Promise<Map<KafkaPartition, number>> {
  const found = new Map<KafkaPartition, number>();
  const open = new Set(partitions);
  await cluster.retry(deadline, async () => {
    const byLeader = Map.groupBy(open, ({ topic, index }) => cluster.leader(topic.name, index));
    const outcomes = await Promise.allSettled(
      [...byLeader].map(async ([leader, asked]) => {
        if (leader === undefined) throw new BrokerRefusal("LEADER_NOT_AVAILABLE", namesOf(asked));
        for (const [partition, { errorCode, offset }] of await askLeader(cluster, leader, asked, timestamp)) {
          check(errorCode, partition.name);
          found.set(partition, offset);
          open.delete(partition);
        }
      }),
    );
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed) throw failed.reason;
  });
  return found;
}

/** One request to one leader, and what it answered by partition. */
export async function askLeader(
  cluster: Cluster,
  leader: number,
  partitions: readonly KafkaPartition[],
  timestamp: bigint,
): Promise<Map<KafkaPartition, { readonly errorCode: number; readonly offset: number }>> {
  const topics = [...Map.groupBy(partitions, ({ topic }) => topic.name)].map(([name, asked]) => ({
    name,
    partitions: asked.map(({ index }) => ({ partitionIndex: index, currentLeaderEpoch: -1, timestamp })),
  }));
  const connection = await cluster.connection(leader, "offsets");
  const answer = await answerOf(listOffsetsV6.api.async(connection, -1, 0, topics));
  const byName = new Map(partitions.map((partition) => [partition.name, partition]));
  const answers = new Map<KafkaPartition, { errorCode: number; offset: number }>();
  for (const { name, partitions: parts } of answer.topics) {
    for (const { partitionIndex, errorCode, offset } of parts) {
      const partition = byName.get(`${name}-${partitionIndex}`);
      if (partition) answers.set(partition, { errorCode, offset: Number(offset) });
    }
  }
  return answers;
}

function namesOf(partitions: readonly KafkaPartition[]): string {
  const names = partitions.slice(0, 3).map(({ name }) => name);
  return `${names.join(", ")}${partitions.length > 3 ? ` and ${partitions.length - 3} more` : ""}`;
}
