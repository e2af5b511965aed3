/** How the brokers are reached. */
export interface ConnectSettings {
  /** Where the cluster is asked for its brokers: `host:port`, any of them is enough. */
  readonly brokers: readonly string[];
  readonly sasl?: Sasl | undefined;
  /** TLS, when given at all; an empty object trusts the machine's authorities. PEM. */
  readonly tls?: Tls | undefined;
  /** What the brokers call this process in their logs and quotas. */
  readonly clientId: string;
}

export interface Sasl {
  readonly mechanism: "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512";
  readonly username: string;
  readonly password: string;
}

export interface Tls {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}
