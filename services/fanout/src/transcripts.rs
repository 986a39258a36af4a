//! The tides as stories: each file in `scenarios` is a transcript of what happens and what follows from it, which a
//! person can read and this test replays. `REWRITE=1` writes down what follows now; look at the difference then.
//!
//! | happens | meaning |
//! |---|---|
//! | `open client=ann user=ann not-before=110` | a session begins; `user` and `not-before` may be left out |
//! | `change client=ann version=2`, then lines `add 1 a` and `remove 1` | its query set changes |
//! | `identify client=ann version=1 user=bob` | it has another identity |
//! | `wrote client=ann at=110` | its client was answered about a write |
//! | `take client=ann` | its client has taken what it was sent |
//! | `close client=ann` | it is over |
//! | `answer query=a reads=identity`, then the value | the oldest run of a query ends; it has read the key of its name |
//! | `commit at=110 keys=(a,b)` | a commit is published |
//! | `published at=110` | there is no other commit up to then |
//! | `gap from=110` | the commit stream begins anew |
//! | `wait ms=5` | time passes |

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use contract::{
    CommitNotice, Identity, Interval, Observed, QueryChange, QueryOutcome, ReadSet, SessionRound, TouchedKey,
};
use datadriven::{DataDrivenError, TestCase};

use crate::{
    call::{Asker, Call, Command, Modification},
    outcome::FinishedRun,
    scenarios::{INDEX, OPTIONS, at, memory, user},
    session::SessionId,
    tides::{Effect, RunOrder, Tides},
};

type Result<T> = std::result::Result<T, DataDrivenError>;

struct Transcript {
    tides: Tides,
    now: Instant,
    names: BTreeMap<SessionId, String>,
    orders: VecDeque<RunOrder>,
}

#[test]
fn the_transcripts_are_what_happens() {
    datadriven::walk("scenarios", |file| {
        let mut transcript = Transcript::new();
        file.run(|case| transcript.replay(case));
    });
}

impl Transcript {
    /// The stream stands at 100.
    fn new() -> Transcript {
        let mut tides = Tides::new(OPTIONS, memory(), Arc::default());
        let now = Instant::now();
        tides.follow(at(100), now);
        Transcript { tides, now, names: BTreeMap::new(), orders: VecDeque::new() }
    }

    fn replay(&mut self, case: &mut TestCase) -> Result<String> {
        let now = self.now;
        match case.directive.as_str() {
            "open" => {
                let session = SessionId(self.names.len() as u64);
                self.names.insert(session, case.take_arg("client")?);
                let not_before = case.try_take_arg("not-before")?.unwrap_or(0);
                self.tides.open(session, identity(case)?, at(not_before));
            }
            "change" => {
                let modifications = case.input.lines().map(modification).collect();
                let command = Command::ModifyQueries { version: case.take_arg("version")?, modifications };
                self.command(case, command)?;
            }
            "identify" => {
                let asker = Arc::new(Asker::new(identity(case)?));
                let command = Command::SetIdentity { version: case.take_arg("version")?, asker };
                self.command(case, command)?;
            }
            "wrote" => {
                let timestamp = at(case.take_arg("at")?);
                self.command(case, Command::Wrote { timestamp })?;
            }
            "take" => {
                let session = self.session(case)?;
                self.tides.room(session, now);
            }
            "close" => {
                let session = self.session(case)?;
                self.tides.close(session);
            }
            "answer" => {
                if !self.answer(case)? {
                    return Ok("no such run is under way\n".to_owned());
                }
            }
            "commit" => {
                let keys: Vec<String> = case.take_args("keys")?;
                let keys = keys.into_iter().map(|key| TouchedKey { index: INDEX, key: key.into() }).collect();
                let timestamp = at(case.take_arg("at")?);
                self.tides.commit(&Arc::new(CommitNotice { timestamp, keys }), now);
            }
            "published" => self.tides.heartbeat(at(case.take_arg("at")?), now),
            "gap" => self.tides.follow(at(case.take_arg("from")?), now),
            "wait" => {
                self.now += Duration::from_millis(case.take_arg("ms")?);
                // The stream's heartbeats go on.
                self.tides.heartbeat(self.tides.published(), self.now);
            }
            other => return Err(DataDrivenError::Argument(format!("nothing is called {other}"))),
        }
        case.expect_empty()?;
        self.tides.tide(self.now);
        let text: String = self.tides.take_effects().into_iter().map(|effect| self.tell(effect)).collect();
        Ok(if text.is_empty() { "nothing\n".to_owned() } else { text })
    }

    fn session(&self, case: &mut TestCase) -> Result<SessionId> {
        let name: String = case.take_arg("client")?;
        // The newest of that name.
        let known = self.names.iter().rev().find(|(_, known)| **known == name);
        known
            .map(|(session, _)| *session)
            .ok_or_else(|| DataDrivenError::Argument(format!("there is no client {name}")))
    }

    fn command(&mut self, case: &mut TestCase, command: Command) -> Result<()> {
        let session = self.session(case)?;
        let published = self.tides.published();
        self.tides.command(session, command, published, self.now);
        Ok(())
    }

    /// Whether there was such a run.
    fn answer(&mut self, case: &mut TestCase) -> Result<bool> {
        let name: String = case.take_arg("query")?;
        let reads: Option<String> = case.try_take_arg("reads")?;
        let place = self.orders.iter().position(|order| query_of(order) == name);
        let Some(order) = place.and_then(|place| self.orders.remove(place)) else { return Ok(false) };
        let mut read_set = ReadSet::new();
        read_set.add(INDEX, Interval::point(name.as_bytes()));
        let observed = Observed {
            identity: reads.as_deref() == Some("identity"),
            time: reads.as_deref() == Some("time"),
        };
        let outcome = QueryOutcome {
            timestamp: order.at,
            result: Ok(case.input.trim().into()),
            log_lines: Vec::new(),
            journal: None,
            read_set: Arc::new(read_set),
            observed,
        };
        self.tides.run_finished(order.run, Ok(FinishedRun::new(outcome, None)), self.now);
        Ok(true)
    }

    fn tell(&mut self, effect: Effect) -> String {
        match effect {
            Effect::Run(order) => {
                let whose = order
                    .identity
                    .user()
                    .map_or_else(String::new, |user| format!(" as {}", user.attributes["subject"]));
                let text = format!("run {}{whose} at {}\n", query_of(&order), order.at);
                self.orders.push_back(order);
                text
            }
            Effect::Abandon(run) => {
                let place = self.orders.iter().position(|order| order.run == run);
                let order = place.and_then(|place| self.orders.remove(place)).expect("it was ordered");
                format!("abandon the run of {} at {}\n", query_of(&order), order.at)
            }
            Effect::Send(session, round) => format!("{} is sent {}", self.names[&session], shown(&round)),
            Effect::End(session, error) => format!("{} is ended: {}\n", self.names[&session], error.code),
        }
    }
}

fn identity(case: &mut TestCase) -> Result<Identity> {
    let subject: Option<String> = case.try_take_arg("user")?;
    Ok(subject.map_or(Identity::Anonymous, |subject| user(&subject, "1")))
}

/// The query's name without its module.
fn query_of(order: &RunOrder) -> &str {
    order.call.path.split(':').nth(1).expect("a path has a module")
}

fn modification(line: &str) -> Modification {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |word: &str| word.parse().expect("a query's number");
    match words[..] {
        ["add", query, name] => {
            let call = Arc::new(Call::new(String::new(), &format!("queries:{name}"), &"[{}]".into()));
            Modification::Add { query: number(query), call, journal: None }
        }
        ["remove", query] => Modification::Remove { query: number(query) },
        _ => panic!("neither `add` nor `remove`: {line}"),
    }
}

fn shown(round: &SessionRound) -> String {
    let SessionRound { timestamp, query_set_version, identity_version, changes } = round;
    let mut text =
        format!("the view at {timestamp}, query set {query_set_version}, identity {identity_version}\n");
    for change in changes {
        let line = match change {
            QueryChange::Updated { query, value, .. } => format!("{query} is {value}"),
            QueryChange::Failed { query, error, .. } => format!("{query} failed: {}", error.message),
            QueryChange::Removed { query } => format!("{query} is gone"),
        };
        writeln!(text, "  {line}").expect("a String takes everything");
    }
    text
}
