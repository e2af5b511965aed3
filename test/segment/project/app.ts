import { segment } from "millrace";

export const app = segment("app");
