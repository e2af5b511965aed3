/** The processes: how they do, what they are set to, who may do what. */
import { Link } from "wouter";
import { api } from "../../api.ts";
import { Page } from "../../app.tsx";
import { bytes, count, duration, rate } from "../../format.ts";
import { useLive, useMinute } from "../../live.ts";
import { useLoad } from "../../load.ts";
import { Badge, Facts, Failure, HealthMark, Loading, Panel, Spark, Time } from "../../ui/ui.tsx";
import { Disk } from "./disk.tsx";
import { Keys } from "./keys.tsx";
import { Lag } from "./lag.tsx";
import { Latencies } from "./latencies.tsx";
import { Processes } from "./processes.tsx";
import { Settings } from "./settings.tsx";
import "./system.css";

export default function SystemPage() {
  const status = useLoad("status", (signal) => api.status(signal), { on: ["workers"] });
  const system = useLoad("system", (signal) => api.system(signal), { on: ["latencies"], paceMs: 5_000 });
  const live = useLive();
  const beat = live.kind === "connecting" ? undefined : live.beat;
  const minute = useMinute();
  const ready = beat?.ready ?? status.value?.ready;
  const memory = beat?.process.memory ?? system.value?.process.memory;
  const loop = beat?.process.eventLoop ?? system.value?.process.eventLoop;
  const incoming = minute.incoming.at(-1) ?? 0;
  return (
    <Page>
      <header>
        <h1>System</h1>
        {ready !== undefined && <HealthMark health={ready ? "ok" : "bad"} label={ready ? "ready" : "not ready"} />}
        {live.kind === "lost" && (
          <Badge tone="bad">
            no answer since <Time at={live.sinceMs} />
          </Badge>
        )}
      </header>
      {status.error !== undefined && <Failure error={status.error} retry={status.reload} />}
      {(beat?.problems ?? status.value?.problems)?.map((problem) => (
        <div key={problem} className={`notice ${ready ? "warning" : "bad"}`} role="alert">
          <HealthMark health={ready ? "warning" : "bad"} />
          <p>{problem}</p>
        </div>
      ))}
      <Processes heartbeats={beat?.heartbeats} />
      <Panel title="This process, the last minute">
        <div className="minutes">
          <Minute name="coming in" value={rate(incoming)} values={minute.incoming} />
          <Minute name="processor, in cores" value={(beat?.process.cpu ?? 0).toFixed(2)} values={minute.cpu} />
          <Minute name="memory" value={bytes(memory?.residentBytes ?? 0)} values={minute.memory} />
          <Minute name="event loop late, p99" value={duration(loop?.p99Ms ?? 0)} values={minute.eventLoop} />
        </div>
        <Facts
          facts={[
            ["project", status.value?.project ?? "…"],
            ["version", status.value?.version ?? "…"],
            ["running for", beat === undefined ? "…" : duration(beat.atMs - beat.startedAtMs)],
            ["accepted since the start", count(status.value?.door.accepted ?? 0)],
            ["rejected since the start", count(status.value?.door.rejected ?? 0)],
            [
              "JavaScript's heap",
              memory === undefined ? "…" : `${bytes(memory.heapUsedBytes)} of ${bytes(memory.heapTotalBytes)}`,
            ],
            ["outside of it, for Node", bytes(memory?.externalBytes ?? 0)],
            ["still to be had", bytes(memory?.availableBytes ?? 0)],
            ["event loop late, at most", duration(loop?.maxMs ?? 0)],
          ]}
        />
      </Panel>
      {system.error !== undefined && <Failure error={system.error} retry={system.reload} />}
      {system.value === undefined && system.error === undefined && <Loading what="disk and latencies" />}
      {system.value !== undefined && <Latencies latencies={system.value.latencies} />}
      <div className="columns">
        {system.value !== undefined && <Disk disk={system.value.disk} />}
        <Lag beat={beat} />
      </div>
      <p className="soft">
        All of these are in Prometheus' format at <a href="/metrics">/metrics</a> as well, and tables tell them to SQL:{" "}
        <Link to={`/sql?sql=${encodeURIComponent("select * from system.workers")}`}>system.workers</Link>.
      </p>
      <Keys />
      <Settings />
    </Page>
  );
}

function Minute({ name, value, values }: { name: string; value: string; values: readonly number[] }) {
  return (
    <div>
      <div className="row">
        <strong>{value}</strong>
        <span className="soft">{name}</span>
      </div>
      <Spark values={values} label={`${name} of the last minute, now ${value}`} />
    </div>
  );
}
