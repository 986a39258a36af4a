//! Keys as JSON Web Keys ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517), [RFC 7518](https://www.rfc-editor.org/rfc/rfc7518),
//! [RFC 8037](https://www.rfc-editor.org/rfc/rfc8037)): what they say about the key itself. What they say about its use
//! (`use`, `key_ops`, `ext`, `alg`) is for whoever knows what it shall be used for.

use serde::{Deserialize, Serialize};

use crate::elliptic::{Curve, EcPrivateKey, EcPublicKey};
use crate::rsa_key::{RsaPrivateKey, RsaPrivateNumbers, RsaPublicKey};
use crate::text::Base64Url;
use crate::{
    AesKey, Ed25519PrivateKey, Ed25519PublicKey, Error, Key, KeyKind, SecretKey, X25519PrivateKey,
    X25519PublicKey,
};

/// A JSON Web Key. Members that are not here are passed over when it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kty")]
pub enum Jwk {
    #[serde(rename = "oct")]
    Secret { k: Base64Url },
    #[serde(rename = "EC")]
    Elliptic {
        crv: String,
        x: Base64Url,
        y: Base64Url,
        #[serde(skip_serializing_if = "Option::is_none")]
        d: Option<Base64Url>,
    },
    #[serde(rename = "OKP")]
    Curve25519 {
        crv: String,
        x: Base64Url,
        #[serde(skip_serializing_if = "Option::is_none")]
        d: Option<Base64Url>,
    },
    #[serde(rename = "RSA")]
    Rsa {
        n: Base64Url,
        e: Base64Url,
        #[serde(flatten)]
        private: RsaMembers,
    },
}

/// What a private key for RSA has more than a public one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RsaMembers {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub d: Option<Base64Url>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p: Option<Base64Url>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q: Option<Base64Url>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dp: Option<Base64Url>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dq: Option<Base64Url>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qi: Option<Base64Url>,
    /// Further primes.
    #[serde(skip_serializing)]
    pub oth: Option<serde_json::Value>,
}

impl Jwk {
    /// From JSON text.
    pub fn parse(text: &[u8]) -> Result<Jwk, Error> {
        serde_json::from_slice(text)
            .map_err(|_| Error::Data("the JSON Web Key lacks a member, or one is malformed"))
    }

    /// The key, which must be one of `kind`.
    pub fn to_key(&self, kind: KeyKind) -> Result<Key, Error> {
        match (kind, self) {
            (KeyKind::Aes, Jwk::Secret { k }) => AesKey::from_bytes(&k.0).map(Key::Aes),
            (KeyKind::Secret, Jwk::Secret { k }) => Ok(Key::Secret(SecretKey::new(k.0.clone()))),
            (KeyKind::Ec(curve), Jwk::Elliptic { crv, x, y, d }) => elliptic(curve, crv, x, y, d.as_ref()),
            (KeyKind::Ed25519, Jwk::Curve25519 { crv, x, d }) if crv == "Ed25519" => {
                let public = Ed25519PublicKey::from_bytes(&x.0)?;
                let Some(d) = d else { return Ok(Key::Ed25519Public(public)) };
                let private = Ed25519PrivateKey::from_bytes(&d.0)?;
                belong_together(private.public_key() == public)?;
                Ok(Key::Ed25519Private(private))
            }
            (KeyKind::X25519, Jwk::Curve25519 { crv, x, d }) if crv == "X25519" => {
                let public = X25519PublicKey::from_bytes(&x.0)?;
                let Some(d) = d else { return Ok(Key::X25519Public(public)) };
                let private = X25519PrivateKey::from_bytes(&d.0)?;
                belong_together(private.public_key() == public)?;
                Ok(Key::X25519Private(private))
            }
            (KeyKind::Rsa, Jwk::Rsa { n, e, private }) => rsa(n, e, private),
            _ => Err(Error::Data("the JSON Web Key is one of another kind or curve")),
        }
    }
}

impl From<&Key> for Jwk {
    fn from(key: &Key) -> Jwk {
        let member = |bytes: &[u8]| Base64Url(bytes.to_vec());
        let of_curve25519 = |curve: &str, x: &[u8; 32], d: Option<&[u8; 32]>| Jwk::Curve25519 {
            crv: curve.to_string(),
            x: member(x),
            d: d.map(|d| member(d)),
        };
        let elliptic = |public: &EcPublicKey, d: Option<Vec<u8>>| {
            let (x, y) = public.coordinates();
            let crv = public.curve().name().to_string();
            Jwk::Elliptic { crv, x: Base64Url(x), y: Base64Url(y), d: d.map(Base64Url) }
        };
        let rsa = |public: &RsaPublicKey, private| Jwk::Rsa {
            n: Base64Url(public.modulus()),
            e: Base64Url(public.exponent()),
            private,
        };
        match key {
            Key::Aes(key) => Jwk::Secret { k: member(key.as_bytes()) },
            Key::Secret(key) => Jwk::Secret { k: member(key.as_bytes()) },
            Key::RsaPublic(key) => rsa(key, RsaMembers::default()),
            Key::RsaPrivate(key) => rsa(&key.public_key(), members(key)),
            Key::EcPublic(key) => elliptic(key, None),
            Key::EcPrivate(key) => elliptic(&key.public_key(), Some(key.to_bytes())),
            Key::Ed25519Public(key) => of_curve25519("Ed25519", key.as_bytes(), None),
            Key::Ed25519Private(key) => {
                of_curve25519("Ed25519", key.public_key().as_bytes(), Some(key.as_bytes()))
            }
            Key::X25519Public(key) => of_curve25519("X25519", key.as_bytes(), None),
            Key::X25519Private(key) => {
                of_curve25519("X25519", key.public_key().as_bytes(), Some(key.as_bytes()))
            }
        }
    }
}

fn belong_together(they_do: bool) -> Result<(), Error> {
    match they_do {
        true => Ok(()),
        false => {
            Err(Error::Data("the private and the public part of the JSON Web Key don't belong together"))
        }
    }
}

fn elliptic(
    curve: Curve,
    name: &str,
    x: &Base64Url,
    y: &Base64Url,
    d: Option<&Base64Url>,
) -> Result<Key, Error> {
    if name != curve.name() {
        return Err(Error::Data("the JSON Web Key is one of another curve"));
    }
    let public = EcPublicKey::from_coordinates(curve, &x.0, &y.0)?;
    let Some(d) = d else { return Ok(Key::EcPublic(public)) };
    let private = EcPrivateKey::from_bytes(curve, &d.0)?;
    belong_together(private.public_key() == public)?;
    Ok(Key::EcPrivate(private))
}

fn rsa(n: &Base64Url, e: &Base64Url, private: &RsaMembers) -> Result<Key, Error> {
    let RsaMembers { d, p, q, dp, dq, qi, oth } = private;
    if oth.is_some() {
        return Err(Error::NotSupported("keys for RSA with more than two primes are not supported"));
    }
    let Some(d) = d else { return RsaPublicKey::from_numbers(&n.0, &e.0).map(Key::RsaPublic) };
    // The primes could be found without being told, but whoever writes one of these members writes all.
    let (Some(p), Some(q), Some(_), Some(_), Some(_)) = (p, q, dp, dq, qi) else {
        return Err(Error::Data("a private JSON Web Key for RSA needs p, q, dp, dq and qi"));
    };
    let numbers = RsaPrivateNumbers {
        modulus: &n.0,
        public_exponent: &e.0,
        private_exponent: &d.0,
        primes: [&p.0, &q.0],
    };
    RsaPrivateKey::from_numbers(&numbers).map(Key::RsaPrivate)
}

fn members(key: &RsaPrivateKey) -> RsaMembers {
    let [p, q] = key.primes();
    let rest = key.crt_numbers();
    let [dp, dq] = rest.exponents;
    let member = |bytes| Some(Base64Url(bytes));
    RsaMembers {
        d: member(key.private_exponent()),
        p: member(p),
        q: member(q),
        dp: member(dp),
        dq: member(dq),
        qi: member(rest.coefficient),
        oth: None,
    }
}
