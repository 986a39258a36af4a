//! The public keys of a provider.

use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ed25519_dalek::VerifyingKey as Ed25519Key;
use p256::ecdsa::{VerifyingKey as P256Key, signature::Verifier as _};
use rsa::{BoxedUint, Pkcs1v15Sign, PublicKey as RsaKey};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{Algorithm, AuthLimits, Refusal, Token, document, error::shown, limits::RSA_BITS};

/// Key sets come without padding, and some with.
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A JSON web key set: what of it can verify tokens.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    public: PublicKey,
}

/// Each kind verifies one algorithm, so that no token can choose another.
#[derive(Clone, Debug)]
enum PublicKey {
    Rsa(RsaKey),
    P256(P256Key),
    Ed25519(Ed25519Key),
}

impl KeySet {
    /// Reads a key set. Keys that can't be used here (for encryption, of other kinds, too short, malformed) are left out, as
    /// RFC 7517 (5) wants it.
    ///
    /// # Errors
    /// A clause about what is no key set, or too large.
    pub fn parse(json: &[u8], limits: &AuthLimits) -> Result<KeySet, String> {
        let json = document::parse(json, limits)?;
        let keys = json.get("keys").and_then(Value::as_array).ok_or("has no array named `keys`")?;
        if keys.len() > limits.keys_max {
            return Err(format!("has {} keys, more than {}", keys.len(), limits.keys_max));
        }
        Ok(KeySet { keys: keys.iter().filter_map(Key::from_json).collect() })
    }

    /// Whether a signature is that of one of the keys: of the one that the token names; or, if it names none, or none that is
    /// there, of the only one of the right kind that has no name; or, if it names none and all have one, of the only one of the
    /// right kind.
    pub(crate) fn verify(&self, token: &Token<'_>, algorithm: Algorithm) -> Result<(), Refusal> {
        let fits = |key: &&Key| key.public.algorithm() == algorithm;
        let fitting = |id: Option<&String>| -> Vec<&Key> {
            self.keys.iter().filter(fits).filter(|key| key.id.as_ref() == id).collect()
        };
        let named = token.key_id.as_ref();
        let mut candidates = fitting(named);
        if candidates.is_empty() {
            candidates = match named {
                Some(_) => fitting(None),
                None => self.keys.iter().filter(fits).collect(),
            };
        }
        match candidates[..] {
            [key] if key.public.verifies(token) => Ok(()),
            [_] => Err(Refusal::BadSignature),
            [] => {
                let key_id = token.key_id.as_deref().map(shown);
                Err(Refusal::UnknownKey { key_id, algorithm: algorithm.name() })
            }
            _ => Err(Refusal::AmbiguousKey { count: candidates.len() }),
        }
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl Key {
    fn from_json(json: &Value) -> Option<Key> {
        let text = |name: &str| json.get(name).and_then(Value::as_str);
        let bytes = |name: &str| text(name).and_then(|text| BASE64_URL.decode(text).ok());
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let operations = json.get("key_ops").and_then(Value::as_array);
        if operations.is_some_and(|list| !list.iter().any(|operation| operation == "verify")) {
            return None;
        }
        let public = match (text("kty")?, text("crv")) {
            ("RSA", _) => PublicKey::rsa(&bytes("n")?, &bytes("e")?)?,
            ("EC", Some("P-256")) => PublicKey::p256(&bytes("x")?, &bytes("y")?)?,
            ("OKP", Some("Ed25519")) => PublicKey::ed25519(&bytes("x")?)?,
            _ => return None,
        };
        let is_for_this = text("alg").is_none_or(|name| name == public.algorithm().name());
        is_for_this.then(|| Key { id: text("kid").map(str::to_owned), public })
    }
}

impl PublicKey {
    fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<PublicKey> {
        // Before any arithmetic on it.
        if modulus.len() > RSA_BITS.end() / 8 + 1 || exponent.len() > size_of::<u64>() {
            return None;
        }
        let (modulus, exponent) =
            (BoxedUint::from_be_slice_vartime(modulus), BoxedUint::from_be_slice_vartime(exponent));
        RsaKey::new_with_size_limits(modulus, exponent, RSA_BITS).ok().map(PublicKey::Rsa)
    }

    fn p256(x: &[u8], y: &[u8]) -> Option<PublicKey> {
        const COORDINATE_BYTES: usize = 32;
        if x.len() != COORDINATE_BYTES || y.len() != COORDINATE_BYTES {
            return None;
        }
        // SEC 1, uncompressed.
        let point = [&[4], x, y].concat();
        P256Key::from_sec1_bytes(&point).ok().map(PublicKey::P256)
    }

    fn ed25519(point: &[u8]) -> Option<PublicKey> {
        Ed25519Key::try_from(point).ok().map(PublicKey::Ed25519)
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            PublicKey::Rsa(_) => Algorithm::Rs256,
            PublicKey::P256(_) => Algorithm::Es256,
            PublicKey::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    fn verifies(&self, token: &Token<'_>) -> bool {
        let (signed, signature) = (token.signed.as_bytes(), &token.signature[..]);
        match self {
            PublicKey::Rsa(key) => {
                key.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(signed), signature).is_ok()
            }
            PublicKey::P256(key) => {
                let signature = p256::ecdsa::Signature::from_slice(signature);
                signature.is_ok_and(|signature| key.verify(signed, &signature).is_ok())
            }
            PublicKey::Ed25519(key) => {
                let signature = ed25519_dalek::Signature::from_slice(signature);
                signature.is_ok_and(|signature| key.verify_strict(signed, &signature).is_ok())
            }
        }
    }
}
