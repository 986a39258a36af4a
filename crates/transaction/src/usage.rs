//! What a transaction has used, and how much of it nested calls may use.

use value::ValueLimits;

use crate::limits::TransactionLimits;

use crate::{Error, Result};

/// Counters of one transaction, nested calls included. Only user tables count, unless a field says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of the documents scanned.
    pub bytes_read: usize,
    /// Documents scanned, also those that a filter dropped.
    pub documents_read: usize,
    /// Different index ranges read: of single documents and of queries.
    pub database_queries: usize,
    /// Bytes of the documents written; a deleted document counts with the size that it had.
    pub bytes_written: usize,
    /// Inserts, updates and deletes.
    pub documents_written: usize,
    /// Documents of system tables scanned. Not limited.
    pub system_documents_read: usize,
    /// Bytes of documents of system tables scanned. Not limited.
    pub system_bytes_read: usize,
    /// Writes to system tables.
    pub system_documents_written: usize,
    /// Bytes written to system tables.
    pub system_bytes_written: usize,
    /// Functions scheduled.
    pub functions_scheduled: usize,
    /// Bytes of their arguments.
    pub scheduled_arguments_bytes: usize,
    /// The size of the largest document written.
    pub largest_document_bytes: usize,
    /// How deep the deepest document written nests.
    pub deepest_document: usize,
}

/// Lower limits for one nested call, as its caller asked for; `None` leaves the transaction's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NestedLimits {
    /// Bytes of documents scanned.
    pub bytes_read: Option<f64>,
    /// Documents scanned.
    pub documents_read: Option<f64>,
    /// Ranges read.
    pub database_queries: Option<f64>,
    /// Bytes of documents written.
    pub bytes_written: Option<f64>,
    /// Documents written.
    pub documents_written: Option<f64>,
    /// Functions scheduled.
    pub functions_scheduled: Option<f64>,
    /// Bytes of their arguments.
    #[serde(rename = "scheduledFunctionArgsBytes")]
    pub scheduled_arguments_bytes: Option<f64>,
}

/// One line of `getTransactionMetrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// As functions see it: `bytesRead`.
    pub name: &'static str,
    /// By the transaction so far.
    pub used: usize,
    /// Until the limit.
    pub remaining: usize,
}

/// A limit of which so much is used that the function's author should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageWarning {
    /// The code of the error that going over the limit would be.
    pub code: &'static str,
    /// One sentence.
    pub message: String,
}

/// The most that the counters may reach; like [`Usage`], but only what users can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caps {
    bytes_read: usize,
    documents_read: usize,
    database_queries: usize,
    bytes_written: usize,
    documents_written: usize,
    functions_scheduled: usize,
    scheduled_arguments_bytes: usize,
    system_documents_written: usize,
    system_bytes_written: usize,
}

impl Caps {
    pub(crate) fn of(limits: &TransactionLimits) -> Caps {
        Caps {
            bytes_read: limits.read_bytes_max,
            documents_read: limits.read_documents_max,
            database_queries: limits.read_intervals_max,
            bytes_written: limits.written_bytes_max,
            documents_written: limits.written_documents_max,
            functions_scheduled: limits.scheduled_functions_max,
            scheduled_arguments_bytes: limits.scheduled_arguments_bytes_max,
            system_documents_written: limits.system_written_documents_max,
            system_bytes_written: limits.system_written_bytes_max,
        }
    }

    /// The caps of a call that begins when `used` is used. They are never higher than its caller's.
    pub(crate) fn nested(&self, used: &Usage, nested: &NestedLimits) -> Caps {
        // A fraction, a negative number or NaN becomes the next whole number that is not more; that is `as`.
        let lower = |cap: usize, used: usize, limit: Option<f64>| match limit {
            Some(limit) => cap.min(used.saturating_add(limit as usize)),
            None => cap,
        };
        Caps {
            bytes_read: lower(self.bytes_read, used.bytes_read, nested.bytes_read),
            documents_read: lower(self.documents_read, used.documents_read, nested.documents_read),
            database_queries: lower(self.database_queries, used.database_queries, nested.database_queries),
            bytes_written: lower(self.bytes_written, used.bytes_written, nested.bytes_written),
            documents_written: lower(
                self.documents_written,
                used.documents_written,
                nested.documents_written,
            ),
            functions_scheduled: lower(
                self.functions_scheduled,
                used.functions_scheduled,
                nested.functions_scheduled,
            ),
            scheduled_arguments_bytes: lower(
                self.scheduled_arguments_bytes,
                used.scheduled_arguments_bytes,
                nested.scheduled_arguments_bytes,
            ),
            ..*self
        }
    }
}

fn over(code: &'static str, what: &str, cap: usize, hint: &str) -> Result<()> {
    Err(Error::user(code, format!("the function {what} (limit: {cap}). {hint}")))
}

impl Usage {
    pub(crate) fn check(&self, caps: &Caps) -> Result<()> {
        const READ_LESS: &str = "Read less at once: use an index range, `take` or `paginate`.";
        const WRITE_LESS: &str = "Write less at once: split the work over several mutations.";
        if self.documents_read > caps.documents_read {
            return over("TooManyDocumentsRead", "read too many documents", caps.documents_read, READ_LESS);
        }
        if self.bytes_read > caps.bytes_read {
            return over("TooManyBytesRead", "read too many bytes", caps.bytes_read, READ_LESS);
        }
        if self.database_queries > caps.database_queries {
            let hint = "Each `get` and each query counts: fetch several documents by one query.";
            return over("TooManyReads", "read too many index ranges", caps.database_queries, hint);
        }
        if self.documents_written > caps.documents_written {
            return over("TooManyWrites", "wrote too many documents", caps.documents_written, WRITE_LESS);
        }
        if self.bytes_written > caps.bytes_written {
            return over("TooManyBytesWritten", "wrote too many bytes", caps.bytes_written, WRITE_LESS);
        }
        if self.functions_scheduled > caps.functions_scheduled {
            let hint = "Schedule one function that schedules the others.";
            return over(
                "TooManyFunctionsScheduled",
                "scheduled too many functions",
                caps.functions_scheduled,
                hint,
            );
        }
        if self.scheduled_arguments_bytes > caps.scheduled_arguments_bytes {
            let what = "scheduled functions with too many bytes of arguments";
            let hint = "Store large arguments as documents and schedule with their ids.";
            let cap = caps.scheduled_arguments_bytes;
            return over("ScheduledFunctionsArgumentsTooLarge", what, cap, hint);
        }
        self.check_system_writes(caps)
    }

    /// A function that went over another limit can still be recorded.
    pub(crate) fn check_system_writes(&self, caps: &Caps) -> Result<()> {
        if self.system_documents_written > caps.system_documents_written {
            let what = "wrote too many rows of system tables";
            return over("TooManySystemWrites", what, caps.system_documents_written, "");
        }
        if self.system_bytes_written > caps.system_bytes_written {
            let what = "wrote too many bytes to system tables";
            return over("TooManySystemWrites", what, caps.system_bytes_written, "");
        }
        Ok(())
    }

    /// Each with its cap and its code.
    fn counters(&self, caps: &Caps) -> [(Metric, usize, &'static str); 7] {
        let counter = |name, used: usize, cap: usize, code| {
            (Metric { name, used, remaining: cap.saturating_sub(used) }, cap, code)
        };
        [
            counter("bytesRead", self.bytes_read, caps.bytes_read, "TooManyBytesRead"),
            counter("bytesWritten", self.bytes_written, caps.bytes_written, "TooManyBytesWritten"),
            counter("databaseQueries", self.database_queries, caps.database_queries, "TooManyReads"),
            counter("documentsRead", self.documents_read, caps.documents_read, "TooManyDocumentsRead"),
            counter("documentsWritten", self.documents_written, caps.documents_written, "TooManyWrites"),
            counter(
                "functionsScheduled",
                self.functions_scheduled,
                caps.functions_scheduled,
                "TooManyFunctionsScheduled",
            ),
            counter(
                "scheduledFunctionArgsBytes",
                self.scheduled_arguments_bytes,
                caps.scheduled_arguments_bytes,
                "ScheduledFunctionsArgumentsTooLarge",
            ),
        ]
    }

    /// Documents and bytes.
    pub(crate) fn reads_left(&self, caps: &Caps) -> (usize, usize) {
        let documents = caps.documents_read.saturating_sub(self.documents_read);
        (documents, caps.bytes_read.saturating_sub(self.bytes_read))
    }

    pub(crate) fn metrics(&self, caps: &Caps) -> Vec<Metric> {
        self.counters(caps).into_iter().map(|(metric, ..)| metric).collect()
    }

    /// One warning for each limit of which `warn_percent` or more is used.
    pub fn warnings(&self, limits: &TransactionLimits, documents: &ValueLimits) -> Vec<UsageWarning> {
        let counters = self.counters(&Caps::of(limits)).map(|(Metric { name, used, .. }, cap, code)| {
            UsageWarning::of(code, used, cap, limits, || format!("{name}: {used} of at most {cap} are used"))
        });
        let (bytes, bytes_max) = (self.largest_document_bytes, documents.document_bytes_max);
        let size = UsageWarning::of("ValueTooLargeError", bytes, bytes_max, limits, || {
            format!("a document has {bytes} of at most {bytes_max} bytes")
        });
        let (levels, levels_max) = (self.deepest_document, documents.document_nesting_max);
        let nesting = UsageWarning::of("InvalidDocumentError", levels, levels_max, limits, || {
            format!("a document nests {levels} of at most {levels_max} levels deep")
        });
        counters.into_iter().chain([size, nesting]).flatten().collect()
    }
}

impl UsageWarning {
    /// A warning if `used` is `warn_percent` or more of `cap`.
    pub fn of(
        code: &'static str,
        used: usize,
        cap: usize,
        limits: &TransactionLimits,
        message: impl FnOnce() -> String,
    ) -> Option<UsageWarning> {
        let near = used as u128 * 100 >= cap as u128 * limits.warn_percent as u128;
        near.then(|| UsageWarning { code, message: message() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_fails_by_its_name_and_only_above_it() {
        let caps = Caps::of(&TransactionLimits::DEFAULT);
        let limits = TransactionLimits::DEFAULT;
        type Counter = fn(&mut Usage) -> &mut usize;
        let cases: [(&str, usize, Counter); 9] = [
            ("TooManyDocumentsRead", limits.read_documents_max, |usage| &mut usage.documents_read),
            ("TooManyBytesRead", limits.read_bytes_max, |usage| &mut usage.bytes_read),
            ("TooManyReads", limits.read_intervals_max, |usage| &mut usage.database_queries),
            ("TooManyWrites", limits.written_documents_max, |usage| &mut usage.documents_written),
            ("TooManyBytesWritten", limits.written_bytes_max, |usage| &mut usage.bytes_written),
            ("TooManyFunctionsScheduled", limits.scheduled_functions_max, |usage| {
                &mut usage.functions_scheduled
            }),
            ("ScheduledFunctionsArgumentsTooLarge", limits.scheduled_arguments_bytes_max, |usage| {
                &mut usage.scheduled_arguments_bytes
            }),
            ("TooManySystemWrites", limits.system_written_documents_max, |usage| {
                &mut usage.system_documents_written
            }),
            ("TooManySystemWrites", limits.system_written_bytes_max, |usage| &mut usage.system_bytes_written),
        ];
        for (code, limit, counter) in cases {
            let mut usage = Usage::default();
            *counter(&mut usage) = limit;
            assert!(usage.check(&caps).is_ok(), "{code}");
            *counter(&mut usage) = limit + 1;
            assert_eq!(usage.check(&caps).unwrap_err().code(), code);
        }
    }

    #[test]
    fn a_nested_call_gets_at_most_what_its_caller_has_left() {
        let limits = TransactionLimits { read_documents_max: 10, ..TransactionLimits::DEFAULT };
        let caps = Caps::of(&limits);
        let used = Usage { documents_read: 4, ..Usage::default() };
        let reads = |documents_read| NestedLimits { documents_read, ..NestedLimits::default() };
        assert_eq!(caps.nested(&used, &reads(Some(2.0))).documents_read, 6);
        assert_eq!(caps.nested(&used, &reads(Some(-3.0))).documents_read, 4);
        assert_eq!(caps.nested(&used, &reads(Some(f64::INFINITY))).documents_read, 10);
        assert_eq!(caps.nested(&used, &reads(None)), caps);
        let schedules = NestedLimits { functions_scheduled: Some(1.0), ..NestedLimits::default() };
        assert_eq!(caps.nested(&used, &schedules).functions_scheduled, 1);
    }

    #[test]
    fn a_warning_comes_at_four_fifths() {
        let (limits, documents) = (TransactionLimits::DEFAULT, ValueLimits::DEFAULT);
        type Counter = fn(&mut Usage) -> &mut usize;
        let cases: [(&str, usize, Counter); 3] = [
            ("TooManyWrites", limits.written_documents_max, |usage| &mut usage.documents_written),
            ("ValueTooLargeError", documents.document_bytes_max, |usage| &mut usage.largest_document_bytes),
            ("InvalidDocumentError", documents.document_nesting_max, |usage| &mut usage.deepest_document),
        ];
        for (code, limit, counter) in cases {
            let mut usage = Usage::default();
            let first = (limit * 8).div_ceil(10);
            *counter(&mut usage) = first - 1;
            assert_eq!(usage.warnings(&limits, &documents), [], "{code}");
            for used in [first, limit + 7] {
                *counter(&mut usage) = used;
                let warnings = usage.warnings(&limits, &documents);
                let [warning] = &warnings[..] else { panic!("{code}: {warnings:?}") };
                assert_eq!(warning.code, code);
                let numbers = [format!("{used} of"), format!("at most {limit} ")];
                assert!(numbers.iter().all(|number| warning.message.contains(number)), "{}", warning.message);
            }
        }
    }
}
