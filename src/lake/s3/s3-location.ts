/** Where in which service the lake is, from the settings: `s3://bucket/prefix` and how to reach it. */
import { MillraceError } from "../../errors.ts";
import { checkKey } from "../object-key.ts";

export interface S3Options {
  /** `s3://bucket` or `s3://bucket/prefix`. */
  readonly url: string;
  /** Of a service that is not AWS's: `http://host:port`. */
  readonly endpoint?: string | undefined;
  /** Default: what the environment says, or `us-east-1` with an endpoint of its own. */
  readonly region?: string | undefined;
  /** True: the bucket is part of the path; false: of the host's name. Default: as the path with an endpoint of its own. */
  readonly pathStyle?: boolean | undefined;
  /** Default: the chain of the environment. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined;
  readonly encryption?: S3Encryption | undefined;
}

/** Undefined: what the bucket does by itself. */
export type S3Encryption = { readonly kind: "s3" } | { readonly kind: "kms"; readonly keyId: string | undefined };

export interface S3Location {
  readonly bucket: string;
  /** Empty, or with a slash at its end. */
  readonly prefix: string;
  /** For people. */
  readonly endpoint: string;
  /** For people: the URL, and the endpoint where it is not AWS's. */
  readonly place: string;
  readonly region: string;
}

/** What all services agree on; dots are left in, though host names with them have no certificate. */
const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

/** @throws SETTING_INVALID */
export function locate({ url, endpoint, region }: S3Options): S3Location {
  const match = /^s3:\/\/([^/?#]+)(?:\/([^?#]*))?$/.exec(url);
  const bucket = match?.[1] ?? "";
  const path = (match?.[2] ?? "").replace(/\/+$/, "");
  if (!BUCKET.test(bucket) || (path !== "" && !isKey(path))) {
    const allowed = "s3://BUCKET or s3://BUCKET/PREFIX";
    throw new MillraceError("SETTING_INVALID", {
      name: "storeUrl",
      source: "given",
      allowed,
      got: JSON.stringify(url),
    });
  }
  const at = endpoint ?? "AWS";
  return {
    bucket,
    prefix: path === "" ? "" : `${path}/`,
    endpoint: at,
    place: endpoint === undefined ? url : `${url} (${endpoint})`,
    region: region ?? (endpoint === undefined ? "of the environment" : "us-east-1"),
  };
}

function isKey(path: string): boolean {
  try {
    checkKey(path);
    return true;
  } catch (error) {
    if (error instanceof MillraceError) return false;
    throw error;
  }
}
