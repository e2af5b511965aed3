/** A Spark Connect server of a test's own: with a token, as little memory as it starts with, and its page of jobs, and it may be ended. */
import { mkdir, rm } from "node:fs/promises";
import { connect } from "node:http2";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { endpoint } from "../../../engines/endpoints.ts";
import { freePort } from "../../../engines/free-port.ts";
import { runCommand } from "../../../engines/run-command.ts";
import { launch, type ServerProcess, stop, untilReady, writeWhole } from "../../../engines/server-process.ts";

const START_WITHIN_MS = 180_000;

export class OwnSpark {
  readonly token = "letmein";
  readonly host: string;
  readonly #server: ServerProcess;
  readonly #home: string;
  readonly #ui: string;

  private constructor(server: ServerProcess, home: string, port: number, uiPort: number) {
    this.#server = server;
    this.#home = home;
    this.host = `127.0.0.1:${port}`;
    this.#ui = `http://127.0.0.1:${uiPort}/api/v1/applications`;
  }

  /** Starts one in a folder. */
  static async start(folder: string): Promise<OwnSpark> {
    const { python } = await endpoint("spark");
    const print = [python, "-c", "import pyspark; print(pyspark.__path__[0])"] as const;
    const home = (await runCommand([...print], { withinMs: 60_000, next: "npm run engines:up -- spark" })).trim();
    const spark = new OwnSpark({ name: "Spark of a test", folder }, home, await freePort(), await freePort());
    await mkdir(folder, { recursive: true });
    await spark.up();
    return spark;
  }

  get url(): string {
    return this.urlWith(this.token);
  }

  urlWith(token: string): string {
    return `sc://${this.host}/;token=${token}`;
  }

  /** Starts it, also again after `kill`, at the same address. */
  async up(): Promise<void> {
    const { folder } = this.#server;
    const properties = {
      // An executor that is a process of its own: what it lacks memory for ends it, and the driver goes on.
      "spark.master": "local-cluster[1,2,512]",
      "spark.driver.memory": "512m",
      "spark.executor.memory": "512m",
      "spark.task.maxFailures": "1",
      "spark.driver.host": "127.0.0.1",
      "spark.driver.bindAddress": "127.0.0.1",
      "spark.connect.grpc.binding.address": "127.0.0.1",
      "spark.connect.grpc.binding.port": this.host.split(":")[1],
      "spark.connect.authenticate.token": this.token,
      "spark.ui.port": new URL(this.#ui).port,
      "spark.local.dir": join(folder, "local"),
      "spark.sql.warehouse.dir": join(folder, "warehouse"),
      "spark.sql.catalogImplementation": "in-memory",
      "spark.sql.shuffle.partitions": "2",
    };
    const settings = join(folder, "spark.properties");
    await writeWhole(
      settings,
      Object.entries(properties)
        .map(([name, value]) => `${name} ${value}\n`)
        .join(""),
    );
    const service = "org.apache.spark.sql.connect.service.SparkConnectServer";
    const submit = join(this.#home, "bin", "spark-submit");
    await launch(this.#server, [submit, "--properties-file", settings, "--class", service, "spark-internal"], {
      cwd: folder,
      env: { ...process.env, SPARK_HOME: this.#home, SPARK_LOCAL_IP: "127.0.0.1" },
    });
    await untilReady(this.#server, START_WITHIN_MS, () => speaksHttp2(`http://${this.host}`));
  }

  /** Ends it without a word. */
  async kill(): Promise<void> {
    await stop(this.#server, { signal: "SIGKILL" });
  }

  /** Ends it and removes its folder. */
  async close(): Promise<void> {
    await this.kill();
    await rm(this.#server.folder, { recursive: true, force: true });
  }

  /** How many jobs it runs. */
  async runningJobs(): Promise<number> {
    const [application] = (await (await fetch(this.#ui)).json()) as { id: string }[];
    const jobs = await fetch(`${this.#ui}/${application?.id}/jobs?status=running`);
    return ((await jobs.json()) as unknown[]).length;
  }

  /** Resolves once it runs no jobs; the number that stay after a while. */
  async idle(withinMs = 20_000): Promise<number> {
    let jobs = await this.runningJobs();
    for (let waitedMs = 0; jobs > 0 && waitedMs < withinMs; waitedMs += 250) {
      await sleep(250);
      jobs = await this.runningJobs();
    }
    return jobs;
  }
}

/** gRPC is HTTP/2: a server that sends its settings is there. */
function speaksHttp2(url: string): Promise<boolean> {
  return new Promise((done, failed) => {
    const session = connect(url);
    const timer = setTimeout(() => session.destroy(new Error("no answer within 5 s")), 5_000);
    session.once("remoteSettings", () => {
      done(true);
      session.close();
    });
    session.once("error", failed);
    session.once("close", () => clearTimeout(timer));
  });
}
