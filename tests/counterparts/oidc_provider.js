// oidc-provider with one API, whose access tokens are JWTs of RFC 9068. Prints its issuer.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const server = createServer().listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const api = {
    scope: "read write",
    audience: "api",
    accessTokenFormat: "jwt",
    accessTokenTTL: 600,
    jwt: { sign: { alg: "RS256" } },
  };
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: "service",
        client_secret: "the-secret-of-the-service",
        grant_types: ["client_credentials"],
        redirect_uris: [],
        response_types: [],
      },
    ],
    scopes: ["read", "write"],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        getResourceServerInfo: () => api,
        useGrantedResource: () => true,
      },
    },
  });
  server.on("request", provider.callback());
  console.log(`issuer ${issuer}`);
});
