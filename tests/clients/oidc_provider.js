// Signs a person in at oidc-provider, over mTLS, and obtains a certificate-bound access token (RFC 8705, 9068) by the
// authorization code flow.
//
// Usage: node oidc_provider.js CERTIFICATES_FOLDER AUDIENCE
// Prints, as JSON, the issuer, its public keys as JWKs, and a token of each of ES256, EdDSA and PS256. The system of
// Riverside is the client; the provider has the sandbox's own certificate for localhost.
"use strict";
const assert = require("node:assert");
const crypto = require("node:crypto");
const fs = require("node:fs");
const https = require("node:https");
const path = require("node:path");
const { pathToFileURL } = require("node:url");

const [folder, audience] = process.argv.slice(2);
const contents = (name) => fs.readFileSync(path.join(folder, name));
const ALGORITHMS = { ES256: ["ec", { namedCurve: "P-256" }], EdDSA: ["ed25519"], PS256: ["rsa", { modulusLength: 2048 }] };
const REDIRECT = "https://localhost/signed-in";

const keys = Object.entries(ALGORITHMS).map(([alg, [kind, options]]) => {
  const { privateKey } = crypto.generateKeyPairSync(kind, options);
  return { ...privateKey.export({ format: "jwk" }), alg, use: "sig", kid: `key-${alg}` };
});

// The algorithm of the next token.
let algorithm;

function configuration() {
  return {
    jwks: { keys },
    cookies: { keys: ["a key of this test"] },
    clients: [
      {
        client_id: "riverside-mis",
        token_endpoint_auth_method: "self_signed_tls_client_auth",
        redirect_uris: [REDIRECT],
        grant_types: ["authorization_code"],
        id_token_signed_response_alg: "ES256",
        tls_client_certificate_bound_access_tokens: true,
        jwks: { keys: [{ ...certificate().publicKey.export({ format: "jwk" }), x5c: [certificate().raw.toString("base64")] }] },
      },
    ],
    clientAuthMethods: ["self_signed_tls_client_auth"],
    features: {
      devInteractions: { enabled: true },
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        selfSignedTlsClientAuth: true,
        getCertificate: (ctx) => {
          const peer = ctx.socket.getPeerX509Certificate();
          return peer && peer.toString();
        },
      },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => audience,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: "",
          audience,
          accessTokenTTL: 600,
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: algorithm } },
        }),
      },
    },
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    extraTokenClaims: () => ({
      organisation: "provider/riverside",
      role: "dsl",
      purpose: "safeguarding",
      name: "Ada Bandicoot",
    }),
  };
}

const certificate = () => new crypto.X509Certificate(contents("certs/provider-a.pem"));
const agent = new https.Agent({
  ca: contents("ca.pem"),
  cert: contents("certs/provider-a.pem"),
  key: contents("certs/provider-a.key"),
});
const cookies = new Map();

// Makes a request with the cookies of the browser that this script stands for.
function send(url, form) {
  const body = form && new URLSearchParams(form).toString();
  const headers = { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join("; ") };
  if (body) headers["content-type"] = "application/x-www-form-urlencoded";
  return new Promise((resolve, reject) => {
    const request = https.request(url, { agent, headers, method: body ? "POST" : "GET", timeout: 10_000 }, (answer) => {
      for (const cookie of answer.headers["set-cookie"] ?? []) {
        const [name, value] = cookie.split(";", 1)[0].split(/=(.*)/s);
        cookies.set(name, value);
      }
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (part) => (text += part));
      answer.on("end", () => resolve({ status: answer.statusCode, location: answer.headers.location, text }));
    });
    request.on("timeout", () => request.destroy(new Error("no answer")));
    request.on("error", reject);
    request.end(body);
  });
}

// Follows redirects, and signs in and consents on the pages between them, up to the redirect to the client.
async function authorise(issuer, challenge) {
  const query = new URLSearchParams({
    client_id: "riverside-mis",
    response_type: "code",
    scope: "openid",
    redirect_uri: REDIRECT,
    code_challenge: challenge,
    code_challenge_method: "S256",
  });
  let url = `${issuer}/auth?${query}`;
  let form;
  for (let step = 0; step < 20; step += 1) {
    const answer = await send(url, form);
    form = undefined;
    if (answer.location?.startsWith(REDIRECT)) return new URL(answer.location).searchParams.get("code");
    if (answer.location) {
      url = new URL(answer.location, issuer).href;
    } else {
      assert.strictEqual(answer.status, 200, answer.text);
      const prompt = /name="prompt" value="(\w+)"/.exec(answer.text)[1];
      form = prompt === "login" ? { prompt, login: "wallaroo-4711", password: "any" } : { prompt };
    }
  }
  throw new Error("no end of redirects");
}

async function obtainToken(issuer) {
  const verifier = crypto.randomBytes(32).toString("base64url");
  const challenge = crypto.createHash("sha256").update(verifier).digest("base64url");
  const code = await authorise(issuer, challenge);
  const answer = await send(`${issuer}/token`, {
    grant_type: "authorization_code",
    client_id: "riverside-mis",
    redirect_uri: REDIRECT,
    code_verifier: verifier,
    code,
  });
  assert.strictEqual(answer.status, 200, answer.text);
  return JSON.parse(answer.text).access_token;
}

async function main() {
  const { default: Provider } = await import(pathToFileURL(require.resolve("oidc-provider")));
  let serve;
  const server = https.createServer(
    {
      ca: contents("ca.pem"),
      cert: contents("certs/server.pem"),
      key: contents("certs/server.key"),
      requestCert: true,
      rejectUnauthorized: true,
    },
    (request, answer) => serve(request, answer),
  );
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const issuer = `https://localhost:${server.address().port}`;
  serve = new Provider(issuer, configuration()).callback();
  const tokens = [];
  for (algorithm of Object.keys(ALGORITHMS)) tokens.push(await obtainToken(issuer));
  const { keys: published } = JSON.parse((await send(`${issuer}/jwks`)).text);
  console.log(JSON.stringify({ issuer, keys: published, tokens }));
  agent.destroy();
  server.close();
  server.closeAllConnections();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
