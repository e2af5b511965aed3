import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "./run-command.ts";
import { writeWhole } from "./server-process.ts";

/**
 * A certificate authority of one's own and one certificate of the brokers, for `localhost` and `127.0.0.1`, for 30 days:
 *
 *     ca.pem          what clients are given to trust
 *     broker.pem      key and certificate of the brokers, as Kafka's PEM key store wants them: one file
 *
 * Returns the path of ca.pem.
 */
export async function certify(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const openssl = (...args: string[]) =>
    runCommand(["openssl", ...args], { cwd: folder, withinMs: 30_000, next: "see that openssl is installed" });
  const key = (name: string) =>
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", name);
  await key("ca.key");
  await openssl("req", "-x509", "-new", "-key", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=engines CA");
  await key("broker.key");
  await openssl("req", "-new", "-key", "broker.key", "-out", "broker.csr", "-subj", "/CN=localhost");
  await writeFile(
    join(folder, "broker.ext"),
    "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n",
  );
  const sign = ["x509", "-req", "-in", "broker.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "1"];
  await openssl(...sign, "-days", "30", "-extfile", "broker.ext", "-out", "broker.crt");
  const parts = await Promise.all(["broker.key", "broker.crt"].map((name) => readFile(join(folder, name), "utf8")));
  await writeWhole(join(folder, "broker.pem"), parts.join(""));
  return join(folder, "ca.pem");
}
