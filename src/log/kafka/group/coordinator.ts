/** The broker that keeps a group: found when it is needed, and again when it has moved. */
import { type Connection, findCoordinatorV4 } from "@platformatic/kafka";
import { MillraceError } from "../../../errors.ts";
import type { Cluster } from "../cluster.ts";
import { answerOf, BrokerRefusal, check, denied, reasonOf } from "../failures.ts";

const GROUP = 0;
const MOVED = new Set([
  "NOT_COORDINATOR",
  "COORDINATOR_NOT_AVAILABLE",
  "COORDINATOR_LOAD_IN_PROGRESS",
  "BROKER_NOT_AVAILABLE",
]);

export class Coordinator {
  readonly group: string;
  readonly #cluster: Cluster;
  #broker: number | undefined;

  constructor(cluster: Cluster, group: string) {
    this.#cluster = cluster;
    this.group = group;
  }

  /** Asks the coordinator. `join` requests wait for other members, and have a connection of their own. */
  async ask<T extends { errorCode?: number }>(
    lane: "join" | "beat",
    call: (connection: Connection) => Promise<T>,
  ): Promise<T> {
    try {
      const connection = await this.#connection(lane);
      const answer = await answerOf(call(connection));
      check(answer.errorCode ?? 0);
      return answer;
    } catch (error) {
      if (!(error instanceof BrokerRefusal) || MOVED.has(error.refusal)) this.#broker = undefined;
      throw error;
    }
  }

  /** What the group says of an error, in words of the registry. */
  explained(error: unknown): MillraceError {
    if (error instanceof MillraceError) return error;
    const refused = denied(error, `group ${this.group}`, "join", this.#cluster.settings);
    if (refused) return refused;
    const reason = `group ${this.group}: ${reasonOf(error)}`;
    const remedy = "look after the brokers of kafkaBrokers";
    return new MillraceError("LOG_UNAVAILABLE", { stream: this.group, reason, remedy }, { cause: error });
  }

  async #connection(lane: "join" | "beat"): Promise<Connection> {
    this.#broker ??= await this.#find();
    return this.#cluster.connection(this.#broker, lane === "join" ? `group/${this.group}` : `heartbeat/${this.group}`);
  }

  async #find(): Promise<number> {
    const connection = await this.#cluster.any("control");
    const { coordinators } = await answerOf(findCoordinatorV4.api.async(connection, GROUP, [this.group]));
    const [found] = coordinators;
    check(found?.errorCode ?? -1, found?.errorMessage);
    const broker = found?.nodeId ?? -1;
    // A broker that is new to this process.
    if (!this.#cluster.hasBroker(broker)) await this.#cluster.refresh();
    return broker;
  }
}
