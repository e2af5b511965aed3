import type { DiskView } from "../../../../../src/serve/system-route.ts";
import { bytes } from "../../format.ts";
import { Facts, Panel, Time } from "../../ui/ui.tsx";

/** The disk with the data folder: what is free, and what the parts of the platform take. */
export function Disk({ disk: { totalBytes, freeBytes, used, measuredAtMs } }: { disk: DiskView }) {
  const share = (size: number) => Math.round((size / Math.max(1, totalBytes)) * 1000) / 10;
  const low = freeBytes < totalBytes / 10;
  const part = (size: number | null, elsewhere: string) => (size === null ? `in ${elsewhere}` : bytes(size));
  return (
    <Panel title="Disk">
      <meter
        className={low ? "disk low" : "disk"}
        min={0}
        max={totalBytes}
        value={totalBytes - freeBytes}
        aria-label={`${share(totalBytes - freeBytes)} % of the disk are taken`}
      />
      <Facts
        facts={[
          ["free", `${bytes(freeBytes)} of ${bytes(totalBytes)} (${share(freeBytes)} %)`],
          ["log", part(used.log, "Kafka")],
          ["lake", part(used.lake, "a bucket")],
          ["records", part(used.state, "a PostgreSQL server")],
          ["other", bytes(used.other)],
          ["measured", <Time key="measured" at={measuredAtMs} relative />],
        ]}
      />
    </Panel>
  );
}
