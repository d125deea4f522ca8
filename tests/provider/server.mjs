// A real OpenID provider (npm `oidc-provider`) on a free loopback port, for tests/provider.rs.
//
// Prints one line of JSON with what a test must know, then answers each line of standard input with a line of JSON:
//   rotate    a new signing key is published and signs from now on; the one before stays published
//   drop-old  only the key that signs stays published
// It ends when standard input does.

import { generateKeyPairSync, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { createInterface } from "node:readline";

import Provider, { errors } from "oidc-provider";

const SCOPE = "orders:read orders:write";
// Access tokens for this one end almost at once.
const RESOURCES = {
  "https://orders.example.com": { lifetime: 600 },
  "https://invoices.example.com": { lifetime: 600 },
  "https://brief.example.com": { lifetime: 1 },
};

const client = {
  client_id: "batch-job",
  client_secret: randomBytes(24).toString("base64url"),
  grant_types: ["client_credentials"],
  redirect_uris: [],
  response_types: [],
  token_endpoint_auth_method: "client_secret_basic",
};

// Standard output is for answers alone.
console.info = console.error;

let issued = 0;

function signingKey() {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  issued += 1;
  return { ...privateKey.export({ format: "jwk" }), alg: "ES256", kid: `key-${issued}`, use: "sig" };
}

function resourceServer(_context, resource) {
  const known = RESOURCES[resource];
  if (known === undefined) throw new errors.InvalidTarget();
  return {
    accessTokenFormat: "jwt",
    accessTokenTTL: known.lifetime,
    audience: resource,
    jwt: { sign: { alg: "ES256" } },
    scope: SCOPE,
  };
}

// The first key that fits signs.
function handler(issuer, keys) {
  const provider = new Provider(issuer, {
    clients: [client],
    clientDefaults: { id_token_signed_response_alg: "ES256" },
    cookies: { keys: [randomBytes(24).toString("base64url")] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        // Without a resource a token is for the provider itself, and opaque.
        defaultResource: () => undefined,
        getResourceServerInfo: resourceServer,
      },
    },
    jwks: { keys },
    scopes: SCOPE.split(" "),
    ttl: { ClientCredentials: (_context, token) => token.resourceServer?.accessTokenTTL ?? 600 },
  });
  return provider.callback();
}

const listener = createServer();
await new Promise((listening) => listener.listen(0, "127.0.0.1", listening));
const issuer = `http://127.0.0.1:${listener.address().port}`;

let keys = [signingKey()];
let answer = handler(issuer, keys);
listener.on("request", (request, response) => answer(request, response));

function say(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function publish(next) {
  keys = next;
  answer = handler(issuer, keys);
  say({ kids: keys.map((key) => key.kid) });
}

say({ issuer, client: client.client_id, secret: client.client_secret });

for await (const command of createInterface({ input: process.stdin })) {
  if (command === "rotate") {
    publish([signingKey(), ...keys]);
  } else if (command === "drop-old") {
    publish(keys.slice(0, 1));
  } else {
    say({ error: `no such command: ${command}` });
  }
}
process.exit(0);
