import { offsetFetchV8 } from "@platformatic/kafka";
import type { Cluster } from "../../src/log/kafka/cluster.ts";
import { Coordinator } from "../../src/log/kafka/group/coordinator.ts";

/** What a group has committed, by `topic/partition`, sorted. */
export async function committedOffsets(cluster: Cluster, groupId: string): Promise<[string, number][]> {
  const answer = await new Coordinator(cluster, groupId).ask("beat", async (connection) => {
    const { groups } = await offsetFetchV8.api.async(connection, [{ groupId, memberEpoch: -1, topics: null }], false);
    return { errorCode: 0, groups };
  });
  return answer.groups
    .flatMap(({ topics }) => topics)
    .flatMap(({ name, partitions }) =>
      partitions.map((one): [string, number] => [`${name}/${one.partitionIndex}`, Number(one.committedOffset)]),
    )
    .sort(([a], [b]) => (a < b ? -1 : 1));
}
