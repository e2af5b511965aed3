/** Everything there is, left to right, as it runs. */
import { lazy, Suspense } from "react";
import { Link } from "wouter";
import type { NodePulse } from "../../../../../src/serve/map-route.ts";
import { api } from "../../api.ts";
import { FIRST_STREAM } from "../../first-definitions.ts";
import { bytes, compact, count, duration, rate } from "../../format.ts";
import { type Beat, useLive } from "../../live.ts";
import { useLoad } from "../../load.ts";
import { Badge, Empty, Failure, HealthMark, Loading, Snippet, Time } from "../../ui/ui.tsx";
import "./map.css";

const Graph = lazy(() => import("./graph.tsx"));

export default function MapPage() {
  const { value: map, error, reload } = useLoad("map", (signal) => api.map(signal));
  return (
    <div className="map-page">
      <h1 className="visually-hidden">Map</h1>
      <Strip />
      {error !== undefined && <Failure error={error} retry={reload} />}
      {map === undefined && error === undefined && <Loading what="the map" />}
      {map !== undefined && map.nodes.length === 0 && <FirstStep />}
      {map !== undefined && map.nodes.length > 0 && (
        <Suspense fallback={<Loading what="the map" />}>
          <Graph map={map} />
        </Suspense>
      )}
    </div>
  );
}

/** Is anything wrong, where, since when. */
function Strip() {
  const live = useLive();
  const beat = live.kind === "connecting" ? undefined : live.beat;
  if (beat === undefined)
    return <div className="strip">{live.kind === "lost" ? "The platform does not answer." : "Connecting …"}</div>;
  const streams = Object.keys(beat.nodes).filter((id) => id.startsWith("stream:"));
  const incoming = streams.reduce((sum, id) => sum + (beat.rates[id] ?? 0), 0);
  const pending = streams.reduce((sum, id) => sum + (beat.nodes[id]?.pending ?? 0), 0);
  const firing = beat.firing.critical + beat.firing.warning + beat.firing.info;
  return (
    <div className="strip">
      {live.kind === "lost" && (
        <Badge tone="bad">
          no answer since <Time at={live.sinceMs} />
        </Badge>
      )}
      <Wrong beat={beat} lost={live.kind === "lost"} />
      <Figure name="events in" value={rate(incoming)} />
      <Figure name="not in the lake yet" value={compact(pending)} />
      <Figure name="alerts firing" value={count(firing)} />
      <Figure name="dead letters" value={count(beat.deadLetters)} />
      <Figure name="memory" value={bytes(beat.residentBytes)} />
      <Figure name="running for" value={duration(beat.atMs - beat.startedAtMs)} />
    </div>
  );
}

/** Of many troubles those that last longest; the map has the others. */
const MOST_TOLD = 4;

function Wrong({ beat, lost }: { beat: Beat; lost: boolean }) {
  const ill = Object.entries(beat.nodes)
    .filter(([, { health }]) => health === "bad" || health === "warning")
    .toSorted(([, a], [, b]) => rankOf(a) - rankOf(b) || (a.sinceMs ?? 0) - (b.sinceMs ?? 0));
  const well = beat.ready && beat.balanced && ill.length === 0 && beat.problems.length === 0 && !lost;
  if (well) return <HealthMark health="ok" label="Everything is well" />;
  return (
    <div className="row">
      {!beat.ready && <Badge tone="bad">not ready</Badge>}
      {!beat.balanced && (
        <Link to="/ledger" className="badge bad">
          the ledger does not balance
        </Link>
      )}
      {beat.problems.map((problem) => (
        <Badge key={problem} tone="warning">
          {problem}
        </Badge>
      ))}
      {ill.slice(0, MOST_TOLD).map(([id, { health, sinceMs, problem, deadLettered }]) => (
        <Link
          key={id}
          to={`/?focus=${encodeURIComponent(id)}`}
          className={`badge ${health === "bad" ? "bad" : "warning"}`}
          title={problem ?? `${count(deadLettered)} dead letters`}
        >
          <HealthMark health={health} /> {id.slice(id.indexOf(":") + 1)}
          {sinceMs !== null && (
            <>
              {" since "}
              <Time at={sinceMs} />
            </>
          )}
        </Link>
      ))}
      {ill.length > MOST_TOLD && <span className="soft">and {count(ill.length - MOST_TOLD)} more</span>}
    </div>
  );
}

function rankOf({ health }: NodePulse): number {
  return health === "bad" ? 0 : 1;
}

function Figure({ name, value }: { name: string; value: string }) {
  return (
    <div className="figure">
      <strong>{value}</strong>
      <span>{name}</span>
    </div>
  );
}

function FirstStep() {
  return (
    <Empty title="Nothing is defined yet">
      <p>
        A project is a folder with a millrace.config.ts and TypeScript files that export definitions. This one makes a
        stream of your own:
      </p>
      <Snippet label="a first stream" text={FIRST_STREAM} />
    </Empty>
  );
}
