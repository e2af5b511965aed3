import { table } from "millrace";

export const a = table("gold.a", { sql: "select x from gold.b" });
export const b = table("gold.b", { sql: "select x from gold.c" });
export const c = table("gold.c", { sql: "select x from (select * from gold.a)" });
export const self = table("gold.self", { sql: "select x from gold.self" });
export const outside = table("gold.outside", { sql: "select x from gold.a" });
export const fine = table("gold.fine", { sql: "with fine as (select 1 as x) select x from fine" });
