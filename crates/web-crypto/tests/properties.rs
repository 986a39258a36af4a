//! What holds for all messages, keys and parameters.

use proptest::collection::vec;
use proptest::prelude::*;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use web_crypto::{
    AesKey, AesLength, Answer, CounterBits, Curve, EcPrivateKey, Ed25519PrivateKey, Gcm, Hash, Key,
    KeyFormat, KeyKind, KeyType, Request, RsaPrivateKey, SecretKey, TagLength, X25519PrivateKey,
};

fn random(seed: u64) -> ChaCha12Rng {
    ChaCha12Rng::seed_from_u64(seed)
}

fn aes() -> impl Strategy<Value = AesKey> {
    let length = prop_oneof![Just(AesLength::Bits128), Just(AesLength::Bits192), Just(AesLength::Bits256)];
    (length, any::<u64>()).prop_map(|(length, seed)| AesKey::generate(length, &mut random(seed)))
}

fn hash() -> impl Strategy<Value = Hash> {
    prop::sample::select(Hash::ALL.to_vec())
}

fn curve() -> impl Strategy<Value = Curve> {
    prop::sample::select(Curve::ALL.to_vec())
}

/// Made once: a key for RSA takes longer than all the rest.
fn rsa() -> &'static RsaPrivateKey {
    static KEY: std::sync::OnceLock<RsaPrivateKey> = std::sync::OnceLock::new();
    KEY.get_or_init(|| RsaPrivateKey::generate(1024, &[1, 0, 1], &mut random(1), &|| false).expect("a key"))
}

/// A key of every kind.
fn key() -> impl Strategy<Value = (KeyKind, Key)> {
    (0..11, curve(), any::<u64>(), vec(any::<u8>(), 0..100)).prop_map(|(which, curve, seed, bytes)| {
        let random = &mut random(seed);
        let elliptic = EcPrivateKey::generate(curve, random);
        let ed25519 = Ed25519PrivateKey::generate(random);
        let x25519 = X25519PrivateKey::generate(random);
        match which {
            0 => (KeyKind::Aes, Key::Aes(AesKey::generate(AesLength::Bits192, random))),
            1 => (KeyKind::Secret, Key::Secret(SecretKey::new(bytes))),
            2 => (KeyKind::Rsa, Key::RsaPublic(rsa().public_key())),
            3 => (KeyKind::Rsa, Key::RsaPrivate(rsa().clone())),
            4 => (KeyKind::Ec(curve), Key::EcPublic(elliptic.public_key())),
            5 | 6 => (KeyKind::Ec(curve), Key::EcPrivate(elliptic)),
            7 => (KeyKind::Ed25519, Key::Ed25519Public(ed25519.public_key())),
            8 => (KeyKind::Ed25519, Key::Ed25519Private(ed25519)),
            9 => (KeyKind::X25519, Key::X25519Public(x25519.public_key())),
            _ => (KeyKind::X25519, Key::X25519Private(x25519)),
        }
    })
}

const FORMATS: [KeyFormat; 4] = [KeyFormat::Raw, KeyFormat::Pkcs8, KeyFormat::Spki, KeyFormat::Jwk];

/// The bytes with one bit turned.
fn with_bit_turned(bytes: &[u8], at: prop::sample::Index) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let bit = at.index(bytes.len() * 8);
    changed[bit / 8] ^= 1 << (bit % 8);
    changed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cbc_decrypts_what_it_has_encrypted(key in aes(), iv: [u8; 16], message in vec(any::<u8>(), 0..200)) {
        let encrypted = key.encrypt_cbc(&iv, &message);
        prop_assert_eq!(encrypted.len(), (message.len() / 16 + 1) * 16);
        prop_assert_eq!(key.decrypt_cbc(&iv, &encrypted), Ok(message));
    }

    #[test]
    fn ctr_is_its_own_inverse_and_begins_again_at_zero(
        key in aes(), fixed: u128, bits in 4..=128u32, before_zero in 0..16u128, message in vec(any::<u8>(), 0..256),
    ) {
        let mask = u128::MAX >> (128 - bits);
        let first = (fixed & !mask) | (mask - before_zero);
        let bits = CounterBits::new(bits).expect("a length");
        let encrypted = key.apply_ctr(&first.to_be_bytes(), bits, &message).expect("enough blocks");
        // Block by block, with counters that are computed here.
        for (index, part) in message.chunks(16).enumerate() {
            let counter = (first & !mask) | (first.wrapping_add(index as u128) & mask);
            let one = key.apply_ctr(&counter.to_be_bytes(), bits, part).expect("one block");
            prop_assert_eq!(&encrypted[index * 16..][..part.len()], &one[..]);
        }
        prop_assert_eq!(key.apply_ctr(&first.to_be_bytes(), bits, &encrypted), Ok(message));
    }

    #[test]
    fn gcm_decrypts_what_it_has_encrypted_and_nothing_else(
        key in aes(),
        iv in vec(any::<u8>(), 1..80),
        additional in vec(any::<u8>(), 1..40),
        message in vec(any::<u8>(), 0..200),
        tag_bits in prop::sample::select(vec![64, 96, 104, 112, 120, 128]),
        at: prop::sample::Index,
    ) {
        let tag = TagLength::from_bits(tag_bits).expect("a length");
        let parameters = Gcm { iv: &iv, additional_data: &additional, tag };
        let encrypted = key.encrypt_gcm(&parameters, &message).expect("encrypted");
        prop_assert_eq!(encrypted.len(), message.len() + tag_bits as usize / 8);
        prop_assert_eq!(key.decrypt_gcm(&parameters, &encrypted), Ok(message));
        prop_assert!(key.decrypt_gcm(&parameters, &with_bit_turned(&encrypted, at)).is_err());
        let other_data = with_bit_turned(&additional, at);
        let other_iv = with_bit_turned(&iv, at);
        for other in [Gcm { additional_data: &other_data, ..parameters }, Gcm { iv: &other_iv, ..parameters }] {
            prop_assert!(key.decrypt_gcm(&other, &encrypted).is_err());
        }
    }

    #[test]
    fn a_wrapped_key_comes_back_unless_it_was_changed(
        key in aes(), words in vec(any::<u64>(), 2..20), at: prop::sample::Index,
    ) {
        let data: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let wrapped = key.wrap(&data).expect("wrapped");
        prop_assert_eq!(wrapped.len(), data.len() + 8);
        prop_assert!(key.unwrap(&with_bit_turned(&wrapped, at)).is_err());
        prop_assert_eq!(key.unwrap(&wrapped), Ok(data));
    }

    #[test]
    fn a_hmac_verifies_unless_it_was_changed(
        bytes in vec(any::<u8>(), 0..200), hash in hash(), message in vec(any::<u8>(), 0..200), at: prop::sample::Index,
    ) {
        let key = SecretKey::new(bytes);
        let signature = key.sign(hash, &message);
        prop_assert!(key.verify(hash, &message, &signature));
        prop_assert!(!key.verify(hash, &message, &with_bit_turned(&signature, at)));
    }

    #[test]
    fn a_signature_by_ecdsa_verifies_unless_something_was_changed(
        curve in curve(), hash in hash(), message in vec(any::<u8>(), 1..100), seed: u64, at: prop::sample::Index,
    ) {
        let random = &mut random(seed);
        let key = EcPrivateKey::generate(curve, random);
        let signature = key.sign(hash, &message, random);
        prop_assert_eq!(signature.len(), 2 * curve.coordinate_bytes());
        prop_assert!(key.public_key().verify(hash, &message, &signature));
        prop_assert!(!key.public_key().verify(hash, &message, &with_bit_turned(&signature, at)));
        prop_assert!(!key.public_key().verify(hash, &with_bit_turned(&message, at), &signature));
        prop_assert_ne!(key.sign(hash, &message, random), signature);
    }

    #[test]
    fn a_signature_by_ed25519_verifies_unless_something_was_changed(
        message in vec(any::<u8>(), 1..100), seed: u64, at: prop::sample::Index,
    ) {
        let key = Ed25519PrivateKey::generate(&mut random(seed));
        let signature = key.sign(&message);
        prop_assert!(key.public_key().verify(&message, &signature));
        prop_assert!(!key.public_key().verify(&message, &with_bit_turned(&signature, at)));
        prop_assert!(!key.public_key().verify(&with_bit_turned(&message, at), &signature));
    }

    #[test]
    fn two_who_agree_know_the_same(curve in curve(), seed: u64) {
        let random = &mut random(seed);
        let (one, other) = (EcPrivateKey::generate(curve, random), EcPrivateKey::generate(curve, random));
        prop_assert_eq!(one.agree(&other.public_key()), other.agree(&one.public_key()));
        let (one, other) = (X25519PrivateKey::generate(random), X25519PrivateKey::generate(random));
        prop_assert_eq!(one.agree(&other.public_key()), other.agree(&one.public_key()));
    }

    #[test]
    fn rsa_verifies_its_signatures_and_decrypts(
        hash in hash(), salt_bytes in 0..62usize, message in vec(any::<u8>(), 1..60), label in vec(any::<u8>(), 0..20),
        seed: u64, at: prop::sample::Index,
    ) {
        let (key, random) = (rsa(), &mut random(seed));
        let public = key.public_key();
        let signature = key.sign_pkcs1(hash, &message, random).expect("signed");
        prop_assert!(public.verify_pkcs1(hash, &message, &signature));
        prop_assert!(!public.verify_pkcs1(hash, &message, &with_bit_turned(&signature, at)));
        prop_assert_eq!(key.sign_pkcs1(hash, &message, random), Ok(signature));
        let signature = key.sign_pss(hash, salt_bytes, &message, random).expect("signed");
        prop_assert!(public.verify_pss(hash, salt_bytes, &message, &signature));
        prop_assert!(!public.verify_pss(hash, salt_bytes + 1, &message, &signature));
        prop_assert!(!public.verify_pss(hash, salt_bytes, &with_bit_turned(&message, at), &signature));
        // With longer hashes, less than these messages fits.
        if let Ok(encrypted) = public.encrypt_oaep(hash, &label, &message, random) {
            prop_assert!(key.decrypt_oaep(hash, b"another label", &encrypted, random).is_err());
            prop_assert_eq!(key.decrypt_oaep(hash, &label, &encrypted, random), Ok(message));
        }
    }

    #[test]
    fn a_key_is_the_same_after_every_format_it_has((kind, key) in key()) {
        let mut formats = 0;
        for format in FORMATS {
            if let Ok(bytes) = key.export(format) {
                formats += 1;
                prop_assert_eq!(Key::import(kind, format, &bytes), Ok(key.clone()));
            }
        }
        let of_rsa = kind == KeyKind::Rsa;
        let expected = match key.key_type() {
            KeyType::Public if !of_rsa => 3,
            _ => 2,
        };
        prop_assert_eq!(formats, expected);
    }

    #[test]
    fn a_key_is_the_same_after_it_was_kept((_, key) in key()) {
        let kept = serde_json::to_string(&key).expect("text");
        let back: Key = serde_json::from_str(&kept).expect("a key");
        prop_assert_eq!(back, key);
    }

    #[test]
    fn a_key_that_was_changed_is_another_or_refused((kind, key) in key(), at: prop::sample::Index) {
        for format in FORMATS {
            let Ok(bytes) = key.export(format) else { continue };
            if bytes.is_empty() {
                continue;
            }
            if let Ok(other) = Key::import(kind, format, &with_bit_turned(&bytes, at)) {
                // What it says is still a key, of which all is used that was understood.
                prop_assert!(other.export(format).is_ok());
            }
        }
    }

    #[test]
    fn bytes_that_are_no_key_are_refused(bytes in vec(any::<u8>(), 0..300), curve in curve()) {
        for kind in [KeyKind::Rsa, KeyKind::Ec(curve), KeyKind::Ed25519, KeyKind::X25519] {
            for format in [KeyFormat::Pkcs8, KeyFormat::Spki, KeyFormat::Jwk] {
                prop_assert_eq!(Key::import(kind, format, &bytes).map_err(|error| error.name()), Err("DataError"));
            }
        }
    }

    #[test]
    fn the_answer_to_a_request_is_that_of_the_method(message in vec(any::<u8>(), 0..100), hash in hash()) {
        let name = serde_json::to_string(&hash).expect("text");
        let text = format!(r#"{{ "operation": "digest", "hash": {name} }}"#);
        let request = Request::parse(text.as_bytes(), message.clone()).expect("a request");
        prop_assert!(!request.operation.is_randomised());
        prop_assert_eq!(request.run(&mut random(0), &|| false), Ok(Answer::Bytes(hash.digest(&message))));
    }
}
