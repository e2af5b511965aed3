import { endpoint } from "../../../engines/endpoints.ts";

/** The Spark Connect server that these tests use: the one of `npm run engines:up`, unless `MILLRACE_TEST_SPARK` names another. */
export async function sparkUrl(): Promise<string> {
  return process.env["MILLRACE_TEST_SPARK"] ?? (await endpoint("spark")).url;
}
