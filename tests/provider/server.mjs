// A real OpenID provider (npm `oidc-provider`) on a free loopback port, for tests/provider.rs.
//
// Prints one line of JSON with what a test must know, then answers each line of standard input with a line of JSON:
//   rotate    a new signing key is published and signs from now on; the one before stays published
//   drop-old  only the key that signs stays published
//   logout-to URL   logout tokens for the web shop go there from now on
//   sign-in   a browser signs alice in at the web shop; its access token for orders
//   sign-out  that browser signs her out; what became of the logout tokens that the provider sent
// It ends when standard input does.

import { createHash, generateKeyPairSync, randomBytes } from "node:crypto";
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

// Where people sign in.
const shop = {
  client_id: "web-shop",
  client_secret: randomBytes(24).toString("base64url"),
  grant_types: ["authorization_code"],
  redirect_uris: ["https://shop.example.com/callback"],
  response_types: ["code"],
  token_endpoint_auth_method: "client_secret_basic",
  backchannel_logout_session_required: true,
};
const cookieKey = randomBytes(24).toString("base64url");

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

// Whoever signs in consents to everything.
async function grant({ oidc }) {
  const granted = new oidc.provider.Grant({ accountId: oidc.session.accountId, clientId: oidc.client.clientId });
  granted.addOIDCScope(`openid ${SCOPE}`);
  for (const resource of Object.keys(RESOURCES)) granted.addResourceScope(resource, SCOPE);
  await granted.save();
  return granted;
}

// The provider itself refuses to talk to addresses of this machine.
function anywhere(url, { dispatcher, ...options }) {
  return globalThis.fetch(url, options);
}

let delivered = [];

// The first key that fits signs.
function handler(issuer, keys) {
  const provider = new Provider(issuer, {
    clients: [client, shop],
    clientDefaults: { id_token_signed_response_alg: "ES256" },
    cookies: { keys: [cookieKey] },
    fetch: anywhere,
    findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    interactions: { url: (_context, interaction) => `/interaction/${interaction.uid}` },
    loadExistingGrant: grant,
    features: {
      backchannelLogout: { enabled: true },
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
  provider.on("backchannel.success", () => delivered.push("accepted"));
  provider.on("backchannel.error", (_context, error) => delivered.push(error.message));
  const answer = provider.callback();
  return (request, response) => {
    if (!request.url.startsWith("/interaction/")) return answer(request, response);
    return provider.interactionFinished(request, response, { login: { accountId: "alice" } });
  };
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

// A browser, as far as that takes: it keeps cookies and says where it was sent.
const jar = new Map();

async function browse(target, form) {
  const response = await fetch(new URL(target, issuer), {
    method: form ? "POST" : "GET",
    body: form && new URLSearchParams(form),
    headers: { cookie: [...jar].map((pair) => pair.join("=")).join("; ") },
    redirect: "manual",
  });
  for (const line of response.headers.getSetCookie()) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
    if (value) jar.set(name, value);
    else jar.delete(name);
  }
  return { location: response.headers.get("location"), text: await response.text() };
}

async function signIn() {
  const verifier = randomBytes(32).toString("base64url");
  const [redirect] = shop.redirect_uris;
  const resource = "https://orders.example.com";
  const question = new URLSearchParams({
    client_id: shop.client_id,
    code_challenge: createHash("sha256").update(verifier).digest("base64url"),
    code_challenge_method: "S256",
    redirect_uri: redirect,
    resource,
    response_type: "code",
    scope: "openid orders:read",
  });
  let { location } = await browse(`/auth?${question}`);
  while (location && !location.startsWith(redirect)) ({ location } = await browse(location));
  const response = await fetch(new URL("/token", issuer), {
    method: "POST",
    body: new URLSearchParams({
      code: new URL(location).searchParams.get("code"),
      code_verifier: verifier,
      grant_type: "authorization_code",
      redirect_uri: redirect,
      resource,
    }),
    headers: { authorization: `Basic ${btoa(`${shop.client_id}:${shop.client_secret}`)}` },
  });
  return { token: (await response.json()).access_token };
}

async function signOut() {
  delivered = [];
  const { text } = await browse("/session/end");
  const [, xsrf] = /name="xsrf" value="([^"]+)"/.exec(text);
  await browse("/session/end/confirm", { logout: "yes", xsrf });
  return { delivered };
}

say({ issuer, client: client.client_id, secret: client.client_secret });

for await (const command of createInterface({ input: process.stdin })) {
  if (command === "rotate") {
    publish([signingKey(), ...keys]);
  } else if (command === "drop-old") {
    publish(keys.slice(0, 1));
  } else if (command.startsWith("logout-to ")) {
    shop.backchannel_logout_uri = command.slice("logout-to ".length);
    publish(keys);
  } else if (command === "sign-in") {
    say(await signIn());
  } else if (command === "sign-out") {
    say(await signOut());
  } else {
    say({ error: `no such command: ${command}` });
  }
}
process.exit(0);
