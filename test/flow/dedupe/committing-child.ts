/** Commits ids as fast as it can and prints each offset once it is covered, until somebody kills it. */
import { openIdIndex } from "../../../src/flow/dedupe/id-index.ts";
import { batchOf } from "./naive-partition.ts";

const [, , dir, table] = process.argv as [string, string, string, string];
const index = await openIdIndex(dir, { horizonMs: 1e12, storedTo: Number(table) });
if (index.coveredTo !== Number(table))
  await index.rebuild([eventsFrom(index.coveredTo + 1, Number(table))], Number(table));
for (let from = Number(table) + 1; ; from += 200) {
  index.stage(eventsFrom(from, from + 199));
  await index.commit(from + 199);
  process.stdout.write(`${index.coveredTo}\n`);
}

function eventsFrom(from: number, to: number) {
  return batchOf(
    Array.from({ length: to - from + 1 }, (_, i) => ({
      offset: from + i,
      id: `id-${from + i}`,
      receivedAtMs: 1_000_000,
    })),
  );
}
