import { decimal } from "millrace";

export const price = decimal(10, 20);
