const AGE_SECONDS_MAX = 300;

/**
 * Whether the header `t=<seconds since 1970>,v1=<hexadecimal>` signs the body: HMAC with SHA-256 over `<t>.<body>`. A signature
 * that is older than five minutes does not count, so that what somebody has overheard can't be sent again for ever.
 */
export async function isSigned(header: string | null, body: string, secret: string, now: number) {
  const [, seconds, hexadecimal] = /^t=(\d{1,12}),v1=([0-9a-f]{64})$/.exec(header ?? "") ?? [];
  if (!seconds || !hexadecimal || Math.abs(now / 1000 - Number(seconds)) > AGE_SECONDS_MAX) {
    return false;
  }
  const encoder = new TextEncoder();
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", encoder.encode(secret), algorithm, false, ["verify"]);
  const signature = Uint8Array.from(hexadecimal.match(/../g)!, (byte) => Number.parseInt(byte, 16));
  return await crypto.subtle.verify("HMAC", key, signature, encoder.encode(`${seconds}.${body}`));
}
