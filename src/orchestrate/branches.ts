import { MillraceError } from "../errors.ts";
import { type StepScope, scopes } from "./step-scope.ts";

const MAP_CONCURRENCY = 10;

/** Runs branches at once, lets all of them come to their end, and throws the first failure in the order written. @throws STEP_INVALID */
export async function parallel(scope: StepScope, given: readonly unknown[]): Promise<Record<string, unknown>> {
  const [name, branches] = (given.length > 1 ? given : ["parallel", given[0]]) as [
    string,
    Record<string, () => unknown>,
  ];
  if (typeof branches !== "object" || branches === null || Object.values(branches).some((b) => typeof b !== "function"))
    throw new MillraceError("STEP_INVALID", {
      step: name,
      reason: "takes functions by name: { a: () => …, b: () => … }",
    });
  const key = scope.key(name);
  const settled = await Promise.allSettled(
    Object.entries(branches).map(([branch, body]) => scopes.run(scope.branch(key, branch), async () => body())),
  );
  const failed = settled.find((one) => one.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  const values = settled.map((one) => (one as PromiseFulfilledResult<unknown>).value);
  return Object.fromEntries(Object.keys(branches).map((branch, i) => [branch, values[i]]));
}

/** Runs a function over items, some at once; after a failure no further ones begin. Throws the first in the items' order. @throws STEP_INVALID */
export async function map(
  scope: StepScope,
  name: string,
  items: readonly unknown[],
  body: (item: unknown, index: number) => unknown,
  concurrency = MAP_CONCURRENCY,
): Promise<unknown[]> {
  if (!(Number.isInteger(concurrency) && concurrency >= 1))
    throw new MillraceError("STEP_INVALID", {
      step: name,
      reason: `has the concurrency ${concurrency}; it must be at least 1`,
    });
  const key = scope.key(name);
  const results: unknown[] = [];
  const failures: { index: number; error: unknown }[] = [];
  let next = 0;
  const worker = async () => {
    while (next < items.length && failures.length === 0) {
      const index = next++;
      try {
        results[index] = await scopes.run(scope.item(key, index), async () => body(items[index], index));
      } catch (error) {
        failures.push({ index, error });
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, worker));
  const [first] = failures.sort((a, b) => a.index - b.index);
  if (first !== undefined) throw first.error;
  return results;
}
