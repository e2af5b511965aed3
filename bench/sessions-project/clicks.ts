import { sessions, stream, z } from "millrace";

export const clicks = stream("clicks", {
  schema: z.object({
    click_id: z.string(),
    user_id: z.string().nullish(),
    anonymous_id: z.string(),
    clicked_at: z.iso.datetime(),
    page: z.string(),
    referrer: z.string(),
  }),
  time: "clicked_at",
});

/** Known by one id from the first event on. */
export const visits = sessions("silver.visits", {
  from: "clicks",
  user: "anonymous_id",
  time: "clicked_at",
  gap: "30m",
  page: "page",
  referrer: "referrer",
});

/** Anonymous ids and users linked, one event in three saying who the device's user is. */
export const linked = sessions("gold.linked", {
  from: "clicks",
  user: "user_id",
  anonymous: "anonymous_id",
  time: "clicked_at",
  gap: "30m",
  page: "page",
  referrer: "referrer",
});
