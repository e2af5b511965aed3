import { sessions, stream, table, z } from "millrace";

export const pages = stream("pages", {
  schema: z.object({
    user_id: z.string(),
    score: z.number(),
    seen_at: z.iso.datetime(),
    path: z.string(),
  }),
});

export const totals = table("gold.totals", { sql: "select user_id, max(seen_at) as seen_at from pages group by 1" });
export const named = table("silver.named", { sql: "select user_id, seen_at, path as person from pages" });

const right = { from: "pages", user: "user_id", time: "seen_at", gap: "30m" };

export const noGap = sessions("silver.no_gap", { ...right, gap: "0s" });
export const negative = sessions("silver.negative", { ...right, gap: "-30m" });
export const endless = sessions("silver.endless", { ...right, gap: "400d" });
// @ts-expect-error the gap is missing
export const silent = sessions("silver.silent", { from: "pages", user: "user_id", time: "seen_at" });
export const unknownFrom = sessions("silver.unknown_from", { ...right, from: "page" });
export const unknownUser = sessions("silver.unknown_user", { ...right, user: "user" });
export const userType = sessions("silver.user_type", { ...right, user: "score" });
export const timeType = sessions("silver.time_type", { ...right, time: "path" });
export const combined = sessions("silver.combined", { ...right, from: "gold.totals" });
export const taken = sessions("silver.taken", { ...right, from: "silver.named" });
export const linkless = sessions("silver.linkless", { ...right, links: [{ from: "pages", user: "user_id" }] });
export const badName = sessions("visits", right);
export const badColumn = sessions("silver.bad_column", { ...right, columns: { pages: "count(distinct pth)" } });
// @ts-expect-error no such option
export const option = sessions("silver.option", { ...right, timeout: "30m" });
export const doubled = table("silver.doubled_events", { sql: "select user_id from pages" });
export const doubling = sessions("silver.doubled", right);
