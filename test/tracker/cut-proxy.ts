/** A wire between a tracker and the platform that a test can cut: TCP, byte for byte, until it is told otherwise. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

export class CutProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** `refuse`: connections are reset at once. `swallow`: what is asked arrives, its answer does not. */
  mode: "through" | "refuse" | "swallow" = "through";
  readonly url: string;
  answersSwallowed = 0;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async open(target: () => number): Promise<CutProxy> {
    const server = createServer((near) => {
      if (proxy.mode === "refuse") {
        near.resetAndDestroy();
        return;
      }
      const far = connect(target(), "127.0.0.1");
      for (const socket of [near, far]) {
        proxy.#sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => {
          proxy.#sockets.delete(socket);
          near.destroy();
          far.destroy();
        });
      }
      near.on("data", (chunk) => far.write(chunk));
      far.on("data", (chunk) => {
        if (proxy.mode === "through") near.write(chunk);
        else {
          proxy.answersSwallowed++;
          near.resetAndDestroy();
        }
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const proxy = new CutProxy(server);
    return proxy;
  }

  /** Every connection there is breaks, as when a cable is pulled. */
  cut(mode: "refuse" | "swallow"): void {
    this.mode = mode;
    if (mode === "refuse") for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}
