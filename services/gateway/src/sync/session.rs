//! What a client's messages mean: the version numbers, the identity and the queries of one connection.
//!
//! Without input or output: messages and rounds go in, [`Step`]s come out, which the connection carries out in order.

use std::{collections::HashSet, sync::Arc};

use auth::Verified;
use contract::{
    AuthToken, Identity, QueryChange, QueryModification, SessionCommand, SessionRequest, SessionRound,
    Timestamp,
};
use sync_protocol::{
    Authenticate, ClientMessage, Connect, FunctionRequest, ModifyQuerySet, QuerySetModification,
    ServerMessage, StateModification, StateVersion, Token, Transition,
};

use super::close::Close;
use crate::{
    admin_key::AdminKeys,
    authentication::{self, Sender},
    tokens::TokenError,
};

/// One connection after its `Connect`.
pub(super) struct Session {
    admin_keys: AdminKeys,
    queries_max: usize,
    session_id: Arc<str>,
    /// Who the client is.
    client: Sender,
    /// From then on the identity does not hold: milliseconds since the Unix epoch. `None` for one without an end.
    valid_until_ms: Option<u64>,
    /// A token that is being verified, and the identity version that it will make.
    verifying: Option<(u32, AuthToken)>,
    /// As far as the client's messages went.
    query_set_version: u32,
    identity_version: u32,
    queries: HashSet<u32>,
    /// The end of the last Transition.
    shown: StateVersion,
    /// The newest moment that the client may have seen.
    observed: Timestamp,
    client_clock_skew_ms: Option<i64>,
    /// After a refusal everything else that the client sent before it knew is dropped.
    refused: bool,
}

/// What follows from a message.
#[derive(Debug)]
pub(super) enum Step {
    Command(SessionCommand),
    Mutation(QueuedMutation),
    Action(RequestedAction),
    /// Verify the token and tell [`Session::verified`]; until then the client is not listened to.
    Verify(AuthToken),
    /// Send, then drop everything that arrives until the client closes.
    Refuse(ServerMessage),
    Close(Close),
}

/// A mutation that waits for those before it.
#[derive(Debug, PartialEq)]
pub(super) struct QueuedMutation {
    pub request: FunctionRequest,
    pub session: SessionRequest,
    /// Who the client was when it sent the message.
    pub by: Sender,
    pub not_before: Timestamp,
}

/// An action that waits for nobody.
#[derive(Debug, PartialEq)]
pub(super) struct RequestedAction {
    pub request: FunctionRequest,
    /// Who the client was when it sent the message.
    pub by: Sender,
}

impl Session {
    pub(super) fn new(connect: &Connect, now_ms: i64, admin_keys: AdminKeys, queries_max: usize) -> Session {
        Session {
            admin_keys,
            queries_max,
            session_id: connect.session_id.hyphenated().to_string().into(),
            client: Identity::Anonymous.into(),
            valid_until_ms: None,
            verifying: None,
            query_set_version: 0,
            identity_version: 0,
            queries: HashSet::new(),
            shown: StateVersion::default(),
            observed: connect.max_observed_timestamp.map(from_wire).unwrap_or_default(),
            client_clock_skew_ms: connect.client_clock_ms.map(|clock| clock - now_ms),
            refused: false,
        }
    }

    pub(super) fn observed(&self) -> Timestamp {
        self.observed
    }

    /// Messages come strictly in the order in which the client sent them, at `now_ms` since the Unix epoch.
    pub(super) fn message(&mut self, message: ClientMessage, now_ms: u64) -> Option<Step> {
        assert!(self.verifying.is_none(), "a client is not listened to before it is known who it is");
        if self.refused {
            return None;
        }
        let step = match message {
            ClientMessage::ModifyQuerySet(_) | ClientMessage::Mutation(_) | ClientMessage::Action(_)
                if self.is_expired(now_ms) =>
            {
                self.expired()
            }
            ClientMessage::Connect(_) => Step::Close(Close::violation("Connect came twice")),
            ClientMessage::ModifyQuerySet(change) => self.modify_query_set(change),
            ClientMessage::Mutation(request) => self.mutation(request),
            ClientMessage::Action(request) => self.action(request),
            ClientMessage::Authenticate(authenticate) => self.authenticate(authenticate),
            ClientMessage::Event => return None,
        };
        Some(self.stepped(step))
    }

    fn stepped(&mut self, step: Step) -> Step {
        self.refused |= matches!(step, Step::Refuse(_) | Step::Close(_));
        step
    }

    /// Whether the client's token has expired, and nothing may be done or shown any more in its user's name.
    pub(super) fn is_expired(&self, now_ms: u64) -> bool {
        self.valid_until_ms.is_some_and(|valid_until_ms| valid_until_ms <= now_ms)
    }

    /// What the client is told then: it gets itself another token. The version is that of the identity that went bad.
    fn expired(&self) -> Step {
        Step::Refuse(ServerMessage::AuthError {
            error: "The token has expired. Sign in again, or send another token.".to_owned(),
            base_version: self.identity_version,
            auth_update_attempted: false,
        })
    }

    /// What to do instead of showing a round at `now_ms`.
    pub(super) fn before_round(&mut self, now_ms: u64) -> Option<Step> {
        let expired = self.is_expired(now_ms).then(|| self.expired())?;
        Some(self.stepped(expired))
    }

    fn modify_query_set(&mut self, change: ModifyQuerySet) -> Step {
        if change.base_version != self.query_set_version
            || Some(change.new_version) != change.base_version.checked_add(1)
        {
            return Step::Refuse(ServerMessage::FatalError {
                error: format!(
                    "The query set is at version {}; a change from {} to {} does not follow it.",
                    self.query_set_version, change.base_version, change.new_version
                ),
            });
        }
        let mut modifications = Vec::with_capacity(change.modifications.len());
        for modification in change.modifications {
            modifications.push(match modification {
                QuerySetModification::Add { query_id, path, arguments, journal, component } => {
                    if !component.is_empty() && !self.client.identity.is_admin() {
                        return Step::Close(Close::violation("only an admin key may call into a component"));
                    }
                    if !self.queries.insert(query_id) {
                        return Step::Close(Close::violation(format_args!(
                            "query {query_id} was added twice"
                        )));
                    }
                    if self.queries.len() > self.queries_max {
                        return Step::Close(Close::after(&contract::Error::new(
                            contract::ErrorKind::TooManyRequests,
                            "TooManyQueries",
                            format!("a session may have {} live queries", self.queries_max),
                        )));
                    }
                    QueryModification::Add { query: query_id, component, path, arguments, journal }
                }
                QuerySetModification::Remove { query_id } => {
                    if !self.queries.remove(&query_id) {
                        return Step::Close(Close::violation(format_args!(
                            "query {query_id} is not there to remove"
                        )));
                    }
                    QueryModification::Remove { query: query_id }
                }
            });
        }
        assert!(self.queries.len() <= self.queries_max, "what is too much was refused");
        self.query_set_version = change.new_version;
        Step::Command(SessionCommand::ModifyQueries { version: change.new_version, modifications })
    }

    fn mutation(&mut self, request: FunctionRequest) -> Step {
        if !request.component.is_empty() && !self.client.identity.is_admin() {
            return Step::Close(Close::violation("only an admin key may call into a component"));
        }
        Step::Mutation(QueuedMutation {
            session: SessionRequest { session: self.session_id.to_string(), request: request.request_id },
            request,
            by: self.client.clone(),
            not_before: self.observed,
        })
    }

    fn action(&mut self, request: FunctionRequest) -> Step {
        if !request.component.is_empty() && !self.client.identity.is_admin() {
            return Step::Close(Close::violation("only an admin key may call into a component"));
        }
        Step::Action(RequestedAction { request, by: self.client.clone() })
    }

    fn authenticate(&mut self, authenticate: Authenticate) -> Step {
        let Some(next) = authenticate
            .base_version
            .checked_add(1)
            .filter(|_| authenticate.base_version == self.identity_version)
        else {
            return Step::Refuse(ServerMessage::FatalError {
                error: format!(
                    "The identity is at version {}; a change from {} does not follow it.",
                    self.identity_version, authenticate.base_version
                ),
            });
        };
        match authenticate.token {
            Token::None => self.identified(next, Identity::Anonymous.into(), None),
            Token::User(token) => {
                let token = AuthToken(token.into());
                self.verifying = Some((next, token.clone()));
                Step::Verify(token)
            }
            Token::Admin { key, acting_as } => {
                match authentication::admin(&self.admin_keys, &key, acting_as.as_deref()) {
                    Ok(identity) => self.identified(next, identity.into(), None),
                    Err(error) => self.not_identified(error.message().to_owned()),
                }
            }
        }
    }

    /// What follows from the token that was to be verified.
    pub(super) fn verified(&mut self, verified: Result<Verified, TokenError>) -> Step {
        let (next, token) = self.verifying.take().expect("a token was to be verified");
        let step = match verified {
            Ok(Verified { identity, valid_until_ms }) => {
                let user = Sender { identity: Identity::User(identity), token: Some(token) };
                self.identified(next, user, Some(valid_until_ms))
            }
            // Who can't be asked may know the token yet: the client comes back with it, where a refusal would make it forget
            // its user.
            Err(TokenError::Refused(error)) if error.may_pass() => {
                Step::Close(Close::after(&contract::Error::overloaded(error.code(), error.to_string())))
            }
            Err(TokenError::Refused(error)) => self.not_identified(error.to_string()),
            Err(TokenError::Service(error)) => Step::Close(Close::after(&error)),
        };
        self.stepped(step)
    }

    fn identified(&mut self, version: u32, client: Sender, valid_until_ms: Option<u64>) -> Step {
        let identity = client.identity.clone();
        self.client = client;
        self.identity_version = version;
        self.valid_until_ms = valid_until_ms;
        Step::Command(SessionCommand::SetIdentity { version, identity })
    }

    /// What the client sent behind this was meant for the identity that it did not get.
    fn not_identified(&self, error: String) -> Step {
        Step::Refuse(ServerMessage::AuthError {
            error,
            base_version: self.identity_version,
            auth_update_attempted: true,
        })
    }

    /// The Transition that shows a round.
    pub(super) fn round(&mut self, round: SessionRound, now_ns: i64) -> Result<Transition, contract::Error> {
        let start = self.shown;
        let end = StateVersion {
            query_set: round.query_set_version,
            identity: round.identity_version,
            timestamp: to_wire(round.timestamp),
        };
        let follows = start.query_set <= end.query_set
            && start.identity <= end.identity
            && start.timestamp <= end.timestamp
            && end.query_set <= self.query_set_version
            && end.identity <= self.identity_version;
        if !follows {
            return Err(contract::Error::internal(format!("a round to {end:?} can't follow {start:?}")));
        }
        self.shown = end;
        self.observed = self.observed.max(round.timestamp);
        assert!(from_wire(self.shown.timestamp) <= self.observed, "what is shown was seen");
        Ok(Transition {
            start,
            end,
            modifications: round.changes.into_iter().map(modification).collect(),
            client_clock_skew_ms: self.client_clock_skew_ms,
            server_clock_ns: Some(now_ns),
        })
    }

    /// A mutation of the client's was answered with this moment.
    pub(super) fn answered(&mut self, timestamp: Timestamp) {
        self.observed = self.observed.max(timestamp);
    }
}

fn modification(change: QueryChange) -> StateModification {
    match change {
        QueryChange::Updated { query, value, log_lines, journal } => {
            StateModification::QueryUpdated { query_id: query, value, log_lines, journal }
        }
        QueryChange::Failed { query, error, log_lines, journal } => StateModification::QueryFailed {
            query_id: query,
            message: error.message,
            data: error.data,
            log_lines,
            journal,
        },
        QueryChange::Removed { query } => StateModification::QueryRemoved { query_id: query },
    }
}

pub(super) fn to_wire(timestamp: Timestamp) -> sync_protocol::Timestamp {
    sync_protocol::Timestamp::new(timestamp.as_nanoseconds())
        .expect("both kinds of timestamps have the same bounds")
}

fn from_wire(timestamp: sync_protocol::Timestamp) -> Timestamp {
    Timestamp::new(timestamp.as_nanoseconds()).expect("both kinds of timestamps have the same bounds")
}

#[cfg(test)]
mod tests {
    use contract::UserIdentity;
    use uuid::Uuid;

    use super::*;
    use crate::admin_key::tests::opened_by;

    const NOW_MS: i64 = 1_000_000;
    const KEY: &str = "dev|01abcdef";

    fn session() -> Session {
        let connect = Connect {
            session_id: Uuid::from_u128(0xAB),
            max_observed_timestamp: sync_protocol::Timestamp::new(5),
            client_clock_ms: Some(NOW_MS + 250),
            connection_count: 0,
            last_close_reason: None,
        };
        Session::new(&connect, NOW_MS, AdminKeys::of(&opened_by(KEY)), 3)
    }

    fn message(session: &mut Session, json: &str) -> Option<Step> {
        session.message(ClientMessage::parse(json).expect("a message"), NOW_MS as u64)
    }

    fn modify(session: &mut Session, base: u32, new: u32, modifications: &str) -> Option<Step> {
        let json = format!(
            r#"{{"type":"ModifyQuerySet","baseVersion":{base},"newVersion":{new},"modifications":[{modifications}]}}"#
        );
        message(session, &json)
    }

    fn add(query_id: u32) -> String {
        format!(r#"{{"type":"Add","queryId":{query_id},"udfPath":"a:b","args":[{{}}]}}"#)
    }

    fn round(timestamp: u64, query_set_version: u32, identity_version: u32) -> SessionRound {
        let timestamp = Timestamp::new(timestamp).expect("in range");
        SessionRound { timestamp, query_set_version, identity_version, changes: Vec::new() }
    }

    fn closes_with(step: Option<Step>, reason: &str) {
        match step {
            Some(Step::Close(close)) => assert!(close.reason.starts_with(reason), "{close:?}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn transitions_chain_exactly_and_carry_the_clocks() {
        let mut session = session();
        assert!(matches!(
            modify(&mut session, 0, 1, &add(0)),
            Some(Step::Command(SessionCommand::ModifyQueries { version: 1, .. }))
        ));
        assert!(matches!(
            modify(&mut session, 1, 2, ""),
            Some(Step::Command(SessionCommand::ModifyQueries { version: 2, .. }))
        ));
        let first = session.round(round(10, 1, 0), 77).expect("follows");
        assert_eq!(first.start, StateVersion::default());
        assert_eq!((first.client_clock_skew_ms, first.server_clock_ns), (Some(250), Some(77)));
        let second = session.round(round(10, 2, 0), 78).expect("a version-neutral moment is fine");
        assert_eq!(second.start, first.end);
        assert!(session.round(round(9, 2, 0), 79).is_err(), "time would go back");
        assert!(session.round(round(11, 1, 0), 79).is_err(), "the query set would go back");
        assert!(session.round(round(11, 3, 0), 79).is_err(), "the client never sent that version");
    }

    #[test]
    fn wrong_version_numbers_are_fatal_and_nothing_after_them_counts() {
        for (base, new) in [(1, 2), (0, 2), (0, 0)] {
            let mut session = session();
            assert!(matches!(
                modify(&mut session, base, new, ""),
                Some(Step::Refuse(ServerMessage::FatalError { .. }))
            ));
            assert!(modify(&mut session, 0, 1, "").is_none());
        }
        let mut session = session();
        let step = message(&mut session, r#"{"type":"Authenticate","baseVersion":1,"tokenType":"None"}"#);
        assert!(matches!(step, Some(Step::Refuse(ServerMessage::FatalError { .. }))));
    }

    #[test]
    fn queries_are_added_and_removed_once() {
        closes_with(
            modify(&mut session(), 0, 1, &format!("{},{}", add(0), add(0))),
            "ProtocolViolation: query 0 was added twice",
        );
        closes_with(
            modify(&mut session(), 0, 1, r#"{"type":"Remove","queryId":4}"#),
            "ProtocolViolation: query 4",
        );
        let mut reused = session();
        modify(&mut reused, 0, 1, &add(0));
        modify(&mut reused, 1, 2, r#"{"type":"Remove","queryId":0}"#);
        assert!(matches!(modify(&mut reused, 2, 3, &add(0)), Some(Step::Command(_))));
    }

    #[test]
    fn a_session_has_a_bounded_number_of_queries() {
        let mut session = session();
        let queries: Vec<String> = (0..4).map(add).collect();
        closes_with(modify(&mut session, 0, 1, &queries.join(",")), "TooManyQueries");
    }

    #[test]
    fn mutations_carry_the_session_the_identity_and_what_the_client_has_seen() {
        let mut session = session();
        let mutation = r#"{"type":"Mutation","requestId":7,"udfPath":"a:b","args":[{}]}"#;
        let Some(Step::Mutation(first)) = message(&mut session, mutation) else { panic!() };
        assert_eq!(first.session.session, "00000000-0000-0000-0000-0000000000ab");
        assert_eq!((first.session.request, first.not_before.as_nanoseconds()), (7, 5));
        assert_eq!(first.by, Sender::from(Identity::Anonymous));
        session.answered(Timestamp::new(20).expect("in range"));
        session.round(round(12, 0, 0), 0).expect("follows");
        let Some(Step::Mutation(second)) = message(&mut session, mutation) else { panic!() };
        assert_eq!(second.not_before.as_nanoseconds(), 20);
    }

    #[test]
    fn an_admin_key_changes_the_identity_and_a_wrong_one_ends_the_conversation() {
        let mut session = session();
        let authenticate = |base: u32, key: &str| {
            format!(
                r#"{{"type":"Authenticate","baseVersion":{base},"tokenType":"Admin","value":"{key}","impersonating":{{"issuer":"i","subject":"s"}}}}"#
            )
        };
        let Some(Step::Command(SessionCommand::SetIdentity { version: 1, identity })) =
            message(&mut session, &authenticate(0, KEY))
        else {
            panic!()
        };
        assert_eq!(identity.user().map(|user| user.attributes["tokenIdentifier"].as_str()), Some(r#""i|s""#));
        let refusal = message(&mut session, &authenticate(1, "dev|wrong"));
        assert!(matches!(
            refusal,
            Some(Step::Refuse(ServerMessage::AuthError { base_version: 1, auth_update_attempted: true, .. }))
        ));
        let mutation = r#"{"type":"Mutation","requestId":7,"udfPath":"a:b","args":[{}]}"#;
        assert!(message(&mut session, mutation).is_none(), "must not run as somebody else");
    }

    fn verified(valid_until_ms: u64) -> Result<Verified, TokenError> {
        let user = [("subject".to_owned(), r#""s""#.to_owned())];
        Ok(Verified { identity: UserIdentity { attributes: user.into() }, valid_until_ms })
    }

    fn signing_in(session: &mut Session, outcome: Result<Verified, TokenError>) -> Step {
        let user = r#"{"type":"Authenticate","baseVersion":0,"tokenType":"User","value":"jwt"}"#;
        let step = message(session, user);
        assert!(matches!(step, Some(Step::Verify(token)) if &*token.0 == "jwt"));
        session.verified(outcome)
    }

    #[test]
    fn a_verified_token_is_the_identity_and_one_that_does_not_hold_ends_the_conversation() {
        let mut good = session();
        let step = signing_in(&mut good, verified(NOW_MS as u64 + 1));
        assert!(matches!(
            step,
            Step::Command(SessionCommand::SetIdentity { version: 1, identity: Identity::User(_) })
        ));
        assert!(modify(&mut good, 0, 1, &add(0)).is_some());

        let mut bad = session();
        let refused = auth::AuthError::NotDecoded { reason: "it is none".to_owned() };
        let Step::Refuse(ServerMessage::AuthError { error, base_version: 0, auth_update_attempted: true }) =
            signing_in(&mut bad, Err(refused.into()))
        else {
            panic!()
        };
        assert!(error.contains("it is none"), "{error}");
        assert!(modify(&mut bad, 0, 1, &add(0)).is_none(), "must not be shown as nobody");
    }

    #[test]
    fn who_signs_in_while_the_provider_is_down_comes_back_later() {
        for (status, reason) in
            [(None, "AuthProviderDiscoveryFailed"), (Some(502), "AuthProviderDiscoveryFailed")]
        {
            let (kind, url) = (auth::ProviderKind::Oidc, "https://x".to_owned());
            let down = auth::AuthError::KeysUnavailable { kind, url, status, reason: "is down".to_owned() };
            let Step::Close(close) = signing_in(&mut session(), Err(down.into())) else { panic!() };
            assert_eq!(close.code, 1013);
            assert!(close.reason.starts_with(reason), "{close:?}");
        }
    }

    #[test]
    fn nothing_is_done_or_shown_in_the_name_of_a_token_that_has_expired() {
        let expired = || {
            let mut session = session();
            signing_in(&mut session, verified(NOW_MS as u64));
            session
        };
        let is_refused = |step: Option<Step>| {
            let refusal = ServerMessage::AuthError {
                error: String::new(),
                base_version: 1,
                auth_update_attempted: false,
            };
            let Some(Step::Refuse(ServerMessage::AuthError { error, base_version, auth_update_attempted })) =
                step
            else {
                panic!("{step:?}, and not {refusal:?}")
            };
            assert_eq!((base_version, auth_update_attempted), (1, false), "{error}");
        };
        is_refused(modify(&mut expired(), 0, 1, &add(0)));
        for kind in ["Mutation", "Action"] {
            let json = format!(r#"{{"type":"{kind}","requestId":7,"udfPath":"a:b","args":[{{}}]}}"#);
            is_refused(message(&mut expired(), &json));
        }
        let mut session = expired();
        is_refused(session.before_round(NOW_MS as u64));
        assert!(modify(&mut session, 0, 1, &add(0)).is_none(), "the conversation has ended");
        // Whoever sends another token, or none, goes on.
        let none = r#"{"type":"Authenticate","baseVersion":1,"tokenType":"None"}"#;
        let mut session = expired();
        assert!(matches!(
            message(&mut session, none),
            Some(Step::Command(SessionCommand::SetIdentity { version: 2, .. }))
        ));
        assert!(
            session.before_round(NOW_MS as u64).is_none() && modify(&mut session, 0, 1, &add(0)).is_some()
        );
    }

    #[test]
    fn nobody_in_particular_is_somebody_too() {
        let none = r#"{"type":"Authenticate","baseVersion":0,"tokenType":"None"}"#;
        assert!(matches!(
            message(&mut session(), none),
            Some(Step::Command(SessionCommand::SetIdentity { version: 1, identity: Identity::Anonymous }))
        ));
    }

    #[test]
    fn components_are_for_administrators() {
        let query = r#"{"type":"Add","queryId":0,"udfPath":"a:b","args":[{}],"componentPath":"inner"}"#;
        closes_with(modify(&mut session(), 0, 1, query), "ProtocolViolation: only an admin key");
        let mutation =
            r#"{"type":"Mutation","requestId":7,"udfPath":"a:b","args":[{}],"componentPath":"inner"}"#;
        closes_with(message(&mut session(), mutation), "ProtocolViolation: only an admin key");
    }

    #[test]
    fn an_action_waits_for_nothing_and_runs_as_whoever_has_sent_it() {
        let mut session = session();
        let action = r#"{"type":"Action","requestId":7,"udfPath":"a:b","args":[{}]}"#;
        let Some(Step::Action(requested)) = message(&mut session, action) else { panic!("it is run") };
        assert_eq!((requested.request.request_id, requested.by), (7, Identity::Anonymous.into()));
        let inner = r#"{"type":"Action","requestId":8,"udfPath":"a:b","args":[{}],"componentPath":"inner"}"#;
        closes_with(message(&mut session, inner), "ProtocolViolation: only an admin key");
    }
}
