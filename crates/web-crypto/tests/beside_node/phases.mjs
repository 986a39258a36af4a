// What may run where: in queries and mutations, and while modules are imported, nothing that is different each time.

const refusedIn = {
  query: "NoCryptoRngInQueriesOrMutations",
  mutation: "NoCryptoRngInQueriesOrMutations",
  import: "NoCryptoRngDuringImport",
  action: undefined,
};

const message = new Uint8Array(20);
const exponent = new Uint8Array([1, 0, 1]);

// The problems that were found. `enter` makes what follows run in a phase.
export async function phaseProblems({ subtle }, enter) {
  const rsa = (name, usages) =>
    subtle.generateKey({ name, hash: "SHA-256", modulusLength: 1024, publicExponent: exponent }, true, usages);
  enter("action");
  const pkcs1 = await rsa("RSASSA-PKCS1-v1_5", ["sign", "verify"]);
  const pss = await rsa("RSA-PSS", ["sign", "verify"]);
  const oaep = await rsa("RSA-OAEP", ["encrypt", "decrypt", "wrapKey"]);
  const ecdsa = await subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
  const ed25519 = await subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  const hmac = await subtle.generateKey({ name: "HMAC", hash: "SHA-1" }, true, ["sign"]);
  const aes = await subtle.generateKey({ name: "AES-GCM", length: 128 }, true, ["encrypt"]);
  const signed = await subtle.sign({ name: "ECDSA", hash: "SHA-1" }, ecdsa.privateKey, message);
  const encrypted = await subtle.encrypt("RSA-OAEP", oaep.publicKey, message);
  const exported = await subtle.exportKey("pkcs8", pkcs1.privateKey);

  const randomised = {
    "generateKey HMAC": () => subtle.generateKey({ name: "HMAC", hash: "SHA-1" }, true, ["sign"]),
    "generateKey Ed25519": () => subtle.generateKey("Ed25519", true, ["sign"]),
    "sign ECDSA": () => subtle.sign({ name: "ECDSA", hash: "SHA-1" }, ecdsa.privateKey, message),
    "sign RSA-PSS": () => subtle.sign({ name: "RSA-PSS", saltLength: 0 }, pss.privateKey, message),
    "encrypt RSA-OAEP": () => subtle.encrypt("RSA-OAEP", oaep.publicKey, message),
    "wrapKey RSA-OAEP": () => subtle.wrapKey("raw", aes, oaep.publicKey, "RSA-OAEP"),
  };
  const deterministic = {
    digest: () => subtle.digest("SHA-256", message),
    importKey: () => subtle.importKey("pkcs8", exported, { name: "RSA-PSS", hash: "SHA-1" }, true, ["sign"]),
    exportKey: () => subtle.exportKey("jwk", pkcs1.privateKey),
    "sign RSASSA-PKCS1-v1_5": () => subtle.sign("RSASSA-PKCS1-v1_5", pkcs1.privateKey, message),
    "sign Ed25519": () => subtle.sign("Ed25519", ed25519.privateKey, message),
    "sign HMAC": () => subtle.sign("HMAC", hmac, message),
    "verify ECDSA": () => subtle.verify({ name: "ECDSA", hash: "SHA-1" }, ecdsa.publicKey, signed, message),
    "encrypt AES-GCM": () => subtle.encrypt({ name: "AES-GCM", iv: message }, aes, message),
    "decrypt RSA-OAEP": () => subtle.decrypt("RSA-OAEP", oaep.privateKey, encrypted),
  };

  const problems = [];
  const codeOf = (run) => run().then(() => undefined, (error) => error.code ?? String(error));
  for (const [phase, refusal] of Object.entries(refusedIn)) {
    enter(phase);
    for (const [operations, expected] of [[randomised, refusal], [deterministic, undefined]]) {
      for (const [name, run] of Object.entries(operations)) {
        const code = await codeOf(run);
        if (code !== expected) {
          problems.push(`${name} in phase ${phase}: ${code} and not ${expected}`);
        }
      }
    }
  }
  enter("action");
  return problems;
}
