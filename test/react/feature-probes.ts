/** Features as they are, and the value at each event told to the stream `values`. */
import type { Feature } from "../../src/define/read-feature.ts";
import { FeatureOperator } from "../../src/react/features/feature-operator.ts";
import type { EventView, OperatorKind, Outlet } from "../../src/react/operator.ts";

class Probe extends FeatureOperator {
  override apply(event: EventView, out?: Outlet): void {
    super.apply(event);
    const { partition, offset } = event;
    out?.emit("values", { feature: this.feature.name, partition, offset, value: this.at(event) });
  }
}

const feature: OperatorKind<Feature, unknown> = { open: (plan, _definition, lane) => new Probe(plan, lane) };

export const operatorKinds = { feature };
