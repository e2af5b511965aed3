import { MillraceError } from "../errors.ts";

/** Whether a lane turned out to be another process's. */
export function isLaneTaken(error: unknown): boolean {
  return error instanceof MillraceError && error.code === "REACT_LANE_TAKEN";
}
