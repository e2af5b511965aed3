import { stream, z } from "millrace";

export const clicks = stream("order", { schema: z.object({ click_id: z.string() }), id: ["click_id"] });
