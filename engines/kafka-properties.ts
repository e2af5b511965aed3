import { join } from "node:path";
import type { KafkaBroker, KafkaEndpoint } from "./endpoints.ts";

/**
 * The `server.properties` of a broker. Brokers speak to each other by the plain door, whose user is ANONYMOUS; it and `admin` may do
 * everything, others what a rule allows. Topics are not made by asking for them.
 */
export function brokerProperties(endpoint: KafkaEndpoint, broker: KafkaBroker, tlsFolder: string): string {
  const { admin, limited } = endpoint.users;
  const doors = { PLAIN: "plain", TLS: "tls", SASL: "sasl", SASLTLS: "saslTls" } as const;
  const addresses = Object.entries(doors).map(([name, door]) => `${name}://127.0.0.1:${broker.ports[door]}`);
  const plainUsers = `user_${admin.username}="${admin.password}" user_${limited.username}="${limited.password}"`;
  const login = (module: string, rest = "") => `org.apache.kafka.common.security.${module} required${rest};`;
  const sasl = ["sasl", "sasltls"].flatMap((listener) => [
    [
      `listener.name.${listener}.plain.sasl.jaas.config`,
      login("plain.PlainLoginModule", ` username="${admin.username}" password="${admin.password}" ${plainUsers}`),
    ],
    [`listener.name.${listener}.scram-sha-256.sasl.jaas.config`, login("scram.ScramLoginModule")],
    [`listener.name.${listener}.scram-sha-512.sasl.jaas.config`, login("scram.ScramLoginModule")],
  ]);
  const voters = endpoint.brokers.map(({ id, ports }) => `${id}@127.0.0.1:${ports.controller}`);
  const properties = [
    ["process.roles", "broker,controller"],
    ["node.id", broker.id],
    ["controller.quorum.voters", voters.join(",")],
    ["log.dirs", join(broker.folder, "data")],
    ["listeners", [...addresses, `CONTROLLER://127.0.0.1:${broker.ports.controller}`].join(",")],
    ["advertised.listeners", addresses.join(",")],
    [
      "listener.security.protocol.map",
      "PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,SASL:SASL_PLAINTEXT,SASLTLS:SASL_SSL",
    ],
    ["controller.listener.names", "CONTROLLER"],
    ["inter.broker.listener.name", "PLAIN"],
    ["ssl.keystore.type", "PEM"],
    ["ssl.keystore.location", join(tlsFolder, "broker.pem")],
    ["ssl.client.auth", "none"],
    ["sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"],
    ...sasl,
    ["authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"],
    ["super.users", `User:ANONYMOUS;User:${admin.username}`],
    ["auto.create.topics.enable", false],
    ["default.replication.factor", 3],
    ["min.insync.replicas", 2],
    ["offsets.topic.replication.factor", 3],
    ["transaction.state.log.replication.factor", 3],
    ["transaction.state.log.min.isr", 2],
    // As many as three brokers can use: fifty are made on first use, and slow the first group down by seconds.
    ["offsets.topic.num.partitions", 3],
    ["transaction.state.log.num.partitions", 3],
    ["group.initial.rebalance.delay.ms", 0],
    // So that tests of members that vanish need not wait for long.
    ["group.min.session.timeout.ms", 1000],
    // A broker that is gone is replaced within this time.
    ["broker.session.timeout.ms", 4000],
    ["broker.heartbeat.interval.ms", 1000],
    ["num.network.threads", 2],
    ["num.io.threads", 4],
    ["log.cleaner.dedupe.buffer.size", 8 * 1024 * 1024],
    ["log.cleaner.threads", 1],
  ];
  return `${properties.map(([name, value]) => `${name}=${value}`).join("\n")}\n`;
}
