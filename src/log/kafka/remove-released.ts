/** Removes events that no consumer needs any more: Kafka cuts a partition at an offset (DeleteRecords), whatever its segments are. */
import { deleteRecordsV2 } from "@platformatic/kafka";
import type { Cluster } from "./cluster.ts";
import { answerOf, BrokerRefusal, check, denied } from "./failures.ts";
import { unreadable } from "./fetcher.ts";
import type { KafkaPartition } from "./kafka-partition.ts";
import { listOffsets } from "./offsets.ts";

const TIMEOUT_MS = 5_000;

/** Removes what is below `offset` and came before `beforeMs`. @throws KAFKA_NOT_ALLOWED, LOG_UNREADABLE (retryable) */
export async function removeReleased(
  cluster: Cluster,
  partition: KafkaPartition,
  { offset, beforeMs, deadline }: { offset: number; beforeMs: number; deadline: number },
): Promise<void> {
  const { topic, index } = partition;
  try {
    const young =
      (await listOffsets(cluster, [partition], BigInt(Math.max(0, beforeMs)), deadline)).get(partition) ?? 0;
    const until = Math.min(offset, young === -1 ? partition.ends.end : young);
    if (until <= partition.ends.start) return;
    const wanted = [{ name: topic.name, partitions: [{ partitionIndex: index, offset: BigInt(until) }] }];
    await cluster.retry(deadline, async () => {
      const leader = cluster.leader(topic.name, index);
      if (leader === undefined) throw new BrokerRefusal("LEADER_NOT_AVAILABLE");
      const connection = await cluster.connection(leader, "control");
      const answer = await answerOf(deleteRecordsV2.api.async(connection, wanted, TIMEOUT_MS));
      const [one] = answer.topics[0]?.partitions ?? [];
      check(one?.errorCode ?? -1);
      partition.learn({ start: Number(one?.lowWatermark ?? 0) });
    });
  } catch (error) {
    throw (
      denied(error, `topic ${topic.name}`, "delete records", cluster.settings) ?? unreadable(partition, error, cluster)
    );
  }
}
