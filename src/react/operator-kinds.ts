import { alertKind } from "./alerts/alert-operator.ts";
import { featureKind } from "./features/feature-operator.ts";
import { functionKind } from "./function-operator.ts";
import type { OperatorKind, OperatorPlan } from "./operator.ts";
import { windowKind } from "./windows/window-operator.ts";

/** Who opens the operators of each kind, in the worker thread. One line for each. */
export const operatorKinds: Partial<Record<OperatorPlan["kind"], OperatorKind>> = {
  alert: alertKind as OperatorKind,
  function: functionKind,
  feature: featureKind as OperatorKind,
  window: windowKind as OperatorKind,
};
