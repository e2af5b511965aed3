import { sqlFunction, stream, table, z } from "millrace";

export const taken = sqlFunction(
  "upper",
  { takes: z.object({ text: z.string() }), gives: z.string() },
  ({ text }) => text,
);

export const misnamed = sqlFunction(
  "Grade It",
  { takes: z.object({ points: z.number() }), gives: z.string() },
  () => "",
);

export const list = sqlFunction(
  "listed",
  { takes: z.object({ tags: z.array(z.string()) }), gives: z.object({ n: z.number() }) },
  ({ tags }) => ({ n: tags.length }),
);

export const idle = sqlFunction(
  "idle",
  { takes: z.object({}), gives: z.string(), when: "now" } as never,
  "text" as never,
);

export const orders = stream("orders", { schema: z.object({ id: z.string() }) });

export const graded = table("silver.graded", { sql: "select id, grade(id) as grade from orders" });
