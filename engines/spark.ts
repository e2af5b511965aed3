import { createHash } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { connect } from "node:http2";
import { join } from "node:path";
import { runFolder } from "./cache.ts";
import type { S3Endpoint, SparkEndpoint } from "./endpoints.ts";
import { freePort } from "./free-port.ts";
import { cachedPackage, mavenJars } from "./packages.ts";
import { runCommand } from "./run-command.ts";
import { launch, running, type ServerProcess, stop, untilReady, writeWhole } from "./server-process.ts";
import { VERSIONS } from "./versions.ts";

/**
 * One Spark (local, two cores) that serves Spark Connect, with Delta, and with the S3 engine behind `s3a://`.
 *
 *     run/spark/spark.properties     its settings
 *     run/spark/local/, warehouse/   what it spills and makes
 */
const SERVER: ServerProcess = { name: "spark connect server", folder: runFolder("spark") };
/** A start takes 15 s when nothing else runs; the class path alone is a gigabyte to look through. */
const START_WITHIN_MS = 180_000;

export async function sparkUp(before: SparkEndpoint | undefined, s3: S3Endpoint): Promise<SparkEndpoint> {
  const python = join(await pythonFolder(), "bin", "python");
  const endpoint = before ?? { url: `sc://127.0.0.1:${await freePort()}`, python, jars: await jarFiles() };
  if ((await running(SERVER)) === undefined) {
    const home = (
      await runCommand([python, "-c", "import pyspark; print(pyspark.__path__[0])"], {
        withinMs: 60_000,
        next: "remove the folder pyspark-… in the cache's packages/, then up again",
      })
    ).trim();
    const settings = join(SERVER.folder, "spark.properties");
    await writeWhole(settings, sparkProperties(endpoint, s3));
    const submit = [join(home, "bin", "spark-submit"), "--properties-file", settings];
    const service = "org.apache.spark.sql.connect.service.SparkConnectServer";
    // The script becomes the Java process, so that the number is the server's own.
    await launch(SERVER, [submit[0]!, ...submit.slice(1), "--class", service, "--name", "engines", "spark-internal"], {
      cwd: SERVER.folder,
      env: { ...process.env, SPARK_HOME: home, SPARK_LOCAL_IP: "127.0.0.1", PYSPARK_PYTHON: python },
    });
  }
  await untilReady(SERVER, START_WITHIN_MS, () => speaksHttp2(endpoint.url.replace("sc:", "http:")));
  return endpoint;
}

export async function sparkDown(): Promise<void> {
  await stop(SERVER);
  await rm(SERVER.folder, { recursive: true, force: true });
}

export async function sparkProcesses(): Promise<{ name: string; pid: number | undefined }[]> {
  return [{ name: SERVER.name, pid: (await running(SERVER))?.pid }];
}

function sparkProperties({ url, jars }: SparkEndpoint, s3: S3Endpoint): string {
  const properties = {
    "spark.master": "local[2]",
    "spark.driver.memory": "1g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    // Named to Spark as jars, these would be copied for every session.
    "spark.driver.extraClassPath": jars.join(":"),
    "spark.connect.grpc.binding.address": "127.0.0.1",
    "spark.connect.grpc.binding.port": new URL(url.replace("sc:", "http:")).port,
    "spark.ui.enabled": "false",
    "spark.local.dir": join(SERVER.folder, "local"),
    "spark.sql.warehouse.dir": join(SERVER.folder, "warehouse"),
    "spark.sql.catalogImplementation": "in-memory",
    // Two cores: the default of 200 parts costs more than the work.
    "spark.sql.shuffle.partitions": "4",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.hadoop.fs.s3a.endpoint": s3.endpoint,
    "spark.hadoop.fs.s3a.endpoint.region": s3.region,
    "spark.hadoop.fs.s3a.access.key": s3.accessKeyId,
    "spark.hadoop.fs.s3a.secret.key": s3.secretAccessKey,
    "spark.hadoop.fs.s3a.path.style.access": "true",
    "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
  };
  return `${Object.entries(properties)
    .map(([name, value]) => `${name} ${value}`)
    .join("\n")}\n`;
}

function pythonFolder(): Promise<string> {
  const { pyspark, delta, pythonPackages } = VERSIONS;
  const digest = createHash("sha256").update(pythonPackages.join()).digest("hex").slice(0, 8);
  return cachedPackage(`pyspark-${pyspark}-delta-${delta}-${digest}`, async (folder) => {
    const next = "see that Python 3.10 or later with venv is installed and pip reaches a package index";
    await runCommand(["python3", "-m", "venv", folder], { withinMs: 120_000, next });
    const wanted = [`pyspark==${pyspark}`, `delta-spark==${delta}`, ...pythonPackages];
    const install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", ...wanted];
    await runCommand([join(folder, "bin", "python"), ...install], { withinMs: 900_000, next });
  });
}

/** Delta and the client of S3; of what they need, only what pyspark does not bring itself. */
async function jarFiles(): Promise<string[]> {
  const { pyspark, delta, hadoopAws } = VERSIONS;
  const spark = pyspark.split(".").slice(0, 2).join(".");
  const forDelta = mavenJars(
    `delta-${delta}`,
    [
      `io.delta:delta-spark_${spark}_2.13:${delta}`,
      `io.delta:delta-storage:${delta}`,
      `io.delta:delta-kernel-api:${delta}`,
      `io.delta:delta-kernel-defaults:${delta}`,
      `io.delta:delta-kernel-unitycatalog:${delta}`,
      "io.unitycatalog:unitycatalog-client:0.6.0",
      "io.unitycatalog:unitycatalog-hadoop:0.6.0",
    ],
    { alone: true },
  );
  const forS3 = mavenJars(`hadoop-aws-${hadoopAws}`, [`org.apache.hadoop:hadoop-aws:${hadoopAws}`]);
  const found = [];
  for (const folder of [await forDelta, await forS3]) {
    const names = await readdir(join(folder, "jars"));
    found.push(...names.sort().map((name) => join(folder, "jars", name)));
  }
  return found;
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
