//! When a provider's keys are fetched, and which are used meanwhile.

mod common;

use auth::{Answer, AuthError, AuthLimits, Fetch, KeyCache, KeySource, Keys, Step, Token};
use common::*;
use contract::ErrorKind;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use serde_json::json;

const DISCOVERY: &str = "https://issuer.example/.well-known/openid-configuration";
const KEY_SET: &str = "https://issuer.example/keys";

const LIMITS: AuthLimits = AuthLimits {
    fresh_ms: 1_000,
    fresh_ms_min: 100,
    fresh_ms_max: 10_000,
    stale_ms_max: 50_000,
    unknown_key_ms_min: 200,
    fetch_ms_max: 500,
    retry_ms_min: 10,
    retry_ms_max: 60,
    ..AuthLimits::DEFAULT
};

/// A cache and the server that it asks.
struct World {
    cache: KeyCache,
    fixtures: Fixtures,
    now_ms: u64,
}

impl World {
    fn of_key_set() -> World {
        World::new(KeySource::KeySet { url: KEY_SET.to_owned() })
    }

    fn of_discovery() -> World {
        World::new(KeySource::Discovery { domain: "https://issuer.example".to_owned() })
    }

    fn new(source: KeySource) -> World {
        World { cache: KeyCache::new(source, LIMITS), fixtures: Fixtures::read(), now_ms: ISSUED_MS }
    }

    fn later(&mut self, milliseconds: u64) -> &mut World {
        self.now_ms += milliseconds;
        self
    }

    fn step(&mut self) -> Step {
        self.cache.step(self.now_ms)
    }

    /// The cache must ask for this address now.
    fn expect_fetch(&mut self, url: &str) -> Fetch {
        match self.step() {
            Step::Fetch(fetch) if fetch.url == url => fetch,
            other => panic!("{other:?}, not a request for {url}"),
        }
    }

    /// The cache must give keys now.
    fn expect_keys(&mut self) -> Keys {
        match self.step() {
            Step::Use(keys) => keys,
            other => panic!("{other:?}, not keys"),
        }
    }

    fn expect_refusal(&mut self) -> AuthError {
        match self.step() {
            Step::Refuse(error) => error,
            other => panic!("{other:?}, not a refusal"),
        }
    }

    fn answer(&mut self, fetch: &Fetch, body: &str, cache_control: Option<&str>) {
        let answer = Answer {
            status: 200,
            content_type: Some("application/json"),
            cache_control,
            body: body.as_bytes(),
        };
        self.cache.fetched(fetch, Ok(answer), self.now_ms);
    }

    fn answer_keys(&mut self, fetch: &Fetch, name: &str) {
        let body = self.fixtures.key_set_json(name);
        self.answer(fetch, &body, None);
    }

    fn answer_status(&mut self, fetch: &Fetch, status: u16) {
        let answer = Answer { status, content_type: None, cache_control: None, body: b"" };
        self.cache.fetched(fetch, Ok(answer), self.now_ms);
    }

    fn fail(&mut self, fetch: &Fetch) {
        self.cache.fetched(fetch, Err("did not answer".to_owned()), self.now_ms);
    }

    /// Fetches keys for the first time.
    fn begin(&mut self, name: &str) -> Keys {
        let fetch = self.expect_fetch(KEY_SET);
        self.answer_keys(&fetch, name);
        self.expect_keys()
    }

    /// Whether the keys verify a token of the fixtures.
    fn verify(&self, keys: &Keys, token: &str) -> bool {
        let providers = custom("RS256");
        let token = Token::parse(self.fixtures.token(token), &LIMITS).expect("it can be read");
        let provider = providers.find(&token).expect("it is of the provider");
        provider.verify(&token, &keys.set, NOW_MS).is_ok()
    }
}

#[test]
fn keys_are_fetched_once_and_used_until_they_are_stale() {
    let mut world = World::of_key_set();
    let fetch = world.expect_fetch(KEY_SET);
    // All others wait.
    assert!(matches!(world.step(), Step::Wait));
    world.later(20).answer_keys(&fetch, "all");
    let keys = world.expect_keys();
    assert!(world.verify(&keys, "rs256"));
    world.later(999).expect_keys();
    // Then one fetches them again, and the others go on with what is there.
    let fetch = world.later(1).expect_fetch(KEY_SET);
    world.expect_keys();
    world.answer_keys(&fetch, "other");
    let keys = world.expect_keys();
    assert!(!world.verify(&keys, "rs256"));
}

#[test]
fn a_discovery_document_says_where_the_keys_are() {
    let mut world = World::of_discovery();
    let discovery = json!({"issuer": "https://issuer.example/", "jwks_uri": KEY_SET}).to_string();
    let fetch = world.expect_fetch(DISCOVERY);
    assert!(matches!(world.step(), Step::Wait));
    world.answer(&fetch, &discovery, Some("max-age=5"));
    let fetch = world.expect_fetch(KEY_SET);
    world.answer_keys(&fetch, "all");
    world.expect_keys();
    // The document is fresh for longer than the keys.
    let fetch = world.later(1_000).expect_fetch(KEY_SET);
    world.answer_keys(&fetch, "all");
    let fetch = world.later(4_000).expect_fetch(DISCOVERY);
    world.answer(&fetch, &discovery, None);
    let fetch = world.expect_fetch(KEY_SET);
    // Where the keys are not there any more, the provider is asked anew where they are.
    world.answer_status(&fetch, 404);
    world.expect_keys();
    world.later(10).expect_fetch(DISCOVERY);
}

#[test]
fn freshness_is_what_the_server_says_within_limits() {
    for (cache_control, fresh_ms) in [
        (None, 1_000),
        (Some("public"), 1_000),
        (Some("max-age=3"), 3_000),
        (Some("public, Max-Age=\"3\", immutable"), 3_000),
        (Some("max-age=86400"), 10_000),
        (Some("max-age=99999999999999999999999"), 1_000),
        (Some("max-age=18446744073709551615"), 10_000),
        (Some("max-age=0"), 100),
        (Some("no-store"), 100),
        (Some("max-age=3, no-cache"), 100),
        (Some("max-age=x"), 1_000),
    ] {
        let mut world = World::of_key_set();
        let fetch = world.expect_fetch(KEY_SET);
        let body = world.fixtures.key_set_json("all");
        world.answer(&fetch, &body, cache_control);
        world.later(fresh_ms - 1).expect_keys();
        assert!(matches!(world.later(1).step(), Step::Fetch(_)), "{cache_control:?}");
    }
}

#[test]
fn a_token_with_an_unknown_key_makes_one_request_and_no_more_for_a_while() {
    let mut world = World::of_key_set();
    let old = world.begin("other");
    assert!(!world.verify(&old, "rs256"));
    // They are too new for another request.
    assert!(world.cache.step_after_refusal(&old, world.now_ms).is_none());
    world.later(199);
    assert!(world.cache.step_after_refusal(&old, world.now_ms).is_none());
    world.later(1);
    let Some(Step::Fetch(fetch)) = world.cache.step_after_refusal(&old, world.now_ms) else {
        panic!("it is time for another request")
    };
    // A second such token waits for the same request; tokens whose keys are known don't.
    assert!(matches!(world.cache.step_after_refusal(&old, world.now_ms), Some(Step::Wait)));
    world.expect_keys();
    world.answer_keys(&fetch, "all");
    // Who was refused by the old keys gets the new ones without any request.
    let Some(Step::Use(new)) = world.cache.step_after_refusal(&old, world.now_ms) else {
        panic!("there are new keys")
    };
    assert!(world.verify(&new, "rs256"));
    assert!(world.cache.step_after_refusal(&new, world.now_ms).is_none());
}

#[test]
fn made_up_key_ids_cause_no_more_requests_than_the_limit_says() {
    let mut world = World::of_key_set();
    world.begin("all");
    let mut requests = 0;
    for _ in 0..1_000 {
        let keys = match world.later(1).step() {
            Step::Use(keys) => keys,
            Step::Fetch(fetch) => {
                requests += 1;
                world.answer_keys(&fetch, "all");
                continue;
            }
            other => panic!("{other:?}"),
        };
        if let Some(Step::Fetch(fetch)) = world.cache.step_after_refusal(&keys, world.now_ms) {
            requests += 1;
            // The server is down every other time.
            if requests % 2 == 0 { world.fail(&fetch) } else { world.answer_keys(&fetch, "all") }
        }
    }
    // One in 200 ms; one more in between after each failure.
    assert!((4..=10).contains(&requests), "{requests} requests in a second");
}

#[test]
fn a_request_that_fails_is_tried_again_later_and_later() {
    let mut world = World::of_key_set();
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let fetch = world.expect_fetch(KEY_SET);
        world.fail(&fetch);
        let failed_at_ms = world.now_ms;
        let error = world.expect_refusal();
        assert_eq!(error.code(), "InvalidAuthHeader");
        assert!(error.to_string().contains("https://issuer.example/keys did not answer"), "{error}");
        while matches!(world.later(1).step(), Step::Refuse(_)) {}
        // That was a request, which is lost with its caller.
        pauses.push(world.now_ms - failed_at_ms);
        world.later(LIMITS.fetch_ms_max);
        world.expect_refusal();
        world.later(LIMITS.retry_ms_max);
    }
    assert_eq!(pauses, [10, 40, 60, 60, 60, 60]);
    // Once it works, all is forgotten.
    let fetch = world.expect_fetch(KEY_SET);
    world.answer_keys(&fetch, "all");
    let fetch = world.later(1_000).expect_fetch(KEY_SET);
    world.fail(&fetch);
    world.later(9).expect_keys();
    world.later(1).expect_fetch(KEY_SET);
}

#[test]
fn keys_that_can_not_be_fetched_again_are_used_for_a_while() {
    let mut world = World::of_key_set();
    world.begin("all");
    let fetched_at_ms = world.now_ms;
    let mut used = 0;
    let error = loop {
        match world.later(10).step() {
            Step::Fetch(fetch) => world.answer_status(&fetch, 500),
            Step::Use(_) => used += 1,
            Step::Refuse(error) => break error,
            Step::Wait => panic!("nobody is fetching"),
        }
    };
    assert!(used > 3_000, "{used}");
    assert!((50_000..50_100).contains(&(world.now_ms - fetched_at_ms)), "{}", world.now_ms - fetched_at_ms);
    assert!(error.to_string().contains("answered with the status 500"), "{error}");
}

#[test]
fn a_caller_that_went_away_holds_up_nobody_for_long_and_its_answer_counts_no_more() {
    let mut world = World::of_key_set();
    let lost = world.expect_fetch(KEY_SET);
    assert!(matches!(world.later(499).step(), Step::Wait));
    let error = world.later(1).expect_refusal();
    assert!(error.to_string().contains("did not answer in time"), "{error}");
    let fetch = world.later(10).expect_fetch(KEY_SET);
    world.answer_keys(&lost, "other");
    assert!(matches!(world.step(), Step::Wait));
    world.answer_keys(&fetch, "all");
    world.answer_keys(&lost, "other");
    let keys = world.expect_keys();
    assert!(world.verify(&keys, "rs256"));
}

#[test]
fn an_answer_that_is_no_document_is_a_failure() {
    let html =
        Answer { status: 200, content_type: Some("text/html"), cache_control: None, body: b"{\"keys\":[]}" };
    let good = "application/json; charset=utf-8";
    for (content_type, body, why) in [
        (Some("text/html"), "{\"keys\":[]}", "has another content type"),
        (Some("application/jsonp"), "{\"keys\":[]}", "has another content type"),
        (None, "{\"keys\":[]}", "has another content type"),
        (Some(good), "<html>", "is not JSON"),
        (Some(good), "{}", "has no array named `keys`"),
    ] {
        let mut world = World::of_key_set();
        let fetch = world.expect_fetch(KEY_SET);
        let answer = Answer { content_type, body: body.as_bytes(), ..html };
        world.cache.fetched(&fetch, Ok(answer), world.now_ms);
        let error = world.expect_refusal().to_string();
        assert!(error.contains(why), "{error}");
    }
    for content_type in [good, "Application/JSON", "application/jwk-set+json"] {
        let mut world = World::of_key_set();
        let fetch = world.expect_fetch(KEY_SET);
        let answer = Answer { content_type: Some(content_type), ..html };
        world.cache.fetched(&fetch, Ok(answer), world.now_ms);
        assert!(world.expect_keys().set.is_empty());
    }
}

#[test]
fn what_an_oidc_provider_answers_decides_the_status() {
    let world = || {
        let mut world = World::of_discovery();
        let fetch = world.expect_fetch(DISCOVERY);
        (world, fetch)
    };
    let refusal = |mut world: World| contract::Error::from(world.expect_refusal());
    for (status, kind) in [
        (400, ErrorKind::BadRequest),
        (401, ErrorKind::Unauthenticated),
        (403, ErrorKind::Forbidden),
        (404, ErrorKind::NotFound),
        (418, ErrorKind::BadRequest),
        (429, ErrorKind::TooManyRequests),
        (500, ErrorKind::Overloaded),
        (503, ErrorKind::Overloaded),
        (302, ErrorKind::Overloaded),
    ] {
        let (mut world, fetch) = world();
        world.answer_status(&fetch, status);
        let error = refusal(world);
        assert_eq!((error.code.as_ref(), error.kind), ("AuthProviderDiscoveryFailed", kind), "{status}");
        assert!(error.message.contains(DISCOVERY) && error.message.contains(&status.to_string()), "{error}");
    }
    let (mut world, fetch) = world();
    world.fail(&fetch);
    let error = refusal(world);
    assert_eq!((error.code.as_ref(), error.kind), ("AuthProviderDiscoveryFailed", ErrorKind::Overloaded));
    // Of another issuer.
    let mut world = World::of_discovery();
    let fetch = world.expect_fetch(DISCOVERY);
    let body = json!({"issuer": "https://evil.example", "jwks_uri": KEY_SET}).to_string();
    world.answer(&fetch, &body, None);
    let error = refusal(world);
    assert!(error.message.contains("its issuer is `https://evil.example`"), "{error}");
}

#[test]
fn keys_in_a_data_address_are_there_at_once_and_for_good() {
    let url = format!("data:application/json,{}", Fixtures::read().key_set_json("all"));
    let mut world = World::new(KeySource::KeySet { url });
    let keys = world.expect_keys();
    assert!(world.verify(&keys, "rs256"));
    world.later(1_000_000_000).expect_keys();
    assert!(world.cache.step_after_refusal(&keys, world.now_ms).is_none());
    let mut world = World::new(KeySource::KeySet { url: "data:,{}".to_owned() });
    let error = world.expect_refusal().to_string();
    assert!(error.contains("data: has no array named `keys`"), "{error}");
}

/// Callers that come, go away and are refused, and a server that is slow, down, or forgets what it was, in any order.
#[test]
fn whatever_happens_requests_are_few_and_keys_are_not_too_old() {
    let mut random = ChaCha12Rng::seed_from_u64(seed("key_caches"));
    let (mut used, mut requested, mut refused) = (0, 0, 0);
    for _ in 0..30 {
        let mut world = World::of_key_set();
        // The request that is answered next, and when it began.
        let mut asked: Option<(Fetch, u64)> = None;
        // When the newest keys came, and which of the fixtures they are.
        let mut newest: Option<(u64, &str)> = None;
        for _ in 0..1_000 {
            let pause_ms_max = [10, 100, 600][random.random_range(0..3)];
            let now_ms = world.later(random.random_range(0..pause_ms_max)).now_ms;
            let age_ms = newest.map(|(fetched_at_ms, _)| now_ms - fetched_at_ms);
            let is_asked = asked.as_ref().is_some_and(|(_, began)| now_ms < began + LIMITS.fetch_ms_max);
            let mut begin = |asked: &mut Option<(Fetch, u64)>, fetch| {
                assert!(!is_asked, "two requests at once");
                requested += 1;
                *asked = Some((fetch, now_ms));
            };
            match random.random_range(0..4) {
                0 | 1 => match world.step() {
                    Step::Use(keys) => {
                        used += 1;
                        let (_, name) = newest.expect("keys came from somewhere");
                        assert!(age_ms < Some(LIMITS.stale_ms_max), "keys are {age_ms:?} old");
                        assert_eq!(
                            world.verify(&keys, "rs256"),
                            name == "all",
                            "these are not the newest keys"
                        );
                        // The token may have a key that is in neither of the sets.
                        if random.random_bool(0.5) {
                            match world.cache.step_after_refusal(&keys, now_ms) {
                                None => {}
                                Some(Step::Wait) => assert!(is_asked),
                                Some(Step::Fetch(fetch)) => {
                                    assert!(age_ms >= Some(LIMITS.unknown_key_ms_min), "{age_ms:?}");
                                    begin(&mut asked, fetch);
                                }
                                other => panic!("{other:?}"),
                            }
                        }
                    }
                    Step::Fetch(fetch) => {
                        assert!(age_ms.is_none_or(|age| age >= LIMITS.fresh_ms_min), "{age_ms:?}");
                        begin(&mut asked, fetch);
                    }
                    Step::Wait => assert!(is_asked, "there is nothing to wait for"),
                    Step::Refuse(_) => {
                        refused += 1;
                        assert!(age_ms.is_none_or(|age| age >= LIMITS.stale_ms_max), "{age_ms:?}");
                    }
                },
                2 => {
                    if let Some((fetch, _)) = asked.take() {
                        let name = ["all", "other"][random.random_range(0..2)];
                        world.answer_keys(&fetch, name);
                        if is_asked {
                            newest = Some((now_ms, name));
                        }
                    }
                }
                _ => {
                    if let Some((fetch, _)) = asked.take() {
                        world.fail(&fetch);
                    }
                }
            }
        }
    }
    eprintln!("{used} times keys are used, {requested} requests, {refused} refusals");
    assert!(used > 1_000 && requested > 1_000 && refused > 0, "too little happens");
}
