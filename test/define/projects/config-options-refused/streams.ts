// @ts-nocheck
import { stream } from "millrace";

export const alsoReported = stream("also_reported", {});
