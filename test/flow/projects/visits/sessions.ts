import { sessions, stream, table, z } from "millrace";

export const pages = stream("pages", {
  schema: z.object({
    event_id: z.string(),
    user_id: z.string().nullish(),
    anonymous_id: z.string().nullish(),
    at: z.iso.datetime().nullish(),
    page: z.string().nullish(),
    agent: z.string().nullish(),
  }),
  id: ["event_id"],
  time: "at",
});

export const aliases = stream("aliases", {
  schema: z.object({
    previous: z.string().nullish(),
    device: z.string().nullish(),
    user_id: z.string().nullish(),
  }),
});

export const visits = sessions("silver.visits", {
  from: "pages",
  user: "user_id",
  anonymous: "anonymous_id",
  time: "at",
  gap: "30m",
  links: [{ from: "aliases", user: "user_id", previous: "previous", anonymous: "device" }],
  page: "page",
  userAgent: "agent",
  columns: { pages: "count(distinct page)" },
});

/** Rows that stand for several, over a table, without links: the plainest sessions there are. */
export const steps = table("silver.steps", {
  sql: 'select user_id, "at", event_id, part from pages, unnest([1, 2]) as each(part)',
});

export const plain = sessions("gold.plain", { from: "silver.steps", user: "user_id", time: "at", gap: "30m" });
