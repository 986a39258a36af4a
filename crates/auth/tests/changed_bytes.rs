//! A token of which anything is changed does not hold.

mod common;

use auth::{AuthLimits, Token};
use common::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// What a base64url text is made of, and what ends one.
const CHARACTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \0";

#[test]
fn a_token_with_another_byte_does_not_hold() {
    let mut random = ChaCha12Rng::seed_from_u64(seed("changed_bytes"));
    let fixtures = Fixtures::read();
    // As permissive as can be: every algorithm, every audience, one key of each kind.
    let keys = fixtures.keys("oneOfEachWithoutId");
    let mut reached_the_signature = 0;
    for name in ["rs256", "es256", "eddsa"] {
        let text = fixtures.token(name);
        assert!(verify(&oidc(), text, &keys, NOW_MS).is_ok(), "{name}");
        for case in 0..400 {
            let mut bytes = text.as_bytes().to_vec();
            let at = random.random_range(0..bytes.len());
            let byte = CHARACTERS[random.random_range(0..CHARACTERS.len())];
            match random.random_range(0..4) {
                0 => bytes.insert(at, byte),
                1 => drop(bytes.remove(at)),
                _ if bytes[at] == byte => continue,
                _ => bytes[at] = byte,
            }
            let changed = String::from_utf8(bytes).expect("it is ASCII");
            // Two equal neighbours.
            if changed == text {
                continue;
            }
            reached_the_signature += usize::from(Token::parse(&changed, &AuthLimits::DEFAULT).is_ok());
            let found = verify(&oidc(), &changed, &keys, NOW_MS);
            assert!(found.is_err(), "{name}, case {case}: {changed} holds");
        }
    }
    assert!(reached_the_signature > 100, "only {reached_the_signature} can be read");
}

#[test]
fn a_token_with_parts_of_two_does_not_hold() {
    let fixtures = Fixtures::read();
    let keys = fixtures.keys("all");
    let names = ["rs256", "withType", "audienceInArray", "withoutIssueTime", "fraction", "es256", "eddsa"];
    let parts: Vec<Vec<&str>> = names.map(|name| fixtures.token(name).split('.').collect()).to_vec();
    for (one, header) in parts.iter().enumerate() {
        for (two, payload) in parts.iter().enumerate() {
            for (three, signature) in parts.iter().enumerate() {
                let mixed = format!("{}.{}.{}", header[0], payload[1], signature[2]);
                let is_one_of_them = names.iter().any(|name| fixtures.token(name) == mixed);
                let holds = verify(&oidc(), &mixed, &keys, ISSUED_MS).is_ok();
                assert_eq!(holds, is_one_of_them, "{} {} {}", names[one], names[two], names[three]);
            }
        }
    }
}
