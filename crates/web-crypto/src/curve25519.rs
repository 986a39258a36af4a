//! Ed25519 ([RFC 8032](https://www.rfc-editor.org/rfc/rfc8032)) and X25519 ([RFC 7748](https://www.rfc-editor.org/rfc/rfc7748)).
//! Keys are 32 bytes; how they stand in PKCS #8 and SPKI is in [RFC 8410](https://www.rfc-editor.org/rfc/rfc8410).

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use pkcs8::der::asn1::{BitStringRef, OctetStringRef};
use pkcs8::der::{Decode, Encode};
use pkcs8::{AlgorithmIdentifierRef, ObjectIdentifier, PrivateKeyInfoRef, SubjectPublicKeyInfoRef};

use crate::{CryptoRng, Error};

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const X25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.110");

const KEY_BYTES: usize = 32;

/// A key of 32 bytes: how it is read and written.
macro_rules! key_of_32_bytes {
    ($name:ident) => {
        impl $name {
            pub fn from_bytes(bytes: &[u8]) -> Result<$name, Error> {
                bytes.try_into().map($name).map_err(|_| Error::Data("a key of this kind has 32 bytes"))
            }

            pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
                &self.0
            }
        }
    };
}

macro_rules! private_key {
    ($(#[$attribute:meta])* $name:ident, $public:ident, $algorithm:expr) => {
        $(#[$attribute])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name([u8; KEY_BYTES]);

        key_of_32_bytes!($name);

        impl std::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(stringify!($name))
            }
        }

        impl $name {
            pub fn generate<R: CryptoRng + ?Sized>(random: &mut R) -> $name {
                let mut bytes = [0; KEY_BYTES];
                random.fill_bytes(&mut bytes);
                $name(bytes)
            }

            pub fn from_pkcs8(der: &[u8]) -> Result<$name, Error> {
                private_from_pkcs8(der, $algorithm).map($name)
            }

            pub fn to_pkcs8(&self) -> Vec<u8> {
                private_to_pkcs8(&self.0, $algorithm)
            }
        }
    };
}

macro_rules! public_key {
    ($(#[$attribute:meta])* $name:ident, $algorithm:expr) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name([u8; KEY_BYTES]);

        key_of_32_bytes!($name);

        impl $name {
            pub fn from_spki(der: &[u8]) -> Result<$name, Error> {
                public_from_spki(der, $algorithm).map($name)
            }

            pub fn to_spki(&self) -> Vec<u8> {
                public_to_spki(&self.0, $algorithm)
            }
        }
    };
}

private_key! {
    /// Signs by Ed25519.
    Ed25519PrivateKey, Ed25519PublicKey, ED25519
}
public_key! {
    /// Verifies by Ed25519. It may be no point of the curve, in which case it verifies nothing.
    Ed25519PublicKey, ED25519
}
private_key! {
    /// Agrees on secrets by X25519.
    X25519PrivateKey, X25519PublicKey, X25519
}
public_key! {
    /// What another's [`X25519PrivateKey`] agrees with.
    X25519PublicKey, X25519
}

impl Ed25519PrivateKey {
    pub fn public_key(&self) -> Ed25519PublicKey {
        Ed25519PublicKey(SigningKey::from_bytes(&self.0).verifying_key().to_bytes())
    }

    /// The same signature for the same message, always.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        SigningKey::from_bytes(&self.0).sign(message).to_bytes().to_vec()
    }
}

impl Ed25519PublicKey {
    /// Whether `signature` is one of `message`. Keys and signatures of small order verify nothing, as the standard
    /// says.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let (Ok(key), Ok(signature)) = (VerifyingKey::from_bytes(&self.0), Signature::from_slice(signature))
        else {
            return false;
        };
        key.verify_strict(message, &signature).is_ok()
    }
}

impl X25519PrivateKey {
    pub fn public_key(&self) -> X25519PublicKey {
        let secret = x25519_dalek::StaticSecret::from(self.0);
        X25519PublicKey(x25519_dalek::PublicKey::from(&secret).to_bytes())
    }

    /// What both sides compute. Fails for a public key with which every private key agrees on zero.
    pub fn agree(&self, other: &X25519PublicKey) -> Result<Vec<u8>, Error> {
        let secret = x25519_dalek::StaticSecret::from(self.0);
        let shared = secret.diffie_hellman(&x25519_dalek::PublicKey::from(other.0));
        match shared.was_contributory() {
            true => Ok(shared.to_bytes().to_vec()),
            false => Err(Error::Operation("the public key is one that agrees with every key on zero")),
        }
    }
}

const fn algorithm(identifier: ObjectIdentifier) -> AlgorithmIdentifierRef<'static> {
    AlgorithmIdentifierRef { oid: identifier, parameters: None }
}

fn private_from_pkcs8(der: &[u8], identifier: ObjectIdentifier) -> Result<[u8; KEY_BYTES], Error> {
    let malformed = Error::Data("the bytes are no private key of this kind in PKCS #8");
    let info = PrivateKeyInfoRef::from_der(der).map_err(|_| malformed)?;
    if info.algorithm != algorithm(identifier) {
        return Err(Error::Data("the private key is one of another algorithm"));
    }
    let key = <&OctetStringRef>::from_der(info.private_key.as_bytes()).map_err(|_| malformed)?;
    key.as_bytes().try_into().map_err(|_| malformed)
}

fn private_to_pkcs8(key: &[u8; KEY_BYTES], identifier: ObjectIdentifier) -> Vec<u8> {
    let encode = || {
        let key = OctetStringRef::new(key)?.to_der()?;
        PrivateKeyInfoRef::new(algorithm(identifier), OctetStringRef::new(&key)?).to_der()
    };
    encode().expect("32 bytes are not too long for DER")
}

fn public_from_spki(der: &[u8], identifier: ObjectIdentifier) -> Result<[u8; KEY_BYTES], Error> {
    let malformed = Error::Data("the bytes are no public key of this kind in SPKI");
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| malformed)?;
    if info.algorithm != algorithm(identifier) {
        return Err(Error::Data("the public key is one of another algorithm"));
    }
    let key = info.subject_public_key.as_bytes().ok_or(malformed)?;
    key.try_into().map_err(|_| malformed)
}

fn public_to_spki(key: &[u8; KEY_BYTES], identifier: ObjectIdentifier) -> Vec<u8> {
    let encode = || {
        let subject_public_key = BitStringRef::new(0, key)?;
        SubjectPublicKeyInfoRef { algorithm: algorithm(identifier), subject_public_key }.to_der()
    };
    encode().expect("32 bytes are not too long for DER")
}
