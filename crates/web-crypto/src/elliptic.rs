//! The NIST curves, for ECDSA and ECDH ([FIPS 186-5](https://doi.org/10.6028/NIST.FIPS.186-5),
//! [SP 800-56A](https://doi.org/10.6028/NIST.SP.800-56Ar3)).

use ecdsa::elliptic_curve::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use ecdsa::elliptic_curve::sec1::{Coordinates, ToSec1Point};
use ecdsa::elliptic_curve::{Generate, ecdh};
use ecdsa::hazmat::{sign_prehashed_rfc6979, verify_prehashed};
use p256::NistP256;
use p384::NistP384;
use p521::NistP521;
use serde::{Deserialize, Serialize};

use crate::hash::with_digest;
use crate::{CryptoRng, Error, Hash};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Curve {
    #[serde(rename = "P-256")]
    P256,
    #[serde(rename = "P-384")]
    P384,
    #[serde(rename = "P-521")]
    P521,
}

impl Curve {
    pub const ALL: [Curve; 3] = [Curve::P256, Curve::P384, Curve::P521];

    /// The name that JSON Web Keys and the standard have for it.
    pub fn name(self) -> &'static str {
        match self {
            Curve::P256 => "P-256",
            Curve::P384 => "P-384",
            Curve::P521 => "P-521",
        }
    }

    /// How long a coordinate is, and a private key, and each half of a signature.
    pub fn coordinate_bytes(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }
}

/// Signs by ECDSA, and agrees on secrets by ECDH.
#[derive(Clone)]
pub enum EcPrivateKey {
    P256(p256::SecretKey),
    P384(p384::SecretKey),
    P521(p521::SecretKey),
}

/// Verifies by ECDSA; what another's private key agrees with by ECDH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EcPublicKey {
    P256(p256::PublicKey),
    P384(p384::PublicKey),
    P521(p521::PublicKey),
}

/// Evaluates `$body` for the key within, with `$Curve` being its curve's type.
macro_rules! with_key {
    ($type:ident::$key:expr, $inner:ident, $Curve:ident => $body:expr) => {
        match $key {
            $type::P256($inner) => {
                #[allow(dead_code)]
                type $Curve = NistP256;
                $body
            }
            $type::P384($inner) => {
                #[allow(dead_code)]
                type $Curve = NistP384;
                $body
            }
            $type::P521($inner) => {
                #[allow(dead_code)]
                type $Curve = NistP521;
                $body
            }
        }
    };
}

/// Makes a key of the curve from a function of that name, which all curves' keys have.
macro_rules! make_key {
    ($type:ident, $key:ident, $curve:expr, $make:ident($($argument:expr),*)) => {
        match $curve {
            Curve::P256 => p256::$key::$make($($argument),*).map($type::P256),
            Curve::P384 => p384::$key::$make($($argument),*).map($type::P384),
            Curve::P521 => p521::$key::$make($($argument),*).map($type::P521),
        }
    };
}

impl std::fmt::Debug for EcPrivateKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "EcPrivateKey({})", self.curve().name())
    }
}

impl PartialEq for EcPrivateKey {
    fn eq(&self, other: &EcPrivateKey) -> bool {
        self.curve() == other.curve() && self.to_bytes() == other.to_bytes()
    }
}

impl Eq for EcPrivateKey {}

impl EcPrivateKey {
    pub fn generate<R: CryptoRng + ?Sized>(curve: Curve, random: &mut R) -> EcPrivateKey {
        match curve {
            Curve::P256 => EcPrivateKey::P256(p256::SecretKey::generate_from_rng(random)),
            Curve::P384 => EcPrivateKey::P384(p384::SecretKey::generate_from_rng(random)),
            Curve::P521 => EcPrivateKey::P521(p521::SecretKey::generate_from_rng(random)),
        }
    }

    pub fn curve(&self) -> Curve {
        match self {
            EcPrivateKey::P256(_) => Curve::P256,
            EcPrivateKey::P384(_) => Curve::P384,
            EcPrivateKey::P521(_) => Curve::P521,
        }
    }

    /// From the private number, big-endian, as long as the curve's coordinates.
    pub fn from_bytes(curve: Curve, bytes: &[u8]) -> Result<EcPrivateKey, Error> {
        if bytes.len() != curve.coordinate_bytes() {
            return Err(Error::Data("the private number of that curve has another length"));
        }
        make_key!(EcPrivateKey, SecretKey, curve, from_slice(bytes))
            .map_err(|_| Error::Data("the private number is none of that curve"))
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        with_key!(EcPrivateKey::self, key, C => key.to_bytes().to_vec())
    }

    pub fn from_pkcs8(curve: Curve, der: &[u8]) -> Result<EcPrivateKey, Error> {
        make_key!(EcPrivateKey, SecretKey, curve, from_pkcs8_der(der))
            .map_err(|_| Error::Data("the bytes are no private key of that curve in PKCS #8"))
    }

    pub fn to_pkcs8(&self) -> Vec<u8> {
        let document = with_key!(EcPrivateKey::self, key, C => key.to_pkcs8_der());
        document.expect("a key is not too long for DER").as_bytes().to_vec()
    }

    pub fn public_key(&self) -> EcPublicKey {
        match self {
            EcPrivateKey::P256(key) => EcPublicKey::P256(key.public_key()),
            EcPrivateKey::P384(key) => EcPublicKey::P384(key.public_key()),
            EcPrivateKey::P521(key) => EcPublicKey::P521(key.public_key()),
        }
    }

    /// A signature by ECDSA: both numbers, one after another.
    pub fn sign<R: CryptoRng + ?Sized>(&self, hash: Hash, message: &[u8], random: &mut R) -> Vec<u8> {
        let mut entropy = [0; 32];
        random.fill_bytes(&mut entropy);
        self.sign_with(hash, message, &entropy)
    }

    /// The secret number of a signature comes from the key and the message, by
    /// [RFC 6979](https://www.rfc-editor.org/rfc/rfc6979), together with `entropy`: it stays secret even if that is
    /// known.
    fn sign_with(&self, hash: Hash, message: &[u8], entropy: &[u8]) -> Vec<u8> {
        let digest = hash.digest(message);
        with_key!(EcPrivateKey::self, key, C => with_digest!(hash, D => {
            let (signature, _) = sign_prehashed_rfc6979::<C, D>(&key.to_nonzero_scalar(), &digest, entropy);
            signature.to_bytes().to_vec()
        }))
    }

    /// What both sides compute by ECDH: a coordinate.
    pub fn agree(&self, other: &EcPublicKey) -> Result<Vec<u8>, Error> {
        macro_rules! agree {
            ($own:ident, $other:ident) => {
                Ok(ecdh::diffie_hellman($own.to_nonzero_scalar(), $other.as_affine())
                    .raw_secret_bytes()
                    .to_vec())
            };
        }
        match (self, other) {
            (EcPrivateKey::P256(own), EcPublicKey::P256(other)) => agree!(own, other),
            (EcPrivateKey::P384(own), EcPublicKey::P384(other)) => agree!(own, other),
            (EcPrivateKey::P521(own), EcPublicKey::P521(other)) => agree!(own, other),
            _ => Err(Error::InvalidAccess("the two keys are of different curves")),
        }
    }
}

impl EcPublicKey {
    pub fn curve(&self) -> Curve {
        match self {
            EcPublicKey::P256(_) => Curve::P256,
            EcPublicKey::P384(_) => Curve::P384,
            EcPublicKey::P521(_) => Curve::P521,
        }
    }

    /// From a point as SEC 1 writes it, compressed or not.
    pub fn from_raw(curve: Curve, bytes: &[u8]) -> Result<EcPublicKey, Error> {
        make_key!(EcPublicKey, PublicKey, curve, from_sec1_bytes(bytes))
            .map_err(|_| Error::Data("the bytes are no point of that curve"))
    }

    /// The point, not compressed.
    pub fn to_raw(&self) -> Vec<u8> {
        with_key!(EcPublicKey::self, key, C => key.to_sec1_point(false).as_bytes().to_vec())
    }

    pub fn from_coordinates(curve: Curve, x: &[u8], y: &[u8]) -> Result<EcPublicKey, Error> {
        if x.len() != curve.coordinate_bytes() || y.len() != curve.coordinate_bytes() {
            return Err(Error::Data("coordinates of that curve have another length"));
        }
        // The mark of a point that is not compressed.
        let point = [&[4], x, y].concat();
        EcPublicKey::from_raw(curve, &point)
    }

    pub fn coordinates(&self) -> (Vec<u8>, Vec<u8>) {
        with_key!(EcPublicKey::self, key, C => match key.to_sec1_point(false).coordinates() {
            Coordinates::Uncompressed { x, y } => (x.to_vec(), y.to_vec()),
            _ => unreachable!("a public key is a point with coordinates, and was not compressed"),
        })
    }

    pub fn from_spki(curve: Curve, der: &[u8]) -> Result<EcPublicKey, Error> {
        make_key!(EcPublicKey, PublicKey, curve, from_public_key_der(der))
            .map_err(|_| Error::Data("the bytes are no public key of that curve in SPKI"))
    }

    pub fn to_spki(&self) -> Vec<u8> {
        let document = with_key!(EcPublicKey::self, key, C => key.to_public_key_der());
        document.expect("a key is not too long for DER").as_bytes().to_vec()
    }

    /// Whether `signature` is one of `message` by ECDSA.
    pub fn verify(&self, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        let digest = hash.digest(message);
        with_key!(EcPublicKey::self, key, C => {
            ecdsa::Signature::<C>::from_slice(signature)
                .and_then(|signature| verify_prehashed::<C>(&key.to_projective(), &digest, &signature))
                .is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6979, appendix A.2.5 to A.2.7, message "sample": curve, private number, hash, signature.
    const SIGNATURES: [(Curve, &str, Hash, &str); 6] = [
        (
            Curve::P256,
            "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721",
            Hash::Sha1,
            "61340c88c3aaebeb4f6d667f672ca9759a6ccaa9fa8811313039ee4a35471d32\
             6d7f147dac089441bb2e2fe8f7a3fa264b9c475098fdcf6e00d7c996e1b8b7eb",
        ),
        (
            Curve::P256,
            "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721",
            Hash::Sha256,
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
             f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
        ),
        (
            Curve::P256,
            "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721",
            Hash::Sha512,
            "8496a60b5e9b47c825488827e0495b0e3fa109ec4568fd3f8d1097678eb97f00\
             2362ab1adbe2b8adf9cb9edab740ea6049c028114f2460f96554f61fae3302fe",
        ),
        (
            Curve::P384,
            "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d8\
             96d5724e4c70a825f872c9ea60d2edf5",
            Hash::Sha384,
            "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c\
             81a648152e44acf96e36dd1e80fabe46\
             99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94f\
             a329c145786e679e7b82c71a38628ac8",
        ),
        (
            Curve::P521,
            "00fad06daa62ba3b25d2fb40133da757205de67f5bb0018fee8c86e1b68c7e75\
             caa896eb32f1f47c70855836a6d16fcc1466f6d8fbec67db89ec0c08b0e996b83538",
            Hash::Sha1,
            "00343b6ec45728975ea5cba6659bbb6062a5ff89eea58be3c80b619f322c8791\
             0fe092f7d45bb0f8eee01ed3f20babec079d202ae677b243ab40b5431d497c55d75d\
             00e7b0e675a9b24413d448b8cc119d2bf7b2d2df032741c096634d6d65d0dbe3d569\
             4625fb9e8104d3b842c1b0e2d0b98bea19341e8676aef66ae4eba3d5475d5d16",
        ),
        (
            Curve::P521,
            "00fad06daa62ba3b25d2fb40133da757205de67f5bb0018fee8c86e1b68c7e75\
             caa896eb32f1f47c70855836a6d16fcc1466f6d8fbec67db89ec0c08b0e996b83538",
            Hash::Sha512,
            "00c328fafcbd79dd77850370c46325d987cb525569fb63c5d3bc53950e6d4c5f\
             174e25a1ee9017b5d450606add152b534931d7d4e8455cc91f9b15bf05ec36e377fa\
             00617cce7cf5064806c467f678d3b4080d6f1cc50af26ca209417308281b68af28\
             2623eaa63e5b5c0723d8b8c37ff0777b1a20f8ccb1dccc43997f1ee0e44da4a67a",
        ),
    ];

    #[test]
    fn without_entropy_signatures_are_those_of_rfc_6979() {
        for (curve, number, hash, expected) in SIGNATURES {
            let number = hex::decode(number).expect("hexadecimal");
            let key = EcPrivateKey::from_bytes(curve, &number).expect("a key");
            let signature = key.sign_with(hash, b"sample", &[]);
            assert_eq!(hex::encode(&signature), expected, "{curve:?} {hash:?}");
            assert!(key.public_key().verify(hash, b"sample", &signature));
        }
    }

    #[test]
    fn with_entropy_they_differ_and_verify() {
        for (curve, number, hash, expected) in SIGNATURES {
            let key =
                EcPrivateKey::from_bytes(curve, &hex::decode(number).expect("hexadecimal")).expect("a key");
            let signature = key.sign_with(hash, b"sample", &[7; 32]);
            assert_ne!(hex::encode(&signature), expected);
            assert!(key.public_key().verify(hash, b"sample", &signature));
        }
    }
}
