// Starts an embedded server in the folder given, says so in one line of JSON, and stops it when told to on stdin.
import { startEmbeddedPostgres } from "../../src/state/embedded-postgres.ts";

const server = await startEmbeddedPostgres({ folder: process.argv[2]! });
process.stdout.write(`${JSON.stringify({ uid: process.getuid?.(), way: server.user, pid: server.pid() })}\n`);
process.stdin.once("data", async () => {
  await server.stop();
  process.exit(0);
});
