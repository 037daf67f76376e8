// oauth2-mock-server, whose access tokens are for one API. Prints its issuer.
import { OAuth2Server } from "oauth2-mock-server";

const server = new OAuth2Server();
await server.issuer.keys.generate("RS256");
server.service.on("beforeTokenSigning", (token) => {
  token.payload.aud ??= "api"; // An ID token has its client there.
});
await server.start(0, "127.0.0.1");
console.log(`issuer ${server.issuer.url}`);
