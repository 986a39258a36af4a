//! The sequencer's contract.

use contract::{ErrorKind, GroupId, Timestamp};

use crate::{SequencerSubject, transaction_log::Writer};

pub async fn latest_holds_every_commit_that_was_acknowledged_before_the_call(subject: SequencerSubject) {
    let writer = Writer::new(&subject.log);
    let mut last = Timestamp::ZERO;
    for round in 0..20 {
        let committed = writer.put("key", &format!("{round}")).await;
        let position = subject.sequencer.latest(subject.log.deployment.group).await.expect("it answers");
        assert!(position.published >= committed, "round {round}");
        assert!(position.published >= last, "it does not go back");
        last = position.published;
    }
}

pub async fn many_calls_at_once_are_all_answered(subject: SequencerSubject) {
    let writer = Writer::new(&subject.log);
    let committed = writer.put("key", "value").await;
    let calls = (0..200).map(|_| subject.sequencer.latest(subject.log.deployment.group));
    for position in futures::future::join_all(calls).await {
        assert!(position.expect("it answers").published >= committed);
    }
}

pub async fn groups_that_are_not_there_are_refused(subject: SequencerSubject) {
    let error = subject.sequencer.latest(GroupId(4_000_000)).await.expect_err("there is no such group");
    assert_eq!(error.kind, ErrorKind::NotFound);
}
