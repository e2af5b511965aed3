import { sessions, stream, table, z } from "millrace";

export const pages = stream("pages", {
  schema: z.object({
    event_id: z.string(),
    user_id: z.string(),
    at: z.iso.datetime(),
    agent: z.string(),
    ip: z.string().nullish(),
  }),
  id: ["event_id"],
  time: "at",
});

export const placed = table("silver.placed", {
  sql: "select user_id, locate_ip(ip).country_code as country from pages",
});

export const visits = sessions("silver.visits", {
  from: "pages",
  user: "user_id",
  time: "at",
  gap: "30m",
  userAgent: "agent",
  ip: "ip",
});

/** Reads no address itself. */
export const days = table("gold.days", { sql: 'select date("at") as day, count(*) as views from pages group by 1' });
