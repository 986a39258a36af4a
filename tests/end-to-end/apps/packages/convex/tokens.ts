// Tokens by jose.
import { v } from "convex/values";
import { CompactEncrypt, SignJWT, compactDecrypt, createLocalJWKSet, importJWK, importPKCS8, jwtVerify } from "jose";
import { mutation, query } from "./_generated/server";

const issuer = "https://issuer.example";

async function sign(key: Parameters<SignJWT["sign"]>[0], alg: string, kid: string, subject: string) {
  const token = new SignJWT({ role: "reader" }).setProtectedHeader({ alg, kid });
  return token.setSubject(subject).setIssuer(issuer).setIssuedAt().setExpirationTime("1h").sign(key);
}

/** Signs by a key in JWK, keeps the token, and answers it. */
export const issue = mutation({
  args: { jwk: v.any(), alg: v.string(), subject: v.string() },
  handler: async (ctx, { jwk, alg, subject }) => {
    const token = await sign(await importJWK(jwk, alg), alg, jwk.kid, subject);
    await ctx.db.insert("tokens", { token });
    return token;
  },
});

/** As Convex Auth does it: by a key in PKCS #8. */
export const issueByPkcs8 = mutation({
  args: { pem: v.string(), kid: v.string(), subject: v.string() },
  handler: async (ctx, { pem, kid, subject }) => sign(await importPKCS8(pem, "RS256"), "RS256", kid, subject),
});

export const check = query({
  args: { token: v.string(), jwks: v.any() },
  handler: async (ctx, { token, jwks }) => {
    try {
      const { payload, protectedHeader } = await jwtVerify(token, createLocalJWKSet(jwks), { issuer });
      return { subject: payload.sub, role: payload.role, alg: protectedHeader.alg };
    } catch (error) {
      return { code: (error as { code?: string }).code };
    }
  },
});

/** Encrypted by a password (PBKDF2 and AES-KW) or by a key (AES-GCM), and decrypted again. */
export const seal = mutation({
  args: { alg: v.string(), enc: v.string(), secret: v.bytes(), text: v.string() },
  handler: async (ctx, { alg, enc, secret, text }) => {
    const key = new Uint8Array(secret);
    const header = alg.startsWith("PBES2") ? { alg, enc, p2c: 5000 } : { alg, enc };
    return new CompactEncrypt(new TextEncoder().encode(text)).setProtectedHeader(header).encrypt(key);
  },
});

export const open = query({
  args: { sealed: v.string(), secret: v.bytes() },
  handler: async (ctx, { sealed, secret }) => {
    const options = { keyManagementAlgorithms: ["dir", "PBES2-HS256+A128KW"] };
    const { plaintext } = await compactDecrypt(sealed, new Uint8Array(secret), options);
    return new TextDecoder().decode(plaintext);
  },
});
