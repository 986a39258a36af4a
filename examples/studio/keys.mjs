// Makes up what the deployment must be told before the app can be pushed, as a file for `convex env set --from-file`: the key pair that
// the tokens of the app's users are signed and verified with, the secret that its webhooks are signed with, and where its services
// are. Keep the file: with other keys everybody has to sign in again.
// Usage: node keys.mjs [file] [address of services.mjs]
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";

const [file = "studio.env", services = "http://127.0.0.1:4700"] = process.argv.slice(2);
const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const key = { use: "sig", alg: "RS256", ...publicKey.export({ format: "jwk" }) };
const variables = {
  // On one line, as Convex Auth takes it.
  JWT_PRIVATE_KEY: privateKey.export({ type: "pkcs8", format: "pem" }).trimEnd().replaceAll("\n", " "),
  JWKS: JSON.stringify({ keys: [key] }),
  STUDIO_SERVICES_URL: services,
  STUDIO_WEBHOOK_SECRET: randomBytes(32).toString("hex"),
};
const lines = Object.entries(variables).map(([name, value]) => `${name}='${value}'\n`);
try {
  // Readable for nobody else, and never in place of one that is there.
  writeFileSync(file, lines.join(""), { mode: 0o600, flag: "wx" });
} catch (error) {
  if (error.code !== "EEXIST") {
    throw error;
  }
  console.error(`keys.mjs: ${file} is there already, and stays as it is`);
}
