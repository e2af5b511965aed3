/**
 * A network namespace for processes of a test, whose way to servers of this machine can be cut as a network is cut: packets vanish, and nobody is told.
 * The servers listen on this machine's loopback and name themselves so; in the namespace the same addresses lead through a pair of virtual interfaces to
 * relays out here. Rules for packets exist in the namespace alone, and go with it. Linux, as root, with `ip` and `iptables`.
 */
import { execFileSync } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** Addresses that are kept for measurements between networks (RFC 2544): no real network has them. */
const RANGE = "198.18";

/** Why this machine makes no network namespaces for us; undefined where it does. */
export function lackForOwnNetworks(): string | undefined {
  if (process.platform !== "linux") return "network namespaces are Linux's";
  if (process.getuid?.() !== 0) return "network namespaces are made by root alone";
  const name = `millrace-${randomBytes(3).toString("hex")}`;
  try {
    run("ip", "netns", "add", name);
    run("ip", "netns", "exec", name, "iptables", "-w", "-t", "nat", "-S");
    run("ip", "netns", "del", name);
    return undefined;
  } catch (error) {
    return `this machine makes no network namespaces: ${(error as Error).message}`;
  }
}

export class OwnNetwork {
  /** What comes before a command so that it runs in there. */
  readonly prefix: readonly string[];
  /** Of what listens in there, seen from here. */
  readonly address: string;
  readonly #name: string;
  readonly #relays: readonly Server[];
  readonly #sockets: Set<Socket>;

  private constructor(name: string, address: string, relays: readonly Server[], sockets: Set<Socket>) {
    this.#name = name;
    this.prefix = ["ip", "netns", "exec", name];
    this.address = address;
    this.#relays = relays;
    this.#sockets = sockets;
  }

  /** `ports`: of 127.0.0.1, where the servers listen that are to be reached from in there. @throws Error where the machine does not allow it */
  static async open(ports: readonly number[]): Promise<OwnNetwork> {
    const name = `millrace-${randomBytes(3).toString("hex")}`;
    const subnet = `${RANGE}.${randomInt(256)}.${4 * randomInt(64)}`;
    const [outside, inside] = [1, 2].map((host) => subnet.replace(/\d+$/, (base) => `${Number(base) + host}`));
    const [here, there] = [`${name.slice(-6)}-o`, `${name.slice(-6)}-i`];
    const sockets = new Set<Socket>();
    const relays: Server[] = [];
    run("ip", "netns", "add", name);
    const network = new OwnNetwork(name, inside as string, relays, sockets);
    try {
      run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", name);
      run("ip", "addr", "add", `${outside}/30`, "dev", here);
      run("ip", "link", "set", here, "up");
      network.#within("ip", "addr", "add", `${inside}/30`, "dev", there);
      network.#within("ip", "link", "set", there, "up");
      network.#within("ip", "link", "set", "lo", "up");
      network.#within("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1");
      for (const port of ports) {
        network.#rule("-t nat -A OUTPUT -d 127.0.0.1 -p tcp --dport", port, `-j DNAT --to-destination ${outside}`);
        relays.push(await relay(outside as string, port, sockets));
      }
      network.#rule("-t nat -A POSTROUTING -o", there, "-j MASQUERADE");
      return network;
    } catch (error) {
      await network.close();
      throw error;
    }
  }

  /** From now on no packet goes between a process in there and the servers at these ports. */
  cut(ports: readonly number[]): void {
    for (const port of ports) {
      this.#rule("-A OUTPUT -p tcp --dport", port, "-j DROP");
      this.#rule("-A INPUT -p tcp --sport", port, "-j DROP");
    }
  }

  /** All of them go again. */
  heal(): void {
    this.#rule("-F");
  }

  /** The processes in there have ended. */
  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(this.#relays.map((server) => new Promise((closed) => server.close(closed))));
    run("ip", "netns", "del", this.#name); // and with it both interfaces
  }

  #within(...command: string[]): void {
    run(...this.prefix, ...command);
  }

  #rule(...words: (string | number)[]): void {
    this.#within("iptables", "-w", ...words.join(" ").split(" "));
  }
}

function run(...[program, ...args]: readonly string[]): void {
  execFileSync(program as string, args, { stdio: ["ignore", "ignore", "pipe"], timeout: 20_000 });
}

/** Passes on what comes to a port of an address of this machine to the same port of its loopback. */
async function relay(address: string, port: number, sockets: Set<Socket>): Promise<Server> {
  const server = createServer((client) => {
    const onward = connect(port, "127.0.0.1");
    for (const [one, other] of [
      [client, onward],
      [onward, client],
    ] as const) {
      sockets.add(one);
      one
        .on("error", () => undefined)
        .on("close", () => {
          sockets.delete(one);
          other.destroy();
        });
    }
    client.pipe(onward).pipe(client);
  });
  server.listen(port, address);
  await once(server, "listening");
  return server;
}
