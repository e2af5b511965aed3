/**
 * Users of BI tools: roles of PostgreSQL that can log in and read what is published, and nothing else. Nothing is kept about them
 * but what PostgreSQL keeps; who is a member of `millrace_bi` is one.
 */
import { createHash, createHmac, pbkdf2, randomBytes } from "node:crypto";
import { promisify } from "node:util";
import pg from "pg";
import { didYouMean } from "../define/nearest.ts";
import { MillraceError } from "../errors.ts";
import { quoted } from "./published-shape.ts";

/** The role that published tables are granted to. */
export const BI_ROLE = "millrace_bi";

/** One query of a dashboard. Readers that stay longer hold up the removal of old rows. */
const STATEMENT_TIMEOUT = "5min";
const IDLE_TIMEOUT = "10min";
/** Connections of one user: tools keep pools, and one of them must not take all. */
const CONNECTIONS = 20;

const USER_NAME = /^(?!pg_|millrace)[a-z][a-z0-9_]{0,62}$/;
const GROUP_COMMENT = "Reads the tables that Millrace publishes; users of BI tools are its members.";
const LIKE_TAKEN = new Set(["42710", "23505"]);

export interface BiUser {
  readonly name: string;
  /** Connections now. */
  readonly connections: number;
}

/** @throws BI_USER_INVALID, BI_USER_TAKEN, BI_USERS_REFUSED, and PostgreSQL's own errors. The password is nowhere but in the answer. */
export async function createBiUser(
  client: pg.Client,
  name: string,
  published: readonly string[],
): Promise<{ user: BiUser; password: string }> {
  if (!USER_NAME.test(name) || name === "public" || name === "none")
    throw new MillraceError("BI_USER_INVALID", { name });
  const password = randomBytes(24).toString("base64url");
  const verifier = await scramVerifier(password, randomBytes(16));
  const role = quoted(name);
  await inTransaction(client, async () => {
    await prepareBiRole(client, published);
    try {
      // The verifier, not the password: a statement may end in a log.
      await client.query(
        `create role ${role} login password ${pg.escapeLiteral(verifier)} connection limit ${CONNECTIONS} in role ${BI_ROLE}`,
      );
    } catch (error) {
      if (LIKE_TAKEN.has((error as { code?: string }).code ?? "")) throw new MillraceError("BI_USER_TAKEN", { name });
      throw error;
    }
    await client.query(`alter role ${role} set statement_timeout = '${STATEMENT_TIMEOUT}'`);
    await client.query(`alter role ${role} set idle_in_transaction_session_timeout = '${IDLE_TIMEOUT}'`);
    await client.query(`alter role ${role} set default_transaction_read_only = on`);
    await setSearchPath(client, [name], published);
  });
  return { user: { name, connections: 0 }, password };
}

export async function listBiUsers(client: pg.Client): Promise<BiUser[]> {
  const { rows } = await client.query(
    `select u.rolname as name, (select count(*)::int from pg_stat_activity a where a.usesysid = u.oid) as connections
     from pg_auth_members m join pg_roles g on g.oid = m.roleid join pg_roles u on u.oid = m.member
     where g.rolname = $1 and u.rolcanlogin and u.rolname <> current_user order by 1`,
    [BI_ROLE],
  );
  return rows;
}

/** Ends the user's connections and removes it. @throws BI_USER_UNKNOWN, BI_USERS_REFUSED */
export async function revokeBiUser(client: pg.Client, name: string): Promise<BiUser> {
  const users = await listBiUsers(client);
  const user = users.find((one) => one.name === name);
  if (user === undefined) {
    const nearest = didYouMean(
      name,
      users.map((one) => one.name),
    );
    throw new MillraceError("BI_USER_UNKNOWN", { name, nearest });
  }
  try {
    await client.query(`alter role ${quoted(name)} nologin`);
    await client.query("select pg_terminate_backend(pid) from pg_stat_activity where usename = $1", [name]);
    await client.query(`drop role ${quoted(name)}`);
  } catch (error) {
    throw refused(error);
  }
  return user;
}

/** Lets every BI user find the published tables by their bare names. */
export async function setSearchPath(
  client: pg.Client,
  users: readonly string[],
  published: readonly string[],
): Promise<void> {
  const path = published.length > 0 ? published.map(quoted).join(", ") : "''";
  const database = await currentDatabase(client);
  for (const user of users)
    await client.query(`alter role ${quoted(user)} in database ${database} set search_path = ${path}`);
}

async function currentDatabase(client: pg.Client): Promise<string> {
  const { rows } = await client.query("select quote_ident(current_database()) as name");
  return rows[0].name;
}

/** Makes the role, and grants it what is published already. */
async function prepareBiRole(client: pg.Client, published: readonly string[]): Promise<void> {
  const { rows } = await client.query("select 1 from pg_roles where rolname = $1", [BI_ROLE]);
  if (rows.length > 0) return;
  await client.query(`create role ${BI_ROLE} nologin`);
  await client.query(`grant connect on database ${await currentDatabase(client)} to ${BI_ROLE}`);
  await client.query(`comment on role ${BI_ROLE} is ${pg.escapeLiteral(GROUP_COMMENT)}`);
  await grantPublished(client, published);
}

/** Grants BI users the tables that the records name. */
async function grantPublished(client: pg.Client, published: readonly string[]): Promise<void> {
  for (const schema of published) await client.query(`grant usage on schema ${quoted(schema)} to ${BI_ROLE}`);
  const { rows } = await client.query(
    `select format('%I.%I', schema_name, table_name) as name from millrace_serving.publications
     where relation = to_regclass(format('%I.%I', schema_name, table_name))`,
  );
  for (const { name } of rows) await client.query(`grant select on ${name} to ${BI_ROLE}`);
}

/** Schemas with published tables, in the order of their names. */
export async function publishedSchemas(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query(
    `select distinct schema_name as name from millrace_serving.publications
     where relation = to_regclass(format('%I.%I', schema_name, table_name)) order by 1`,
  );
  return rows.map((row) => row.name);
}

async function inTransaction(client: pg.Client, work: () => Promise<void>): Promise<void> {
  await client.query("begin");
  try {
    await work();
    await client.query("commit");
  } catch (error) {
    // Where even this fails the connection is gone, and the server rolls back by itself.
    await client.query("rollback").catch(() => undefined);
    throw refused(error);
  }
}

/** 42501: the platform's own user may not. */
function refused(error: unknown): unknown {
  const { code, message } = error as { code?: string; message: string };
  return code === "42501" ? new MillraceError("BI_USERS_REFUSED", { reason: message }, { cause: error }) : error;
}

/**
 * What PostgreSQL keeps of a password: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>` (RFC 5802 and 7677). The password is
 * ASCII, so SASLprep leaves it as it is.
 */
async function scramVerifier(password: string, salt: Buffer): Promise<string> {
  const salted = await promisify(pbkdf2)(password, salt, SCRAM_ITERATIONS, 32, "sha256");
  const hmac = (text: string) => createHmac("sha256", salted).update(text).digest();
  const storedKey = createHash("sha256").update(hmac("Client Key")).digest("base64");
  const serverKey = hmac("Server Key").toString("base64");
  return `SCRAM-SHA-256$${SCRAM_ITERATIONS}:${salt.toString("base64")}$${storedKey}:${serverKey}`;
}

/** PostgreSQL's own default. The password has 192 random bits, so more would protect nothing. */
const SCRAM_ITERATIONS = 4_096;
