//! Keys and tokens of another library. `fixtures/make.mjs` makes them, and shows what is in each.

#![allow(dead_code, reason = "each test file uses a part")]

use auth::{AuthError, AuthLimits, KeySet, Providers, Token, Verified};
use serde_json::{Value, json};

/// When the tokens were issued, in milliseconds since the Unix epoch. They hold for an hour.
pub const ISSUED_MS: u64 = 1_800_000_000_000;

/// A minute later.
pub const NOW_MS: u64 = ISSUED_MS + 60_000;

pub struct Fixtures(Value);

impl Fixtures {
    pub fn read() -> Fixtures {
        Fixtures(serde_json::from_str(include_str!("../fixtures/tokens.json")).expect("the file is JSON"))
    }

    pub fn token(&self, name: &str) -> &str {
        self.0["tokens"][name].as_str().unwrap_or_else(|| panic!("there is no token {name}"))
    }

    pub fn key_set_json(&self, name: &str) -> String {
        let set = self.0["keySets"].get(name).unwrap_or_else(|| panic!("there is no key set {name}"));
        json!({ "keys": set }).to_string()
    }

    pub fn keys(&self, name: &str) -> KeySet {
        KeySet::parse(self.key_set_json(name).as_bytes(), &AuthLimits::DEFAULT).expect("it is a key set")
    }
}

pub fn providers(list: Value) -> Providers {
    Providers::from_json(&list, &AuthLimits::DEFAULT).expect("they are providers")
}

pub fn oidc() -> Providers {
    providers(json!([{"domain": "https://issuer.example", "applicationID": "app"}]))
}

pub fn custom(algorithm: &str) -> Providers {
    providers(json!([custom_json(algorithm)]))
}

pub fn custom_json(algorithm: &str) -> Value {
    json!({
        "type": "customJwt", "issuer": "https://issuer.example", "applicationID": "app",
        "jwks": "https://issuer.example/keys", "algorithm": algorithm,
    })
}

/// All the way from the text.
pub fn verify(providers: &Providers, token: &str, keys: &KeySet, now_ms: u64) -> Result<Verified, AuthError> {
    let token = Token::parse(token, &AuthLimits::DEFAULT)?;
    providers.find(&token)?.verify(&token, keys, now_ms)
}

/// What a randomized test draws from: `AUTH_SEED`, or the clock. Prints how to repeat it.
pub fn seed(test_file: &str) -> u64 {
    let seed = match std::env::var("AUTH_SEED") {
        Ok(seed) => seed.parse().expect("AUTH_SEED is a number"),
        Err(_) => std::time::UNIX_EPOCH.elapsed().map_or(1, |elapsed| elapsed.as_nanos() as u64),
    };
    eprintln!("AUTH_SEED={seed} cargo test --workspace --test {test_file}");
    seed
}
