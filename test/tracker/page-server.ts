/** A site that uses the tracker: one page, with the bundle as it is published. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { browserBundle } from "../../packages/tracker/build.ts";

/** The page takes its options from the address: `?url=…&key=…&options={…}`. It says `stored N` on the console when event N is. */
const PAGE = `<!doctype html><title>Reports</title><link rel="icon" href="data:,"><script type="module">
  import { createTracker } from "/tracker.js";
  const asked = new URLSearchParams(location.search);
  window.drops = [];
  window.troubles = [];
  window.tracker = createTracker({
    endpoints: asked.get("url"),
    key: asked.get("key"),
    appVersion: "3.2.1",
    flushIntervalMs: 50,
    onDrop: (drop) => window.drops.push(drop),
    onError: (error) => window.troubles.push(error.message),
    streams: {
      clicks: ["event_id", "occurred_at", "anonymous_id", "session_id", "session_number", "session_sequence"],
      page_views: ["event_id", "occurred_at", "anonymous_id", "session_id", "session_started_at", "app_version", "library",
        "language", "time_zone", "os", "device_type", "user_agent", "screen_width", "screen_height", "page_url", "page_path",
        "page_title", "referrer", "utm_source", "utm_campaign"],
    },
    calls: { page: "page_views" },
    ...JSON.parse(asked.get("options") ?? "{}"),
  });
  window.go = (n) => window.tracker.track("clicks", { n }).then((stored) => console.log(stored ? "stored " + n : "lost " + n));
  window.ready = true;
</script>`;

export class PageServer {
  readonly url: string;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async open(): Promise<PageServer> {
    const bundle = await browserBundle();
    const server = createServer((request, response) => {
      const isScript = request.url === "/tracker.js";
      response.writeHead(200, { "Content-Type": isScript ? "text/javascript" : "text/html; charset=utf-8" });
      response.end(isScript ? bundle : PAGE);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new PageServer(server);
  }

  address(query: Record<string, string>, path = "/"): string {
    return `${this.url}${path}?${new URLSearchParams(query)}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}
