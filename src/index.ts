/** What a project imports: `import { stream, table, decimal, z } from "millrace"`. */
export * as z from "zod";
export type { Aggregate, AggregateFunction } from "./define/aggregates.ts";
export { count, distinct, first, last, max, mean, min, quantile, stddev, sum } from "./define/aggregates.ts";
export type {
  AlertDefinition,
  AlertOptions,
  Occasion,
  Predicate,
  StreamAlertOptions,
  TableAlertOptions,
} from "./define/alert.ts";
export { alert } from "./define/alert.ts";
export type { AlertRouteOptions, AlertsOptions } from "./define/alert-routes.ts";
export type { Condition } from "./define/conditions.ts";
export { rateOfChange, seasonal, threshold, zscore } from "./define/conditions.ts";
export type { ConfigDefinition, ConfigOptions } from "./define/config.ts";
export { defineConfig } from "./define/config.ts";
export { decimal } from "./define/decimal.ts";
export type {
  AlertChange,
  DeliveryOptions,
  DestinationDefinition,
  OpsgenieOptions,
  PagerDutyOptions,
  SecretText,
  SlackOptions,
  SmtpOptions,
  ToStreamOptions,
  WebhookOptions,
} from "./define/destinations.ts";
export { opsgenie, pagerduty, slack, smtp, toStream, webhook } from "./define/destinations.ts";
export type { FeatureDefinition, FeatureOptions } from "./define/feature.ts";
export { feature } from "./define/feature.ts";
export type {
  KafkaSaslOptions,
  KafkaTlsOptions,
  KafkaTopic,
  KafkaTopicOptions,
  RecordPart,
  SchemaRegistryOptions,
} from "./define/kafka-topic.ts";
export { kafkaTopic } from "./define/kafka-topic.ts";
export type { Lookup, LookupOptions, LookupRows } from "./define/lookup.ts";
export { lookup } from "./define/lookup.ts";
export type {
  BatchContext,
  BatchEvent,
  BatchHandler,
  BatchOptions,
  EventContext,
  EventHandler,
  EventMeta,
  FunctionDefinition,
  FunctionOptions,
  KeyState,
  Lookups,
} from "./define/on.ts";
export { on } from "./define/on.ts";
export type { EnvReference } from "./define/secret.ts";
export { env } from "./define/secret.ts";
export type { SegmentOptions } from "./define/segment.ts";
export { segment } from "./define/segment.ts";
export type { SessionLink, SessionsDefinition, SessionsOptions } from "./define/sessions.ts";
export { sessions } from "./define/sessions.ts";
export type { SqlFunctionDefinition, SqlFunctionOptions } from "./define/sql-function.ts";
export { sqlFunction } from "./define/sql-function.ts";
export type { FieldOf, StreamDefinition, StreamOptions } from "./define/stream.ts";
export { stream } from "./define/stream.ts";
export type { TableDefinition, TableOptions } from "./define/table.ts";
export { table } from "./define/table.ts";
export type { OnViolation, TrackingPlan, TrackingPlanOptions } from "./define/tracking-plan.ts";
export { trackingPlan } from "./define/tracking-plan.ts";
export type { MissedRuns, Trigger } from "./define/triggers.ts";
export { amount, arrival, commit, cron, failed, succeeded } from "./define/triggers.ts";
export type { WindowDefinition, WindowOptions, WindowRow, WindowSize } from "./define/window.ts";
export { hopping, session, sliding, tumbling, window } from "./define/window.ts";
export type {
  CommandOutput,
  ExternalCommand,
  IsolatedFunction,
  IsolatedOptions,
  Retry,
  RetryPolicy,
  Run,
  RunCause,
  RunFailure,
  StepContext,
  StepOptions,
  WorkflowBody,
  WorkflowDefinition,
  WorkflowOptions,
} from "./define/workflow.ts";
export { workflow } from "./define/workflow.ts";
