// A tus server that keeps uploads in a bucket, and reports each finished one to susy-worker in the form of tusd's hooks.
//
//   SUSY_URL=http://127.0.0.1:8484 SUSY_API_KEY=susy_… BUCKET=uploads npm start
//
// The bucket is that of AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.

import {S3Store} from "@tus/s3-store";
import {Server} from "@tus/server";

const {SUSY_URL, SUSY_API_KEY, BUCKET, PORT = "8080", AWS_ENDPOINT_URL, AWS_REGION = "us-east-1"} = process.env;
const ATTEMPTS = 5;

const report = async (upload) => {
  const storage = {Type: "s3store", Bucket: BUCKET, Key: upload.id};
  const {id: ID, size: Size, offset: Offset, metadata: MetaData} = upload;
  const hook = {Type: "post-finish", Event: {Upload: {ID, Size, Offset, MetaData, IsPartial: false, Storage: storage}}};
  for (let attempt = 1; ; attempt++) {
    try {
      const answer = await fetch(`${SUSY_URL}/v1/hooks/tusd`, {
        method: "POST",
        headers: {"Content-Type": "application/json", Authorization: `Bearer ${SUSY_API_KEY}`},
        body: JSON.stringify(hook),
        signal: AbortSignal.timeout(15_000),
      });
      if (answer.ok) return;
      throw new Error(`${answer.status}: ${await answer.text()}`);
    } catch (error) {
      // What was not reported is found by `susy sweep`.
      if (attempt === ATTEMPTS) return console.error(`upload ${upload.id} was not reported:`, error);
      await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** attempt));
    }
  }
};

const server = new Server({
  path: "/files",
  datastore: new S3Store({
    s3ClientConfig: {
      bucket: BUCKET,
      region: AWS_REGION,
      endpoint: AWS_ENDPOINT_URL,
      forcePathStyle: true, // as stores other than Amazon's need it
    },
  }),
  onUploadFinish: async (_request, upload) => {
    await report(upload);
    return {};
  },
});

server.listen({host: "127.0.0.1", port: Number(PORT)}, () => console.log(`listening on ${PORT}`));
