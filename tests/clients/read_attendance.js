// Reads the attendance of one placement many times through small flow-control windows, with grpc-js.
//
// Usage: node read_attendance.js PROTO_FOLDER CERTIFICATES_FOLDER ADDRESS PLACEMENT MARKS READS WINDOW
// Reads as Riverside, four calls at a time on one connection. WINDOW is in bytes; 0 leaves the defaults of grpc-js.
// Fails at the first call that is not answered with MARKS marks.
"use strict";
const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [protos, folder, address, placement, ...numbers] = process.argv.slice(2);
const [marks, reads, window] = numbers.map(Number);
const contents = (name) => fs.readFileSync(path.join(folder, name));

const definition = loader.loadSync("apgateway/v1/returns.proto", { includeDirs: [protos], keepCase: true, arrays: true });
const { ReturnsService } = grpc.loadPackageDefinition(definition).apgateway.v1;
const credentials = grpc.credentials.createSsl(
  contents("ca.pem"),
  contents("certs/provider-a.key"),
  contents("certs/provider-a.pem"),
);
const options = window ? { "grpc-node.flow_control_window": window } : {};
const client = new ReturnsService(address, credentials, options);
const request = { placement_id: placement, from_date: "2026-11-01", to_date: "2026-11-30" };

function read() {
  const options = { deadline: Date.now() + 30_000 };
  return new Promise((resolve, reject) => {
    client.GetAttendance(request, options, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

let begun = 0;
async function readInTurn() {
  while (begun < reads) {
    begun += 1;
    assert.strictEqual((await read()).marks.length, marks);
  }
}

Promise.all([1, 2, 3, 4].map(readInTurn)).then(
  () => {
    client.close();
    console.log("ok");
  },
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
