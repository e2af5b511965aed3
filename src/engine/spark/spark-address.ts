/**
 * Where a Spark Connect server is, as Spark's clients write it:
 *
 *     sc://host:15002/;token=SECRET;use_ssl=true;user_id=millrace;x-header=value
 *
 * The port is 15002 unless said; a token implies TLS, for it would else cross the network in the open, unless `use_ssl=false` or the host is this machine.
 * Any other parameter goes along with each call as a header. (Spark, "Client connection string", connect/docs/client-connection-string.md)
 */
export interface SparkAddress {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  readonly token: string | undefined;
  readonly userId: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** The address, or what is wrong with it in words. */
export function parseSparkUrl(text: string): SparkAddress | string {
  const match = /^sc:\/\/(\[[^\]]+\]|[^:/;\s]+)(?::(\d+))?(?:\/(?:;(.*))?)?$/.exec(text);
  if (match === null) return "it has the form sc://host:15002/;token=…;use_ssl=true";
  const [, host = "", portText, rest = ""] = match;
  const port = portText === undefined ? DEFAULT_PORT : Number(portText);
  if (port < 1 || port > 65_535) return `${portText} is no port`;
  const parameters = new Map<string, string>();
  for (const part of rest.split(";")) {
    if (part === "") continue;
    const equals = part.indexOf("=");
    if (equals < 1) return `"${part.slice(0, 20)}" is no name=value`;
    parameters.set(decodeURIComponent(part.slice(0, equals)), decodeURIComponent(part.slice(equals + 1)));
  }
  const take = (name: string) => {
    const value = parameters.get(name);
    parameters.delete(name);
    return value;
  };
  const token = take("token");
  const tlsText = take("use_ssl");
  const userId = take("user_id") ?? "millrace";
  for (const own of ["user_agent", "session_id"]) parameters.delete(own);
  if (tlsText !== undefined && tlsText !== "true" && tlsText !== "false") return `use_ssl is true or false`;
  const tls = tlsText === undefined ? token !== undefined && !LOOPBACK.test(host) : tlsText === "true";
  const bad = [...parameters.keys()].find((name) => !/^[a-z0-9_.-]+$/.test(name));
  if (bad !== undefined) return `"${bad}" cannot be a header`;
  return { host, port, tls, token, userId, headers: Object.fromEntries(parameters) };
}

/** As it may be shown: without token and headers. */
export function shownSparkAddress({ host, port }: SparkAddress): string {
  return `sc://${host}:${port}`;
}

const DEFAULT_PORT = 15_002;
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;
