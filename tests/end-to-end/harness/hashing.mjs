// Functions that packages for passwords keep to themselves, for the app `hashing`: as files of its project, the packages' own text with
// more exported.
import { readFile } from "node:fs/promises";

/** The packages that the app imports. */
export const PASSWORD_PACKAGES = ["lucia", "@noble/hashes", "noble-hashes-2", "bcryptjs", "bcryptjs-2"];

const nodeModules = new URL("../node_modules/", import.meta.url);

export async function openedPackages() {
  const [lucia, noble1, noble2, bcrypt2, bcrypt3] = await Promise.all(
    ["lucia/dist/scrypt/index.js", "@noble/hashes/esm/scrypt.js", "noble-hashes-2/scrypt.js", "bcryptjs-2/dist/bcrypt.js", "bcryptjs/index.js"].map(
      (path) => readFile(new URL(path, nodeModules), "utf8"),
    ),
  );
  const scrypt = "\nexport { BlockMix };\n";
  const bcrypt = "\nexport { _key, _crypt };\n";
  const withoutNode = replaced(bcrypt3, 'import nodeCrypto from "crypto";', "const nodeCrypto = undefined;");
  return {
    "lib/lucia.js": lucia + scrypt,
    "lib/lucia-other.js": replaced(lucia, "(a << b) | (a >>> (32 - b))", "(a >>> b) | (a << (32 - b))"),
    "lib/noble-1.js": from(noble1, "@noble/hashes/") + scrypt,
    "lib/noble-2.js": from(noble2, "noble-hashes-2/") + scrypt,
    "lib/bcrypt-2.cjs": replaced(bcrypt2, "return bcrypt;", "bcrypt._key = _key; return bcrypt;"),
    "lib/bcrypt-3.js": withoutNode + bcrypt,
    "lib/bcrypt-other.js": replaced(withoutNode, "var BLOWFISH_NUM_ROUNDS = 16;", "var BLOWFISH_NUM_ROUNDS = 15;") + bcrypt,
  };
}

/** The text of a module of a package, with what lies beside it imported from there. */
function from(text, folder) {
  return text.replace(/from (["'])\.\//g, `from $1${folder}`);
}

/** A text that must be there once is replaced. */
function replaced(text, from, to) {
  const parts = text.split(from);
  if (parts.length !== 2) {
    throw new Error(`${JSON.stringify(from)} is there ${parts.length - 1} times: the package has changed`);
  }
  return parts.join(to);
}
