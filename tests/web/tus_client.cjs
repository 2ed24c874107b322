// Sends one file by tus-js-client: URL KEY PATH SOURCE MODULES. Says `accepted N` after each part, and `done` or `failed`.
const fs = require("node:fs");
const path = require("node:path");

const [, , url, key, file, source, modules] = process.argv;
const tus = require(path.join(modules, "tus-js-client"));

const upload = new tus.Upload(fs.createReadStream(file), {
  endpoint: `${url}/uploads`,
  chunkSize: 256 * 1024,
  uploadSize: fs.statSync(file).size,
  retryDelays: Array(60).fill(500),
  headers: { authorization: `Bearer ${key}` },
  metadata: { filename: path.basename(file), filetype: "text/plain", source, tag: "by:tus" },
  onShouldRetry: () => true,
  onChunkComplete: (size, accepted) => console.log(`accepted ${accepted}`),
  onError: (error) => {
    console.log(`failed ${error}`);
    process.exitCode = 1;
  },
  onSuccess: () => console.log("done"),
});
upload.start();
