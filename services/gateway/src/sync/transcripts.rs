//! Connections as stories: each file in `scenarios` is a transcript of what a client sends, what the services answer, and
//! what follows from it, which a person can read and this test replays. `REWRITE=1` writes down what follows now; look at
//! the difference then.
//!
//! | happens | meaning |
//! |---|---|
//! | `connect`, then the message | a connection is there and its first message |
//! | `client`, then the message | its client sends |
//! | `round at=10 query-set=1 identity=0`, then lines `0 is "a"`, `0 failed: why` and `0 is gone` | the fan-out sends |
//! | `verified subject=ann seconds=60` | the client's token holds so long |
//! | `not-verified`, then why | it does not hold |
//! | `answered at=20` | a mutation was answered to its client |

use auth::{AuthError, Verified};
use contract::{
    FunctionError, Identity, QueryChange, QueryModification, SessionCommand, SessionRound, Timestamp,
    UserIdentity,
};
use datadriven::{DataDrivenError, TestCase};
use sync_protocol::{ClientMessage, ServerMessage};

use super::{
    close::Close,
    session::{Session, Step},
};
use crate::admin_key::{AdminKeys, tests::opened_by};

type Result<T> = std::result::Result<T, DataDrivenError>;

const QUERIES_MAX: usize = 3;
const NOW_MS: i64 = 1_000;
const KEY: &str = "dev|01abcdef";

#[test]
fn the_transcripts_are_what_happens() {
    datadriven::walk("scenarios", |file| {
        let mut session = None;
        file.run(|case| replay(&mut session, case));
    });
}

fn replay(session: &mut Option<Session>, case: &mut TestCase) -> Result<String> {
    let wrong = |what: &str| DataDrivenError::Argument(what.to_owned());
    let message = |text: &str| ClientMessage::parse(text.trim()).map_err(|error| wrong(&error.to_string()));
    if case.directive == "connect" {
        let ClientMessage::Connect(connect) = message(&case.input)? else {
            return Err(wrong("the first message is Connect"));
        };
        let new = Session::new(&connect, NOW_MS, AdminKeys::of(&opened_by(KEY)), QUERIES_MAX);
        let text = format!("fan-out: open a session, not before {}\n", new.observed());
        *session = Some(new);
        return Ok(text);
    }
    let session = session.as_mut().ok_or_else(|| wrong("there is no connection"))?;
    let text = match case.directive.as_str() {
        "client" => match session.message(message(&case.input)?, NOW_MS as u64) {
            Some(step) => told(step),
            None => "nothing\n".to_owned(),
        },
        "round" => {
            let round = SessionRound {
                timestamp: timestamp(case.take_arg("at")?),
                query_set_version: case.take_arg("query-set")?,
                identity_version: case.take_arg("identity")?,
                changes: case.input.lines().map(change).collect(),
            };
            if let Some(step) = session.before_round(NOW_MS as u64) {
                return Ok(told(step));
            }
            match session.round(round, 77) {
                Ok(transition) => format!("client: {}\n", ServerMessage::Transition(transition).to_json()),
                Err(error) => closed(&Close::after(&error)),
            }
        }
        "verified" => {
            let subject: String = case.take_arg("subject")?;
            let attributes = [("subject".to_owned(), format!("{subject:?}"))].into();
            let valid_until_ms = NOW_MS as u64 + case.take_arg::<u64>("seconds")? * 1_000;
            told(session.verified(Ok(Verified { identity: UserIdentity { attributes }, valid_until_ms })))
        }
        "not-verified" => {
            let reason = case.input.trim().to_owned();
            told(session.verified(Err(AuthError::NotDecoded { reason }.into())))
        }
        "answered" => {
            session.answered(timestamp(case.take_arg("at")?));
            format!("seen up to {}\n", session.observed())
        }
        other => return Err(wrong(&format!("nothing is called {other}"))),
    };
    case.expect_empty()?;
    Ok(text)
}

fn timestamp(nanoseconds: u64) -> Timestamp {
    Timestamp::new(nanoseconds).expect("small")
}

fn told(step: Step) -> String {
    match step {
        Step::Command(SessionCommand::ModifyQueries { version, modifications }) => {
            let mut text = format!("fan-out: query set {version}\n");
            for modification in modifications {
                text += &match modification {
                    QueryModification::Add { query, path, arguments, journal, component } => {
                        let inside =
                            if component.is_empty() { String::new() } else { format!(" of {component}") };
                        let journal =
                            journal.map_or_else(String::new, |journal| format!(", journal {journal}"));
                        format!("  add {query}: {path}{inside} {arguments}{journal}\n")
                    }
                    QueryModification::Remove { query } => format!("  remove {query}\n"),
                };
            }
            text
        }
        Step::Command(SessionCommand::SetIdentity { version, identity }) => {
            format!("fan-out: identity {version}, {}\n", name(&identity))
        }
        Step::Command(other) => format!("fan-out: {other:?}\n"),
        Step::Mutation(mutation) => format!(
            "runner: mutation {} of session {}: {} {} by {}, not before {}\n",
            mutation.session.request,
            mutation.session.session,
            mutation.request.path,
            mutation.request.arguments,
            name(&mutation.by.identity),
            mutation.not_before,
        ),
        Step::Action(action) => format!("runner: action {}\n", action.request.path),
        Step::Verify(token) => format!("tokens: verify {}\n", token.0),
        Step::Refuse(message) => format!("client: {}\nfrom now on nothing is heard\n", message.to_json()),
        Step::Close(close) => closed(&close),
    }
}

fn closed(close: &Close) -> String {
    format!("closed with {}: {}\n", close.code, close.reason)
}

fn name(identity: &Identity) -> String {
    match identity {
        Identity::Anonymous => "nobody".to_owned(),
        Identity::Admin { acting_as: None, .. } => "an administrator".to_owned(),
        other => match other.user() {
            Some(user) => format!("user {}", user.attributes["subject"]),
            None => format!("{other:?}"),
        },
    }
}

fn change(line: &str) -> QueryChange {
    let (number, rest) = line.split_once(' ').expect("a query's number and what it is");
    let query = number.parse().expect("a query's number");
    if rest == "is gone" {
        return QueryChange::Removed { query };
    }
    let (log_lines, journal) = ([].into(), None);
    if let Some(message) = rest.strip_prefix("failed: ") {
        let error = FunctionError { message: message.to_owned(), data: None };
        return QueryChange::Failed { query, error, log_lines, journal };
    }
    let value = rest.strip_prefix("is ").expect("`is` and a value");
    QueryChange::Updated { query, value: value.into(), log_lines, journal }
}
