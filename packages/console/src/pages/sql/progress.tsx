/** How far a statement is, as far as the platform says so. */
import { useEffect, useState } from "react";
import { duration } from "../../format.ts";
import { useQuery } from "./queries.ts";

/** What is done sooner needs no bar that flashes up. */
const SHOWN_AFTER_MS = 300;

export function Progress({ id, sinceMs, label }: { id: string; sinceMs: number; label: string }) {
  const [, setTurn] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setTurn((turn) => turn + 1), 100);
    return () => clearInterval(timer);
  }, []);
  const query = useQuery(id);
  const elapsedMs = Date.now() - sinceMs;
  if (elapsedMs < SHOWN_AFTER_MS) return null;
  const share = query?.progress ?? undefined;
  const words =
    query?.state === "waiting" ? "waiting for its turn" : share === undefined ? "" : `${Math.floor(share * 100)} %`;
  return (
    <div className="running">
      <ProgressBar share={share} label={`Progress of ${label.toLowerCase()}`} />
      <span className="faint" aria-hidden="true">
        {[words, duration(elapsedMs)].filter((part) => part !== "").join(", ")}
      </span>
    </div>
  );
}

/** `share` from 0 to 1; undefined where nobody knows. */
export function ProgressBar({ share, label }: { share: number | undefined; label: string }) {
  return (
    <div
      className={`progress ${share === undefined ? "unknown" : ""}`}
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      {...(share !== undefined && { "aria-valuenow": Math.floor(share * 100) })}
    >
      <span style={share === undefined ? undefined : { width: `${share * 100}%` }} />
    </div>
  );
}
