//! What is refused, by which name, and before it costs anything.

use std::cell::Cell;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};
use web_crypto::{
    AesKey, Answer, CounterBits, Curve, EcPrivateKey, Error, Hash, Hkdf, Key, KeyFormat, KeyKind, Pbkdf2,
    Request, RsaPrivateKey, RsaPublicKey, SecretKey, TagLength, limits,
};

fn random() -> ChaCha12Rng {
    ChaCha12Rng::seed_from_u64(7)
}

fn ask(operation: Value, data: &[u8]) -> Result<Answer, Error> {
    let request = Request::parse(operation.to_string().as_bytes(), data.to_vec()).expect("a request");
    request.run(&mut random(), &|| false)
}

/// The key of a described answer, as JSON.
fn key(answer: &Answer, member: &str) -> Value {
    let described: Value = serde_json::from_str(&answer.to_text()).expect("JSON");
    match member {
        "" => described["key"].clone(),
        member => described[member]["key"].clone(),
    }
}

fn name<T: std::fmt::Debug>(refused: Result<T, Error>) -> &'static str {
    refused.expect_err("refused").name()
}

#[test]
fn moduli_out_of_bounds_are_refused() {
    let odd = |bytes: usize| {
        let mut modulus = vec![0xff; bytes];
        modulus[0] = 0x80;
        modulus
    };
    let too_small = limits::RSA_MODULUS_BITS_MIN as usize / 8 - 1;
    let too_large = limits::RSA_MODULUS_BITS_MAX as usize / 8 + 1;
    for bytes in [0, 1, too_small, too_large, 1 << 20] {
        let modulus = if bytes == 0 { Vec::new() } else { odd(bytes) };
        assert_eq!(name(RsaPublicKey::from_numbers(&modulus, &[1, 0, 1])), "DataError", "{bytes} bytes");
    }
    for bytes in [too_small + 1, too_large - 1] {
        let key = RsaPublicKey::from_numbers(&odd(bytes), &[1, 0, 1]).expect("a key");
        assert_eq!(key.modulus_bits() as usize, bytes * 8);
    }
    for bits in [0, 512, limits::RSA_MODULUS_BITS_MIN - 1, limits::RSA_GENERATED_BITS_MAX + 1, u32::MAX] {
        assert_eq!(
            name(RsaPrivateKey::generate(bits, &[1, 0, 1], &mut random(), &|| false)),
            "OperationError"
        );
    }
    for exponent in [&[][..], &[0], &[1], &[2], &[4], &[1, 0, 3], &[0xff; 64]] {
        assert_eq!(name(RsaPrivateKey::generate(1024, exponent, &mut random(), &|| false)), "OperationError");
    }
}

#[test]
fn public_exponents_that_are_none_are_refused() {
    let modulus = vec![0xff; 256];
    for exponent in [&[][..], &[0], &[1], &[2], &[1, 0], &[0xff; 9], &[0xff; 256], &[0xff; 300]] {
        assert_eq!(name(RsaPublicKey::from_numbers(&modulus, exponent)), "DataError", "{exponent:?}");
    }
}

#[test]
fn a_salt_that_does_not_fit_is_refused_before_it_is_drawn() {
    let key = RsaPrivateKey::generate(1024, &[3], &mut random(), &|| false).expect("a key");
    assert!(key.sign_pss(Hash::Sha256, 128 - 32 - 2, b"", &mut random()).is_ok());
    for salt_bytes in [128 - 32 - 1, 128, 1 << 20, usize::MAX] {
        assert_eq!(name(key.sign_pss(Hash::Sha256, salt_bytes, b"", &mut random())), "OperationError");
    }
    assert!(!key.public_key().verify_pss(Hash::Sha256, usize::MAX, b"", &[1; 128]));
}

#[test]
fn derivations_of_too_much_or_nothing_are_refused() {
    let secret = SecretKey::new(b"secret".to_vec());
    let pbkdf2 = |iterations, bytes| {
        Pbkdf2 { hash: Hash::Sha256, salt: b"", iterations }.derive(&secret, bytes, &|| false)
    };
    assert_eq!(name(pbkdf2(0, 32)), "OperationError");
    assert_eq!(name(pbkdf2(1, limits::DERIVED_BYTES_MAX + 1)), "OperationError");
    assert_eq!(name(pbkdf2(1, usize::MAX)), "OperationError");
    assert!(pbkdf2(u32::MAX, 0).is_ok_and(|derived| derived.is_empty()));
    let hkdf = |bytes| Hkdf { hash: Hash::Sha256, salt: b"", info: b"" }.derive(&secret, bytes);
    assert_eq!(hkdf(255 * 32).map(|derived| derived.len()), Ok(255 * 32));
    assert_eq!(name(hkdf(255 * 32 + 1)), "OperationError");
    assert_eq!(name(hkdf(usize::MAX)), "OperationError");
    assert_eq!(name(SecretKey::generate(usize::MAX, &mut random())), "OperationError");
    assert_eq!(name(SecretKey::generate(0, &mut random())), "OperationError");
}

#[test]
fn parameters_of_aes_are_checked() {
    for length in [0, 1, 15, 17, 31, 33, 64] {
        assert_eq!(name(AesKey::from_bytes(&vec![0; length])), "DataError");
    }
    for bits in [0, 129, u32::MAX] {
        assert_eq!(name(CounterBits::new(bits)), "OperationError");
    }
    for bits in [0, 8, 33, 72, 127, 136, u32::MAX] {
        assert_eq!(name(TagLength::from_bits(bits)), "OperationError");
    }
    let key = AesKey::from_bytes(&[1; 16]).expect("a key");
    let two_blocks = CounterBits::new(1).expect("a length");
    assert!(key.apply_ctr(&[0xff; 16], two_blocks, &[0; 32]).is_ok());
    assert_eq!(name(key.apply_ctr(&[0; 16], two_blocks, &[0; 33])), "OperationError");
    for length in [0, 8, 15, 17, 20] {
        assert_eq!(name(key.wrap(&vec![0; length])), "OperationError");
        assert_eq!(name(key.unwrap(&vec![0; length])), "OperationError");
    }
    assert_eq!(name(key.decrypt_cbc(&[0; 16], &[])), "OperationError");
}

#[test]
fn keys_of_one_kind_are_none_of_another() {
    let hmac = json!({ "name": "HMAC", "hash": "SHA-256" });
    let ecdsa = json!({ "name": "ECDSA", "hash": "SHA-256" });
    let pair = ask(json!({ "operation": "generate-ec", "curve": "P-256" }), &[]).expect("keys");
    let (public, private) = (key(&pair, "public"), key(&pair, "private"));
    let secret = key(&ask(json!({ "operation": "generate-secret", "bytes": 32 }), &[]).expect("a key"), "");
    let sign = |key: &Value, scheme: &Value| {
        ask(json!({ "operation": "sign", "key": key, "scheme": scheme }), b"message")
    };
    assert!(sign(&private, &ecdsa).is_ok() && sign(&secret, &hmac).is_ok());
    for (key, scheme) in [(&public, &ecdsa), (&private, &hmac), (&secret, &ecdsa)] {
        assert_eq!(name(sign(key, scheme)), "InvalidAccessError");
    }
    let verify = json!({ "operation": "verify", "key": private, "scheme": ecdsa, "signature": "" });
    assert_eq!(name(ask(verify, b"message")), "InvalidAccessError");
    let encrypt = json!({ "operation": "encrypt", "key": secret, "cipher": { "name": "AES-KW" } });
    assert_eq!(name(ask(encrypt, b"message")), "InvalidAccessError");
    let agreement = json!({ "name": "Agreement", "public": private });
    assert_eq!(
        name(ask(json!({ "operation": "derive", "key": private, "derivation": agreement }), b"")),
        "InvalidAccessError"
    );
    let other = EcPrivateKey::generate(Curve::P384, &mut random());
    let own = EcPrivateKey::generate(Curve::P521, &mut random());
    assert_eq!(name(own.agree(&other.public_key())), "InvalidAccessError");
}

#[test]
fn formats_that_a_key_does_not_have_are_refused() {
    let secret = Key::Secret(SecretKey::new(vec![1, 2, 3]));
    assert_eq!(name(secret.export(KeyFormat::Spki)), "NotSupportedError");
    assert_eq!(name(Key::import(KeyKind::Aes, KeyFormat::Pkcs8, &[0; 16])), "NotSupportedError");
    assert_eq!(name(Key::import(KeyKind::Rsa, KeyFormat::Raw, &[0; 16])), "NotSupportedError");
    let private = EcPrivateKey::generate(Curve::P256, &mut random());
    assert_eq!(name(Key::EcPublic(private.public_key()).export(KeyFormat::Pkcs8)), "InvalidAccessError");
    assert_eq!(name(Key::EcPrivate(private).export(KeyFormat::Raw)), "InvalidAccessError");
}

/// True from the given question on.
fn over_at(question: u32) -> impl Fn() -> bool {
    let asked = Cell::new(0);
    move || {
        asked.set(asked.get() + 1);
        assert!(asked.get() <= question, "it goes on after its time");
        asked.get() == question
    }
}

#[test]
fn what_takes_long_ends_when_it_is_told_to() {
    let secret = SecretKey::new(b"secret".to_vec());
    for hash in Hash::ALL {
        for iterations in [1, 10, u32::MAX] {
            let pbkdf2 = Pbkdf2 { hash, salt: b"salt", iterations };
            assert_eq!(pbkdf2.derive(&secret, 200, &over_at(3)), Err(Error::OutOfTime));
        }
    }
    for question in [1, 5, 50] {
        let generated = RsaPrivateKey::generate(4096, &[1, 0, 1], &mut random(), &over_at(question));
        assert_eq!(generated, Err(Error::OutOfTime));
    }
}

/// What says that it is not randomised answers the same whatever the randomness, and the other way round.
#[test]
fn only_what_says_so_is_randomised() {
    let pair =
        ask(json!({ "operation": "generate-rsa", "modulusBits": 1024, "publicExponent": "Aw==" }), &[]);
    let pair = pair.expect("keys");
    let (rsa, rsa_public) = (key(&pair, "private"), key(&pair, "public"));
    let pair = ask(json!({ "operation": "generate-ed25519" }), &[]).expect("keys");
    let ed25519 = key(&pair, "private");
    let pair = ask(json!({ "operation": "generate-ec", "curve": "P-256" }), &[]).expect("keys");
    let ec = key(&pair, "private");
    let aes = json!({ "kind": "aes", "bytes": "AAAAAAAAAAAAAAAAAAAAAA==" });
    let gcm = json!({ "name": "AES-GCM", "iv": "AAAA", "additionalData": "", "tagBits": 128 });
    let sign = |key: &Value, scheme: Value| json!({ "operation": "sign", "key": key, "scheme": scheme });
    let operations = [
        json!({ "operation": "generate-aes", "bits": 128 }),
        json!({ "operation": "generate-secret", "bytes": 16 }),
        json!({ "operation": "generate-ec", "curve": "P-384" }),
        json!({ "operation": "generate-ed25519" }),
        json!({ "operation": "generate-x25519" }),
        json!({ "operation": "generate-rsa", "modulusBits": 1024, "publicExponent": "AQAB" }),
        sign(&rsa, json!({ "name": "RSASSA-PKCS1-v1_5", "hash": "SHA-256" })),
        sign(&rsa, json!({ "name": "RSA-PSS", "hash": "SHA-256", "saltBytes": 32 })),
        sign(&ec, json!({ "name": "ECDSA", "hash": "SHA-256" })),
        sign(&ed25519, json!({ "name": "Ed25519" })),
        json!({ "operation": "encrypt", "key": aes, "cipher": gcm }),
        json!({ "operation": "encrypt", "key": rsa_public, "cipher": { "name": "RSA-OAEP", "hash": "SHA-1", "label": "" } }),
        json!({ "operation": "export", "key": rsa, "format": "pkcs8" }),
    ];
    for operation in operations {
        let request =
            Request::parse(operation.to_string().as_bytes(), b"message".to_vec()).expect("a request");
        let answers = [1, 2]
            .map(|seed| request.run(&mut ChaCha12Rng::seed_from_u64(seed), &|| false).expect("an answer"));
        assert_eq!(answers[0] != answers[1], request.operation.is_randomised(), "{operation}");
    }
}

#[test]
fn what_is_no_request_is_not_one() {
    for text in
        ["", "{}", r#"{"operation":"digest"}"#, r#"{"operation":"digest","hash":"MD5"}"#, "[]", "\u{0}"]
    {
        assert!(Request::parse(text.as_bytes(), Vec::new()).is_err(), "{text}");
    }
    // A key that was kept wrongly.
    let key = json!({ "kind": "aes", "bytes": "AAAA" });
    let operation = json!({ "operation": "export", "key": key, "format": "raw" }).to_string();
    assert!(Request::parse(operation.as_bytes(), Vec::new()).is_err());
}
