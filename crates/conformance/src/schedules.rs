//! The contracts of the scheduler, and of what it asks of runners.

use contract::{DueCall, DueOutcome, JobsOf, Timestamp};

use crate::SchedulesSubject;

impl SchedulesSubject {
    fn jobs(&self) -> JobsOf {
        JobsOf { deployment: self.deployment, component: String::new() }
    }
}

pub async fn a_job_is_cancelled_once_and_stays_so(subject: SchedulesSubject) {
    let job = (subject.schedule)().await;
    for _ in 0..2 {
        assert_eq!(subject.schedules.cancel(subject.jobs(), &job).await, Ok(()));
    }
    assert_eq!(subject.schedules.cancel_all(subject.jobs(), None).await, Ok(0), "none is left");
    let error = subject.schedules.cancel(subject.jobs(), "none").await.expect_err("it is no id");
    assert_eq!(error.code, "InvalidArgument");
}

pub async fn all_jobs_are_cancelled_or_those_of_one_function(subject: SchedulesSubject) {
    for _ in 0..5 {
        (subject.schedule)().await;
    }
    let nowhere = subject.schedules.cancel_all(subject.jobs(), Some("nowhere:nothing")).await;
    assert_eq!(nowhere, Ok(0));
    assert_eq!(subject.schedules.cancel_all(subject.jobs(), None).await, Ok(5));
    let elsewhere = JobsOf { component: "nowhere".to_owned(), ..subject.jobs() };
    let error = subject.schedules.cancel_all(elsewhere, None).await.expect_err("there is no such component");
    assert_eq!(error.code, "InvalidArgument");
}

pub async fn an_entry_that_is_due_runs_once(subject: crate::DueRunnerSubject) {
    let entry = (subject.schedule)().await;
    let call = DueCall {
        deployment: subject.deployment,
        entry,
        not_before: Timestamp::ZERO,
        request_id: "the-request".to_owned(),
    };
    assert_eq!(subject.runner.run_due(call.clone()).await, Ok(DueOutcome::Ran));
    assert_eq!(subject.runner.run_due(call).await, Ok(DueOutcome::Gone));
}
