/** Changes of alerts as tests need them. */
import type { Change } from "../../src/react/deliver/sender.ts";

export function change(offset: number, given: Partial<Change> = {}): Change {
  const { key = "truck-7", state = "firing" } = given;
  const alertId = given.alert_id ?? `alert/overheat/${key}/0-${offset}`;
  return {
    ...{ event_id: `${alertId}/${state}`, alert_id: alertId, at: "2026-03-01T10:00:00.000Z", kind: "alert" },
    ...{ name: "overheat", severity: "critical", state, key, summary: "engine_temp is 131, above 120" },
    ...{ details: { value: 131, bound: 120 }, offset },
    ...given,
  };
}
