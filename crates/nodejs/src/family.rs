//! What a process has started, and what these have started. Read from `/proc`.

use std::{collections::HashSet, fs, path::Path, thread, time::Duration};

/// One process of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub pid: i32,
    parent: i32,
    session: i32,
    pub has_ended: bool,
    resident_pages: u64,
}

impl Member {
    pub(crate) fn resident_bytes(&self) -> usize {
        // SAFETY: sysconf only reads.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        (self.resident_pages as usize).saturating_mul(page as usize)
    }
}

/// Named in the environment of each process and all that it starts.
pub(crate) const MARK: &str = "TIDEMARK_NODE_PROCESS";

/// Everything that runs on this machine, as far as it is to be seen.
pub(crate) fn everybody() -> Vec<Member> {
    pids().filter_map(|pid| parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).collect()
}

/// Of those, a leader, its descendants and the members of its session.
pub(crate) fn of(leader: i32, everybody: &[Member]) -> Vec<Member> {
    let mut known = HashSet::from([leader]);
    loop {
        let before = known.len();
        for member in everybody {
            if member.session == leader || known.contains(&member.parent) {
                known.insert(member.pid);
            }
        }
        if known.len() == before {
            return everybody.iter().filter(|member| known.contains(&member.pid)).copied().collect();
        }
    }
}

/// Ends what a process has started, and not the process.
pub(crate) fn end_children(leader: i32) {
    end(|| of(leader, &everybody()).into_iter().filter(|member| member.pid != leader).collect());
}

/// Ends a process that nobody has waited for yet, and all that it has started: by descent, session and mark.
pub(crate) fn end_all(leader: i32, home: &Path) {
    end(|| {
        let everybody = everybody();
        let mut members = of(leader, &everybody);
        members.extend(everybody.iter().filter(|member| is_marked(member.pid, home, false)));
        members
    });
}

/// Ends what a former run of the server has left, which had its homes below `homes`.
pub(crate) fn end_left_behind(homes: &Path) {
    end(|| everybody().into_iter().filter(|member| is_marked(member.pid, homes, true)).collect());
}

/// How often processes are looked for that were started meanwhile.
const ROUNDS_MAX: usize = 100;

/// Stops them all before it ends any, so that none can start another one while others are ended.
fn end(find: impl Fn() -> Vec<Member>) {
    let mut stopped = HashSet::new();
    for round in 0..ROUNDS_MAX {
        let living: Vec<i32> =
            find().iter().filter(|member| !member.has_ended).map(|member| member.pid).collect();
        if living.is_empty() {
            return;
        }
        let is_complete = living.iter().all(|pid| stopped.contains(pid));
        for pid in living {
            signal(pid, if is_complete { libc::SIGKILL } else { libc::SIGSTOP });
            stopped.insert(pid);
        }
        if is_complete {
            thread::sleep(Duration::from_millis(1 + round as u64 / 4));
        }
    }
    tracing::error!("processes that Node.js actions have started can't be ended");
}

/// Sends a signal to a process, which may be gone.
pub(crate) fn signal(pid: i32, signal: i32) {
    assert!(pid > 1, "a signal is for one process, and not for the first");
    // SAFETY: kill takes two numbers.
    unsafe { libc::kill(pid, signal) };
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| *pid > 1)
}

fn is_marked(pid: i32, home: &Path, is_prefix: bool) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    let mark = [MARK.as_bytes(), b"=", home.as_os_str().as_encoded_bytes()].concat();
    environment.split(|byte| *byte == 0).any(|variable| match variable.strip_prefix(mark.as_slice()) {
        Some(rest) => rest.is_empty() || is_prefix && rest.starts_with(b"/"),
        None => false,
    })
}

/// A line of `/proc/…/stat`. The name in it can hold anything, and ends at the last bracket.
fn parse(pid: i32, stat: &str) -> Option<Member> {
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let state = *fields.first()?;
    Some(Member {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        has_ended: matches!(state, "Z" | "X"),
        resident_pages: fields.get(21)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(pid: i32, parent: i32, session: i32) -> Member {
        Member { pid, parent, session, has_ended: false, resident_pages: 1 }
    }

    #[test]
    fn nodejs_families_are_descendants_and_sessions() {
        let everybody = [
            member(40, 30, 40),
            member(30, 20, 20),
            member(20, 10, 20),
            member(21, 1, 20),
            member(10, 1, 10),
            member(50, 1, 50),
        ];
        let pids: Vec<i32> = of(20, &everybody).iter().map(|member| member.pid).collect();
        assert_eq!(pids, [40, 30, 20, 21]);
    }

    #[test]
    fn nodejs_process_names_can_hold_anything() {
        let stat = "7 (a) Z 1 (b) S 3 4 5 0 -1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 99 0";
        let parsed = parse(7, stat).expect("readable");
        assert_eq!((parsed.parent, parsed.session, parsed.has_ended), (3, 5, false));
        assert_eq!(parsed.resident_pages, 99);
        assert!(everybody().iter().any(|member| member.pid == std::process::id() as i32));
    }
}
