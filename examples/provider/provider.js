// An OpenID provider with one API and two clients. Prints its issuer; ends with its standard input.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const api = {
  scope: "articles:read articles:write",
  audience: "articles-api",
  accessTokenFormat: "jwt",
  accessTokenTTL: 600,
  jwt: { sign: { alg: "RS256" } },
};
const client = (name, scope) => ({
  client_id: name,
  client_secret: `the-secret-of-the-${name}`,
  scope,
  grant_types: ["client_credentials"],
  redirect_uris: [],
  response_types: [],
});

const server = createServer().listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [client("reader", "articles:read"), client("editor", api.scope)],
    scopes: api.scope.split(" "),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => "urn:articles",
        getResourceServerInfo: () => api,
        useGrantedResource: () => true,
      },
    },
  });
  server.on("request", provider.callback());
  console.log(`issuer ${issuer}`);
});
process.stdin.on("end", () => process.exit()).resume();
