import { randomUUID } from "node:crypto";
import { MillraceError } from "../errors.ts";
import type { ObjectStore } from "./object-store.ts";

const KEY = "_millrace/clock";

/** What time it is by the clock that the times of a store's objects are of, in milliseconds since the epoch; on S3 whole seconds. */
export async function storeNowMs(store: ObjectStore): Promise<number> {
  await store.put(KEY, Buffer.from(randomUUID()));
  const found = (await store.list(KEY)).find(({ key }) => key === KEY);
  if (!found) throw new MillraceError("INTERNAL", { what: `listing ${KEY}, which was written just now,` });
  return found.modifiedAtMs;
}
