/**
 * Divides the partitions of a group's topics among its members.
 *
 * - Partition p of every topic goes to one member: state kept by key may be shared by streams.
 * - The numbers p are spread evenly, and stay where they are as far as that allows.
 * - What moves is first taken from its owner and given in the round after that, when he has let go of it (cooperative rebalancing, KIP-429).
 */
import type { Subscription, TopicPartitions } from "./member-protocol.ts";

export interface Member extends Subscription {
  readonly id: string;
  /** The name that a member keeps when it is started again; decides the order, so that the same members divide in the same way. */
  readonly name: string;
}

/** Partitions of each member by id. `counts`: partitions by topic. */
export function dividePartitions(
  members: readonly Member[],
  counts: ReadonlyMap<string, number>,
): ReadonlyMap<string, TopicPartitions> {
  const ordered = members.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  const slots = Math.max(0, ...ordered.flatMap(({ topics }) => topics.map((topic) => counts.get(topic) ?? 0)));
  const owners = ownersOfSlots(ordered, slots);
  const held = new Map<string, Set<string>>();
  for (const { id, owned } of ordered)
    for (const [topic, partitions] of owned)
      for (const partition of partitions) {
        const key = `${topic}/${partition}`;
        held.set(key, (held.get(key) ?? new Set()).add(id));
      }
  const given = new Map(ordered.map(({ id }) => [id, new Map<string, number[]>()]));
  for (const topic of new Set(ordered.flatMap(({ topics }) => topics))) {
    const takers = ordered.filter(({ topics }) => topics.includes(topic));
    for (let partition = 0; partition < (counts.get(topic) ?? 0); partition++) {
      const owner = owners[partition];
      // While versions of a project run side by side, the owner may not know the stream.
      const taker = owner?.topics.includes(topic) ? owner : takers[partition % takers.length];
      if (!taker) continue;
      const others = [...(held.get(`${topic}/${partition}`) ?? [])].filter((id) => id !== taker.id);
      if (others.length > 0) continue; // taken from them now, given in the next round
      const mine = given.get(taker.id);
      mine?.set(topic, [...(mine.get(topic) ?? []), partition]);
    }
  }
  return given;
}

/** The member of each slot: as before where that is fair. */
function ownersOfSlots(members: readonly Member[], slots: number): (Member | undefined)[] {
  const owners: (Member | undefined)[] = Array.from({ length: slots });
  const before: (Member | undefined)[] = Array.from({ length: slots });
  for (const member of members)
    for (const slot of new Set([...member.owned.values()].flat())) {
      const rival = before[slot];
      // Who was given it last has it; whoever else claims it has not heard yet.
      if (slot < slots && (!rival || member.generation > rival.generation)) before[slot] = member;
    }
  const claims = new Map(members.map((member) => [member, before.filter((owner) => owner === member).length]));
  const least = Math.floor(slots / Math.max(1, members.length));
  let withOneMore = slots - least * members.length;
  // Who has most keeps the odd one.
  const quota = new Map<Member, number>();
  for (const member of members.toSorted((a, b) => (claims.get(b) ?? 0) - (claims.get(a) ?? 0)))
    quota.set(member, least + (withOneMore-- > 0 ? 1 : 0));
  const left = new Map(quota);
  const take = (slot: number, member: Member): void => {
    left.set(member, (left.get(member) ?? 0) - 1);
    owners[slot] = member;
  };
  for (const [member, most] of quota) {
    const claimed = [...before.keys()].filter((slot) => before[slot] === member);
    const kept = Math.min(most, claimed.length);
    // Not the first ones: low numbers have more streams, where those have different counts of partitions.
    for (let i = 0; i < kept; i++) take(claimed[Math.floor((i * claimed.length) / kept)] as number, member);
  }
  for (let slot = 0; slot < slots; slot++) {
    if (owners[slot]) continue;
    const most = Math.max(...left.values());
    const next = members.find((member) => left.get(member) === most);
    if (next) take(slot, next);
  }
  return owners;
}
