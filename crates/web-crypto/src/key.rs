//! A key of any kind, its formats, and the form in which somebody else keeps it.

use serde::{Deserialize, Serialize};

use crate::text::Base64;
use crate::{
    AesKey, Curve, EcPrivateKey, EcPublicKey, Ed25519PrivateKey, Ed25519PublicKey, Error, Jwk, RsaPrivateKey,
    RsaPublicKey, SecretKey, X25519PrivateKey, X25519PublicKey,
};

/// A key of any kind. As JSON it is what a caller keeps who can't keep types; it is checked again when it comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "KeptKey", into = "KeptKey")]
pub enum Key {
    Aes(AesKey),
    Secret(SecretKey),
    RsaPublic(RsaPublicKey),
    RsaPrivate(RsaPrivateKey),
    EcPublic(EcPublicKey),
    EcPrivate(EcPrivateKey),
    Ed25519Public(Ed25519PublicKey),
    Ed25519Private(Ed25519PrivateKey),
    X25519Public(X25519PublicKey),
    X25519Private(X25519PrivateKey),
}

/// What a key is for, as far as its bytes depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyKind {
    Aes,
    /// For HMAC, HKDF and PBKDF2.
    Secret,
    Rsa,
    /// For ECDSA and ECDH.
    Ec(Curve),
    Ed25519,
    X25519,
}

/// Who may know a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    Secret,
    Public,
    Private,
}

/// How a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyFormat {
    /// The bytes themselves: of secrets and public keys.
    Raw,
    /// `PrivateKeyInfo` of [RFC 5208](https://www.rfc-editor.org/rfc/rfc5208) in DER.
    Pkcs8,
    /// `SubjectPublicKeyInfo` of [RFC 5280](https://www.rfc-editor.org/rfc/rfc5280) in DER.
    Spki,
    /// JSON text of a JSON Web Key.
    Jwk,
}

impl Key {
    /// Reads a key. A private key may take long; see [`RsaPrivateKey`].
    pub fn import(kind: KeyKind, format: KeyFormat, bytes: &[u8]) -> Result<Key, Error> {
        match (format, kind) {
            (KeyFormat::Jwk, _) => Jwk::parse(bytes)?.to_key(kind),
            (KeyFormat::Raw, KeyKind::Aes) => AesKey::from_bytes(bytes).map(Key::Aes),
            (KeyFormat::Raw, KeyKind::Secret) => Ok(Key::Secret(SecretKey::new(bytes.to_vec()))),
            (KeyFormat::Raw, KeyKind::Ec(curve)) => EcPublicKey::from_raw(curve, bytes).map(Key::EcPublic),
            (KeyFormat::Raw, KeyKind::Ed25519) => Ed25519PublicKey::from_bytes(bytes).map(Key::Ed25519Public),
            (KeyFormat::Raw, KeyKind::X25519) => X25519PublicKey::from_bytes(bytes).map(Key::X25519Public),
            (KeyFormat::Spki, KeyKind::Rsa) => RsaPublicKey::from_spki(bytes).map(Key::RsaPublic),
            (KeyFormat::Spki, KeyKind::Ec(curve)) => EcPublicKey::from_spki(curve, bytes).map(Key::EcPublic),
            (KeyFormat::Spki, KeyKind::Ed25519) => Ed25519PublicKey::from_spki(bytes).map(Key::Ed25519Public),
            (KeyFormat::Spki, KeyKind::X25519) => X25519PublicKey::from_spki(bytes).map(Key::X25519Public),
            (KeyFormat::Pkcs8, KeyKind::Rsa) => RsaPrivateKey::from_pkcs8(bytes).map(Key::RsaPrivate),
            (KeyFormat::Pkcs8, KeyKind::Ec(curve)) => {
                EcPrivateKey::from_pkcs8(curve, bytes).map(Key::EcPrivate)
            }
            (KeyFormat::Pkcs8, KeyKind::Ed25519) => {
                Ed25519PrivateKey::from_pkcs8(bytes).map(Key::Ed25519Private)
            }
            (KeyFormat::Pkcs8, KeyKind::X25519) => {
                X25519PrivateKey::from_pkcs8(bytes).map(Key::X25519Private)
            }
            (KeyFormat::Raw, KeyKind::Rsa)
            | (KeyFormat::Spki | KeyFormat::Pkcs8, KeyKind::Aes | KeyKind::Secret) => {
                Err(Error::NotSupported("keys of this kind don't have that format"))
            }
        }
    }

    /// Writes a key.
    pub fn export(&self, format: KeyFormat) -> Result<Vec<u8>, Error> {
        match (format, self) {
            (KeyFormat::Jwk, key) => {
                Ok(serde_json::to_vec(&Jwk::from(key)).expect("a JSON Web Key is text and nothing else"))
            }
            (KeyFormat::Raw, Key::Aes(key)) => Ok(key.as_bytes().to_vec()),
            (KeyFormat::Raw, Key::Secret(key)) => Ok(key.as_bytes().to_vec()),
            (KeyFormat::Raw, Key::EcPublic(key)) => Ok(key.to_raw()),
            (KeyFormat::Raw, Key::Ed25519Public(key)) => Ok(key.as_bytes().to_vec()),
            (KeyFormat::Raw, Key::X25519Public(key)) => Ok(key.as_bytes().to_vec()),
            (KeyFormat::Spki, Key::RsaPublic(key)) => Ok(key.to_spki()),
            (KeyFormat::Spki, Key::EcPublic(key)) => Ok(key.to_spki()),
            (KeyFormat::Spki, Key::Ed25519Public(key)) => Ok(key.to_spki()),
            (KeyFormat::Spki, Key::X25519Public(key)) => Ok(key.to_spki()),
            (KeyFormat::Pkcs8, Key::RsaPrivate(key)) => Ok(key.to_pkcs8()),
            (KeyFormat::Pkcs8, Key::EcPrivate(key)) => Ok(key.to_pkcs8()),
            (KeyFormat::Pkcs8, Key::Ed25519Private(key)) => Ok(key.to_pkcs8()),
            (KeyFormat::Pkcs8, Key::X25519Private(key)) => Ok(key.to_pkcs8()),
            (KeyFormat::Spki | KeyFormat::Pkcs8, Key::Aes(_) | Key::Secret(_))
            | (KeyFormat::Raw, Key::RsaPublic(_)) => {
                Err(Error::NotSupported("keys of this kind don't have that format"))
            }
            (KeyFormat::Raw | KeyFormat::Spki | KeyFormat::Pkcs8, _) => Err(Error::InvalidAccess(
                "that format is for public keys or for private ones, and this is not one",
            )),
        }
    }

    pub fn key_type(&self) -> KeyType {
        match self {
            Key::Aes(_) | Key::Secret(_) => KeyType::Secret,
            Key::RsaPublic(_) | Key::EcPublic(_) | Key::Ed25519Public(_) | Key::X25519Public(_) => {
                KeyType::Public
            }
            Key::RsaPrivate(_) | Key::EcPrivate(_) | Key::Ed25519Private(_) | Key::X25519Private(_) => {
                KeyType::Private
            }
        }
    }
}

/// A key in JSON. Of each kind there are the bytes that are read fastest, as it is read for each operation.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum KeptKey {
    Aes { bytes: Base64 },
    Secret { bytes: Base64 },
    RsaPublic { spki: Base64 },
    RsaPrivate { pkcs8: Base64 },
    EcPublic { curve: Curve, bytes: Base64 },
    EcPrivate { curve: Curve, bytes: Base64 },
    Ed25519Public { bytes: Base64 },
    Ed25519Private { bytes: Base64 },
    X25519Public { bytes: Base64 },
    X25519Private { bytes: Base64 },
}

impl TryFrom<KeptKey> for Key {
    type Error = Error;

    fn try_from(kept: KeptKey) -> Result<Key, Error> {
        match kept {
            KeptKey::Aes { bytes } => AesKey::from_bytes(&bytes.0).map(Key::Aes),
            KeptKey::Secret { bytes } => Ok(Key::Secret(SecretKey::new(bytes.0))),
            KeptKey::RsaPublic { spki } => RsaPublicKey::from_spki(&spki.0).map(Key::RsaPublic),
            KeptKey::RsaPrivate { pkcs8 } => RsaPrivateKey::from_pkcs8(&pkcs8.0).map(Key::RsaPrivate),
            KeptKey::EcPublic { curve, bytes } => EcPublicKey::from_raw(curve, &bytes.0).map(Key::EcPublic),
            KeptKey::EcPrivate { curve, bytes } => {
                EcPrivateKey::from_bytes(curve, &bytes.0).map(Key::EcPrivate)
            }
            KeptKey::Ed25519Public { bytes } => {
                Ed25519PublicKey::from_bytes(&bytes.0).map(Key::Ed25519Public)
            }
            KeptKey::Ed25519Private { bytes } => {
                Ed25519PrivateKey::from_bytes(&bytes.0).map(Key::Ed25519Private)
            }
            KeptKey::X25519Public { bytes } => X25519PublicKey::from_bytes(&bytes.0).map(Key::X25519Public),
            KeptKey::X25519Private { bytes } => {
                X25519PrivateKey::from_bytes(&bytes.0).map(Key::X25519Private)
            }
        }
    }
}

impl From<Key> for KeptKey {
    fn from(key: Key) -> KeptKey {
        let of = |bytes: &[u8]| Base64(bytes.to_vec());
        match key {
            Key::Aes(key) => KeptKey::Aes { bytes: of(key.as_bytes()) },
            Key::Secret(key) => KeptKey::Secret { bytes: of(key.as_bytes()) },
            Key::RsaPublic(key) => KeptKey::RsaPublic { spki: Base64(key.to_spki()) },
            Key::RsaPrivate(key) => KeptKey::RsaPrivate { pkcs8: Base64(key.to_pkcs8()) },
            Key::EcPublic(key) => KeptKey::EcPublic { curve: key.curve(), bytes: Base64(key.to_raw()) },
            Key::EcPrivate(key) => KeptKey::EcPrivate { curve: key.curve(), bytes: Base64(key.to_bytes()) },
            Key::Ed25519Public(key) => KeptKey::Ed25519Public { bytes: of(key.as_bytes()) },
            Key::Ed25519Private(key) => KeptKey::Ed25519Private { bytes: of(key.as_bytes()) },
            Key::X25519Public(key) => KeptKey::X25519Public { bytes: of(key.as_bytes()) },
            Key::X25519Private(key) => KeptKey::X25519Private { bytes: of(key.as_bytes()) },
        }
    }
}
