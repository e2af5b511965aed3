import { table } from "millrace";
import { price } from "./broken.ts";

export const t = table("silver.t", { sql: `select ${price} as price from orders` });
