/** How to send to a stream, ready to be copied. Keys stay out of them. */
export interface SnippetText {
  readonly label: string;
  readonly code: string;
}

export function snippets(stream: string, event: unknown, url: string): readonly SnippetText[] {
  const line = JSON.stringify(event);
  const path = `${url}/v1/streams/${encodeURIComponent(stream)}/events`;
  return [
    {
      label: "curl",
      code: `curl -X POST ${path} \\\n  -H "Authorization: Bearer $MILLRACE_KEY" \\\n  -H "Content-Type: application/json" \\\n  -d '${line.replaceAll("'", "'\\''")}'`,
    },
    {
      label: "JavaScript, browser or Node",
      code: `import { createTracker } from "@millrace/tracker";\n\nconst tracker = createTracker({ endpoints: "${url}", key: WRITE_KEY });\ntracker.track("${stream}", ${line});`,
    },
    {
      label: "AWS SDK (Kinesis)",
      code: `import { KinesisClient, PutRecordCommand } from "@aws-sdk/client-kinesis";\n\nconst kinesis = new KinesisClient({ endpoint: "${url}", region: "eu-central-1" });\nawait kinesis.send(new PutRecordCommand({\n  StreamName: "${stream}",\n  PartitionKey: "1",\n  Data: Buffer.from(JSON.stringify(${line})),\n}));`,
    },
  ];
}

/** For a source of Segment's messages: each of its SDKs, pointed here. The write key is a key that may write to the stream and do nothing else. */
export function segmentSnippets(url: string): readonly SnippetText[] {
  return [
    {
      label: "Segment, browsers",
      code: `import { AnalyticsBrowser } from "@segment/analytics-next";\n\nconst analytics = AnalyticsBrowser.load({ writeKey: "WRITE_KEY", cdnURL: "${url}" });\nanalytics.page();\nanalytics.track("Signed Up", { plan: "pro" });`,
    },
    {
      label: "Segment, Node",
      code: `import { Analytics } from "@segment/analytics-node";\n\nconst analytics = new Analytics({ writeKey: "WRITE_KEY", host: "${url}" });\nanalytics.track({ userId: "ada", event: "Signed Up", properties: { plan: "pro" } });\nawait analytics.closeAndFlush();`,
    },
    {
      label: "Segment, Python",
      code: `from segment.analytics.client import Client\n\nclient = Client(write_key="WRITE_KEY", host="${url}", gzip=True)\nclient.track(user_id="ada", event="Signed Up", properties={"plan": "pro"})\nclient.join()`,
    },
    {
      label: "Segment, Go",
      code: `client, err := analytics.NewWithConfig("WRITE_KEY", analytics.Config{Endpoint: "${url}"})\nif err != nil {\n\tlog.Fatal(err)\n}\nclient.Enqueue(analytics.Track{UserId: "ada", Event: "Signed Up", Properties: analytics.NewProperties().Set("plan", "pro")})\nclient.Close()`,
    },
    {
      label: "Segment, Java",
      code: `Analytics analytics = Analytics.builder("WRITE_KEY").endpoint("${url}").build();\nanalytics.enqueue(TrackMessage.builder("Signed Up").userId("ada").properties(Map.of("plan", "pro")));\nanalytics.flush();`,
    },
    {
      label: "Segment, curl",
      code: `curl ${url}/v1/track -u "$WRITE_KEY:" \\\n  -d '{"userId": "ada", "event": "Signed Up", "properties": {"plan": "pro"}}'`,
    },
  ];
}
