//! Callers of functions that only a limit ends.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result, ensure};
use harness::Server;
use serde_json::json;
use tokio::task::JoinSet;

/// What is called, and as what. They are in `app/convex/hostile.ts`.
const FUNCTIONS: [(&str, &str); 8] = [
    ("loop", "query"),
    ("loopInMutation", "mutation"),
    ("backtrack", "query"),
    ("fill", "query"),
    ("recurse", "query"),
    ("write", "mutation"),
    ("print", "query"),
    ("answer", "query"),
];

/// How a limit shows in an error. Which one is met first is a matter of the machine's speed for some of them.
const LIMITS: [&str; 6] = [
    "Function execution timed out",
    "SystemTimeoutError",
    "FunctionOutOfMemory",
    "FunctionResultTooLarge",
    "Maximum call stack size exceeded",
    "TooMany",
];

/// Callers at work, each with one call under way.
pub struct Hostile {
    is_over: Arc<AtomicBool>,
    callers: JoinSet<Result<u64>>,
}

impl Hostile {
    /// The names of the functions.
    pub fn names() -> Vec<String> {
        FUNCTIONS.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    /// Each caller takes the functions of these names in turns, beginning with another one.
    pub fn start(server: &Arc<Server>, callers: usize, names: &[String]) -> Hostile {
        let functions: Arc<[_]> =
            FUNCTIONS.into_iter().filter(|(name, _)| names.iter().any(|wanted| wanted == name)).collect();
        let is_over = Arc::new(AtomicBool::new(false));
        let mut hostile = Hostile { is_over: Arc::clone(&is_over), callers: JoinSet::new() };
        for first in 0..callers {
            let (server, functions, is_over) =
                (Arc::clone(server), Arc::clone(&functions), Arc::clone(&is_over));
            hostile.callers.spawn(async move {
                let mut ended = 0;
                for (name, kind) in functions.iter().cycle().skip(first % functions.len().max(1)) {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let answer = server.call(kind, &format!("hostile:{name}"), json!({})).await;
                    let text = answer.err().with_context(|| format!("{name} ended by itself"))?.to_string();
                    ensure!(
                        LIMITS.iter().any(|limit| text.contains(limit)),
                        "{name} did not end by a limit: {text}"
                    );
                    ended += 1;
                }
                Ok(ended)
            });
        }
        hostile
    }

    /// Waits for the calls that are under way. Returns how many there were; each has ended by a limit.
    pub async fn stop(mut self) -> Result<u64> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut ended = 0;
        while let Some(caller) = self.callers.join_next().await {
            ended += caller??;
        }
        Ok(ended)
    }
}
