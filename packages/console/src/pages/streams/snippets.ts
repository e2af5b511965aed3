/** How to send to a stream, ready to be copied. Keys stay out of them. */
export function snippets(stream: string, event: unknown): readonly { readonly label: string; readonly code: string }[] {
  const url = location.origin;
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
