//! The contract of live queries.

use std::time::Duration;

use contract::{
    FanoutSession, Identity, QueryChange, QueryModification, Result, SessionCommand, SessionRound,
    SessionStart, Timestamp, UserIdentity,
};

use crate::FanoutSubject;

/// No event of a test takes longer, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(120);

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens")
}

impl FanoutSubject {
    async fn open(&self, not_before: Timestamp) -> FanoutSession {
        let start = SessionStart { deployment: self.deployment, not_before, identity: Identity::Anonymous };
        in_time(self.fanout.open(start)).await.expect("a session")
    }
}

async fn command(session: &FanoutSession, command: SessionCommand) {
    in_time(session.commands.send(Box::new(command))).await.expect("the session is open");
}

/// Keeps the query alive that answers the keys which begin with `prefix`.
fn add(query: u32, prefix: &str) -> QueryModification {
    QueryModification::Add {
        query,
        component: String::new(),
        path: format!("m:{prefix}"),
        arguments: "[{}]".into(),
        journal: None,
    }
}

async fn modify(session: &FanoutSession, version: u32, modifications: Vec<QueryModification>) {
    command(session, SessionCommand::ModifyQueries { version, modifications }).await;
}

async fn next(session: &mut FanoutSession) -> Result<SessionRound> {
    *in_time(session.rounds.recv()).await.expect("it is said how the session ends")
}

/// The round that has the version, and what all up to it have changed.
async fn until(session: &mut FanoutSession, version: u32) -> (SessionRound, Vec<(u32, Option<String>)>) {
    let mut changes = Vec::new();
    loop {
        let round = next(session).await.expect("the session goes on");
        changes.extend(round.changes.iter().map(|change| match change {
            QueryChange::Updated { query, value, .. } => (*query, Some(value.to_string())),
            QueryChange::Removed { query } => (*query, None),
            QueryChange::Failed { error, .. } => panic!("it answers: {}", error.message),
        }));
        if round.query_set_version >= version {
            return (round, changes);
        }
    }
}

fn value(query: u32, keys: &str) -> (u32, Option<String>) {
    (query, Some(keys.to_owned()))
}

pub async fn a_round_shows_what_was_added_and_what_a_commit_has_changed(subject: FanoutSubject) {
    (subject.write)("a1".to_owned()).await;
    let mut session = subject.open(Timestamp::ZERO).await;
    modify(&session, 1, vec![add(1, "a"), add(2, "b")]).await;
    let (first, mut changes) = until(&mut session, 1).await;
    changes.sort();
    assert_eq!(changes, [value(1, "a1"), value(2, "")]);
    let written = (subject.write)("a2".to_owned()).await;
    let mut shown = first.timestamp;
    loop {
        let round = next(&mut session).await.expect("the session goes on");
        assert!(round.timestamp > shown, "moments never go back");
        shown = round.timestamp;
        let [QueryChange::Updated { query: 1, value, .. }] = &round.changes[..] else {
            panic!("nothing else has changed: {:?}", round.changes)
        };
        if &**value == "a1,a2" {
            break;
        }
    }
    assert!(shown >= written);
    modify(&session, 2, vec![QueryModification::Remove { query: 1 }]).await;
    assert_eq!(until(&mut session, 2).await.1, [(1, None)]);
}

pub async fn no_round_is_of_a_moment_before_what_the_client_has_seen(subject: FanoutSubject) {
    let seen = (subject.write)("a1".to_owned()).await;
    let mut session = subject.open(seen).await;
    modify(&session, 1, vec![add(1, "a")]).await;
    assert!(until(&mut session, 1).await.0.timestamp >= seen);
}

pub async fn a_sessions_own_write_is_followed_by_a_round(subject: FanoutSubject) {
    let mut session = subject.open(Timestamp::ZERO).await;
    modify(&session, 1, vec![add(1, "a")]).await;
    until(&mut session, 1).await;
    let written = (subject.write)("elsewhere".to_owned()).await;
    command(&session, SessionCommand::Wrote { timestamp: written }).await;
    while next(&mut session).await.expect("the session goes on").timestamp < written {}
    command(&session, SessionCommand::Touch).await;
    assert!(next(&mut session).await.expect("the session goes on").changes.is_empty());
}

pub async fn another_identity_is_shown_by_its_version(subject: FanoutSubject) {
    let mut session = subject.open(Timestamp::ZERO).await;
    modify(&session, 1, vec![add(1, "a")]).await;
    until(&mut session, 1).await;
    let attributes = [("subject".to_owned(), "\"somebody\"".to_owned())].into();
    let identity = Identity::User(UserIdentity { attributes });
    command(&session, SessionCommand::SetIdentity { version: 3, identity }).await;
    while next(&mut session).await.expect("the session goes on").identity_version < 3 {}
}

pub async fn a_query_that_is_added_twice_ends_the_session_and_says_why(subject: FanoutSubject) {
    let mut session = subject.open(Timestamp::ZERO).await;
    modify(&session, 1, vec![add(1, "a")]).await;
    until(&mut session, 1).await;
    modify(&session, 2, vec![add(1, "b")]).await;
    let error = loop {
        if let Err(error) = next(&mut session).await {
            break error;
        }
    };
    assert_eq!(error.code, "QueryAlreadyAdded");
    assert!(in_time(session.rounds.recv()).await.is_none(), "nothing follows");
}

pub async fn a_session_ends_when_its_commands_do(subject: FanoutSubject) {
    let mut session = subject.open(Timestamp::ZERO).await;
    modify(&session, 1, vec![add(1, "a")]).await;
    until(&mut session, 1).await;
    let FanoutSession { commands, mut rounds } = session;
    drop(commands);
    in_time(async { while rounds.recv().await.is_some_and(|round| round.is_ok()) {} }).await;
}

pub async fn who_takes_no_rounds_holds_up_nobody(subject: FanoutSubject) {
    let mut slow = Vec::new();
    for _ in 0..20 {
        let session = subject.open(Timestamp::ZERO).await;
        modify(&session, 1, vec![add(1, "a")]).await;
        slow.push(session);
    }
    let mut quick = subject.open(Timestamp::ZERO).await;
    modify(&quick, 1, vec![add(1, "a")]).await;
    until(&mut quick, 1).await;
    let mut last = Timestamp::ZERO;
    for number in 0..100 {
        last = (subject.write)(format!("a{number}{}", "x".repeat(1_000))).await;
    }
    while next(&mut quick).await.expect("the session goes on").timestamp < last {}
    // The slow ones skip rounds, and come to the same.
    for mut session in slow {
        let mut rounds = 0;
        while next(&mut session).await.expect("the session goes on").timestamp < last {
            rounds += 1;
        }
        assert!(rounds < 20, "{rounds} rounds have waited");
    }
}

pub async fn many_queries_are_one_command_and_one_round(subject: FanoutSubject) {
    let mut session = subject.open(Timestamp::ZERO).await;
    let text = "x".repeat(3_000);
    let added = |number: u32| QueryModification::Add {
        query: number,
        component: String::new(),
        path: "m:a".to_owned(),
        arguments: format!("[{{\"text\":\"{text}{number}\"}}]").into(),
        journal: None,
    };
    modify(&session, 1, (0..2_000).map(added).collect()).await;
    assert_eq!(until(&mut session, 1).await.1.len(), 2_000);
}
