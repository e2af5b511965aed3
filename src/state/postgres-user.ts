import { spawnSync } from "node:child_process";
import { accessSync, chownSync, constants, lchownSync, lstatSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { MillraceError } from "../errors.ts";

/**
 * How to run PostgreSQL, which refuses to run as root. Commands are run as `[...prefix, program, ...args]`.
 *
 * As a normal user there is nothing to do. As root, in this order:
 * - **namespace**: a user namespace that shows root to the server as an ordinary user. Nothing changes owner, and the data
 *   and the binaries may lie where only root can go (`/root`).
 * - **capability**: as an ordinary user that keeps root's right to pass through folders (containers often allow this
 *   where they forbid namespaces). The cluster's files belong to that user.
 * - **user**: as an ordinary user and nothing more; every folder on the way must let that user in.
 */
export interface PostgresUser {
  readonly way: "same" | "namespace" | "capability" | "user";
  readonly prefix: readonly string[];
  /** For `spawn`, where the prefix does not see to it. */
  readonly spawn: { readonly uid?: number; readonly gid?: number };
  /** Who owns the cluster's files. */
  readonly owner: { readonly uid: number; readonly gid: number };
}

/**
 * Finds the first way that works here; `only` tries that one alone. `paths` must be open to the server: the folder of the
 * cluster and the binaries. The server ends with this process, where the system can do that, unless it `outlivesUs`.
 * @throws POSTGRES_REFUSES_ROOT
 */
export function choosePostgresUser(
  paths: readonly string[],
  { only, outlivesUs = false }: { only?: PostgresUser["way"] | undefined; outlivesUs?: boolean } = {},
): PostgresUser {
  const bound = (prefix: readonly string[]) => (outlivesUs ? prefix : deathSignal(prefix));
  const uid = process.getuid?.() ?? 0;
  const gid = process.getgid?.() ?? 0;
  if (uid !== 0) return { way: "same", prefix: bound([]), spawn: {}, owner: { uid, gid } };

  const { user, reason } = ordinaryUser();
  if (user === undefined) throw new MillraceError("POSTGRES_REFUSES_ROOT", { reason });
  const wanted = (way: PostgresUser["way"]) => only === undefined || only === way;

  const namespace = ["unshare", "--user", `--map-user=${user.uid}`, `--map-group=${user.gid}`, "--"];
  if (wanted("namespace") && works(namespace)) {
    return { way: "namespace", prefix: bound(namespace), spawn: {}, owner: { uid, gid } };
  }
  const keep = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"];
  const capability = ["setpriv", `--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups", ...keep, "--"];
  if (wanted("capability") && works(capability)) {
    return { way: "capability", prefix: bound(capability), spawn: {}, owner: user };
  }
  for (const path of paths) {
    const closed = closedFolder(path, user);
    if (closed !== undefined) {
      throw new MillraceError("POSTGRES_REFUSES_ROOT", { reason: `user ${user.name} cannot enter ${closed}` });
    }
  }
  return { way: "user", prefix: bound([]), spawn: { uid: user.uid, gid: user.gid }, owner: user };
}

/** Gives the tree to the owner that the way of running needs; touches nothing when its top belongs to it already. */
export function giveTo(owner: PostgresUser["owner"], folder: string): void {
  if (process.getuid?.() !== 0) return;
  if (lstatSync(folder).uid === owner.uid) return;
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    lchownSync(join(entry.parentPath, entry.name), owner.uid, owner.gid);
  }
  // The top last: it is what says that all of it was done.
  chownSync(folder, owner.uid, owner.gid);
}

/** The server is told to stop when this process dies, even by kill -9, where the system can do that. */
function deathSignal(prefix: readonly string[]): readonly string[] {
  const probe = ["setpriv", "--pdeathsig", "INT", "--"];
  return works(probe) ? [...prefix, ...probe] : prefix;
}

function works(prefix: readonly string[]): boolean {
  const [command, ...args] = [...prefix, "true"];
  return spawnSync(command!, args, { stdio: "ignore" }).status === 0;
}

interface OrdinaryUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** PostgreSQL wants a user that the system knows by name; these two are on nearly every machine. */
function ordinaryUser(): { user?: OrdinaryUser; reason?: string } {
  const users = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"));
  for (const wanted of ["postgres", "nobody"]) {
    const [name, , uid, gid] = users.find(([name]) => name === wanted) ?? [];
    if (name !== undefined && Number(uid) > 0) return { user: { name, uid: Number(uid), gid: Number(gid) } };
  }
  return { reason: "/etc/passwd knows neither postgres nor nobody" };
}

/** The first folder above `path`, from the root down, that the user may not pass. */
function closedFolder(path: string, user: OrdinaryUser): string | undefined {
  const above = dirname(path);
  const closed = above === path ? undefined : closedFolder(above, user);
  if (closed !== undefined || above === path) return closed;
  accessSync(above, constants.F_OK);
  const { uid, gid, mode } = lstatSync(above);
  const passes = uid === user.uid ? mode & 0o100 : gid === user.gid ? mode & 0o010 : mode & 0o001;
  return passes ? undefined : above;
}
