/** Brings what is asked of lanes and alerts to the worker that has them: `POST /v1/workers/react` of the other. */
import { MillraceError } from "../errors.ts";
import type { ReactCall, ReactPeers } from "../react/lane-calls.ts";
import type { Peers } from "./peers.ts";

export const REACT_GROUP = "react";
export const REACT_LEASE = "react";

export function reactPeers(peers: Promise<Pick<Peers, "ownerOf" | "holderOf" | "ask">>): ReactPeers {
  return {
    async ask(call) {
      const known = await peers;
      const worker =
        call.to === "lane" ? known.ownerOf(REACT_GROUP, call.stream, call.partition) : await known.holderOf(call.lease);
      if (worker === undefined) throw unavailable(call);
      const { answer } = (await known.ask(worker, "/v1/workers/react", call)) as { answer: unknown };
      return answer;
    },
  };
}

function unavailable(call: ReactCall): MillraceError {
  const operator = call.to === "lane" ? call.operator : "who looks after alerts";
  return new MillraceError(
    "REACT_UNAVAILABLE",
    { operator, reason: "no worker has it at this moment" },
    { retryAfterS: 1 },
  );
}
