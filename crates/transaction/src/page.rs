//! Pages of a query.

use bytes::Bytes;
use contract::{Interval, Order};
use value::key;

use crate::{
    Document, Error, Query, Result, Transaction,
    cursor::{CursorPosition, Fingerprint},
    range::interval_of,
    scan::{Scan, Walk, first_rows, passes},
};

/// A page to read.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// What the page is of.
    pub query: Query,
    /// Where the page begins: the `continue_cursor` of the page before; `None` at the start.
    pub cursor: Option<String>,
    /// Where it ends, if that is to be the same as before.
    pub end_cursor: Option<String>,
    /// The number of documents, as the function gave it.
    pub page_size: f64,
    /// Documents that may be scanned for it, those included that a filter leaves out. Ends no search, nor does the next.
    pub maximum_rows_read: Option<f64>,
    /// Bytes of those documents.
    pub maximum_bytes_read: Option<f64>,
}

/// A page that was read.
#[derive(Clone, Debug)]
pub struct Page {
    /// In the order of the query.
    pub documents: Vec<Document>,
    /// Nothing follows.
    pub is_done: bool,
    /// Where the next page begins.
    pub continue_cursor: String,
    /// A place within the page at which it can be split in two.
    pub split_cursor: Option<String>,
    /// Whether it should be split; `None` if it is fine as it is.
    pub status: Option<PageStatus>,
}

/// Why a page should be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageStatus {
    /// Much was read for it.
    SplitRecommended,
    /// A limit was reached before the page was full.
    SplitRequired,
}

impl PageStatus {
    /// As the function library reads it.
    pub const fn name(self) -> &'static str {
        match self {
            PageStatus::SplitRecommended => "SplitRecommended",
            PageStatus::SplitRequired => "SplitRequired",
        }
    }
}

impl Page {
    /// As the function library reads it: `{"page": […], "isDone": …, "continueCursor": …, …}`.
    pub fn to_json(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut json = String::from(r#"{"page":["#);
        for (position, document) in self.documents.iter().enumerate() {
            if position > 0 {
                json.push(',');
            }
            json.push_str(document.json());
        }
        let split_cursor = self.split_cursor.as_deref().map_or("null".to_owned(), quoted);
        let status = self.status.map_or("null".to_owned(), |status| quoted(status.name()));
        json.push_str(&format!(
            r#"],"isDone":{},"continueCursor":{},"splitCursor":{split_cursor},"pageStatus":{status}}}"#,
            self.is_done,
            quoted(&self.continue_cursor),
        ));
        json
    }
}

/// What ends a page.
struct PageEnd {
    items: Option<usize>,
    rows: usize,
    bytes: usize,
}

impl Transaction {
    /// Reads one page. A function may do so once (`MultiplePaginatedDatabaseQueries`).
    ///
    /// If an earlier run of the same query has left a journal, or with an `end_cursor`, the page holds everything between
    /// its cursor and that end, however much that is by now: pages that belong together never overlap and leave no gap.
    pub async fn page(&mut self, request: PageRequest) -> Result<Page> {
        let PageRequest { query, cursor, end_cursor, page_size, maximum_rows_read, maximum_bytes_read } =
            request;
        if self.begins_to_paginate() {
            let message = "a function may read one page of one query; split the work over several functions";
            return Err(Error::user("MultiplePaginatedDatabaseQueries", message));
        }
        let limits = self.limits.transaction;
        let items = page_items(page_size, limits.page_items_max)?;
        // A page ends before the function would fail by what is left to it; the largest document must still fit.
        let (rows_left, bytes_left) = self.reads_left();
        let bytes_left = bytes_left.saturating_sub(self.limits.value.document_bytes_max).max(1);
        let is_search = query.source.search.is_some();
        // What a page asks for ends no search.
        let asked = |maximum: Option<f64>| maximum.filter(|_| !is_search);
        let rows = page_limit("maximumRowsRead", asked(maximum_rows_read), rows_left.max(1))?;
        let bytes = page_limit("maximumBytesRead", asked(maximum_bytes_read), bytes_left)?;
        let (target, fields, interval) = match self.index_to_read(&query)? {
            Some((table, index)) if is_search => {
                let fields = [&index.fields[..], index.kind.filter_fields()].concat();
                (Some((table, index)), fields, Interval::all())
            }
            Some((table, index)) => {
                let interval = interval_of(&index, &self.conditions(&index, &query))?;
                let fields = index.key_fields().to_vec();
                (Some((table, index)), fields, interval)
            }
            None => (None, Vec::new(), Interval::all()),
        };
        let fingerprint = query.fingerprint(&fields);
        let order = query.source.order;
        let begin = match &cursor {
            Some(cursor) => Some(self.decode_cursor(fingerprint, cursor)?),
            None => None,
        };
        let end = match &end_cursor {
            Some(cursor) => Some(self.decode_cursor(fingerprint, cursor)?),
            // A journal of another query is from before the function changed; its page begins anew.
            None => match &self.journal_before {
                Some(journal) if self.depth() == 0 => {
                    let (of, end) = self.cursor_key.decode_journal(self.deployment(), journal)?;
                    (of == fingerprint).then_some(end)
                }
                _ => None,
            },
        };
        let interval = between(interval, order, begin.as_ref(), end.as_ref());
        let rows_first = match end {
            Some(_) => self.limits.prefetch_documents,
            None => first_rows(&query.operators, items),
        };
        let mut walk = match (target, interval) {
            (Some((table, index)), Some(interval)) if is_search => {
                let scan = self.search_scan(&table, &index, &query, interval, rows_first)?;
                scan.map_or(Walk::Nothing, Walk::Search)
            }
            (Some((table, index)), Some(interval)) => {
                self.count_range(index.id, &interval)?;
                let scan = Scan::new(&table, index.id, interval, order, rows_first, usize::MAX);
                Walk::Index(scan.for_function_of(self.component()))
            }
            _ => Walk::Nothing,
        };
        let mut read = PageRead::default();
        let page_end = PageEnd { items: end.is_none().then_some(items), rows, bytes };
        let result = read.fill(self, &mut walk, query.operators, &page_end, end.is_some()).await;
        // Also what a failed run has read decides when it may be run again.
        if let Some((index, interval)) = walk.consumed() {
            self.record_interval(index, interval);
        }
        result?;

        let position = match end {
            Some(end) => end,
            None => match read.keys.last() {
                Some(last) if !read.reached_end => CursorPosition::After(last.clone()),
                _ => CursorPosition::End,
            },
        };
        let much = |used: usize, of: usize| used as u128 * 4 > of as u128 * 3;
        let status = if read.cut {
            Some(PageStatus::SplitRequired)
        } else if read.documents.len() > limits.page_items_split
            || (is_search && read.keys.len() > limits.search_documents_split)
            || much(read.keys.len(), rows)
            || much(read.bytes, bytes)
        {
            Some(PageStatus::SplitRecommended)
        } else {
            None
        };
        let split_cursor = match read.keys.len() {
            0 | 1 => None,
            count => {
                let middle = CursorPosition::After(read.keys[(count - 1) / 2].clone());
                Some(self.encode_cursor(fingerprint, &middle))
            }
        };
        if self.depth() == 0 {
            let deployment = self.deployment();
            self.journal = Some(self.cursor_key.encode_journal(deployment, fingerprint, &position));
        }
        Ok(Page {
            documents: read.documents,
            is_done: position == CursorPosition::End,
            continue_cursor: self.encode_cursor(fingerprint, &position),
            split_cursor,
            status,
        })
    }

    fn decode_cursor(&self, fingerprint: Fingerprint, cursor: &str) -> Result<CursorPosition> {
        self.cursor_key.decode_cursor(self.deployment(), fingerprint, cursor)
    }

    fn encode_cursor(&self, fingerprint: Fingerprint, position: &CursorPosition) -> String {
        self.cursor_key.encode_cursor(self.deployment(), fingerprint, position)
    }
}

/// A page while it is read.
#[derive(Default)]
struct PageRead {
    documents: Vec<Document>,
    /// The keys of all rows that were read, also of those that a filter dropped.
    keys: Vec<Bytes>,
    bytes: usize,
    /// The query has no more.
    reached_end: bool,
    /// A limit on what is read ended it.
    cut: bool,
}

impl PageRead {
    async fn fill(
        &mut self,
        transaction: &mut Transaction,
        walk: &mut Walk,
        mut operators: Vec<crate::query::Operator>,
        end: &PageEnd,
        whole_interval: bool,
    ) -> Result<()> {
        use crate::query::Operator;
        loop {
            if !whole_interval {
                if end.items.is_some_and(|items| self.documents.len() >= items) {
                    return Ok(());
                }
                if self.keys.len() >= end.rows || self.bytes >= end.bytes {
                    self.cut = true;
                    return Ok(());
                }
            }
            if operators.iter().any(|operator| matches!(operator, Operator::Limit(0))) {
                self.reached_end = true;
                return Ok(());
            }
            let Some((key, document, table)) = walk.next(transaction).await? else {
                self.reached_end = walk.is_exhausted();
                return Ok(());
            };
            transaction.count_read(table, Some(&document))?;
            self.keys.push(key);
            self.bytes += document.size_bytes();
            if passes(&mut operators, &document)? {
                self.documents.push(document);
            }
        }
    }
}

fn page_items(page_size: f64, items_max: usize) -> Result<usize> {
    if page_size.is_nan() || page_size < 1.0 {
        return Err(Error::user(
            "NoDocumentsForPagination",
            "a page must have at least one item: `numItems` is 0",
        ));
    }
    if page_size > items_max as f64 {
        return Err(Error::user(
            "PageSizeTooLarge",
            format!("a page has at most {items_max} items, not {page_size}"),
        ));
    }
    Ok(page_size as usize)
}

fn page_limit(name: &str, limit: Option<f64>, most: usize) -> Result<usize> {
    match limit {
        None => Ok(most),
        Some(limit) if limit >= 1.0 => Ok((limit as usize).min(most)),
        Some(limit) => {
            Err(Error::user("InvalidPaginationLimit", format!("`{name}` must be at least 1, not {limit}")))
        }
    }
}

/// The part of an interval that lies behind `begin` and up to `end`, in the order of the query; `None` if that is
/// nothing, whatever is written.
fn between(
    interval: Interval,
    order: Order,
    begin: Option<&CursorPosition>,
    end: Option<&CursorPosition>,
) -> Option<Interval> {
    let Interval { mut start, end: mut stop } = interval;
    match (begin, order) {
        (None, _) => {}
        (Some(CursorPosition::End), _) => return None,
        (Some(CursorPosition::After(key)), Order::Ascending) => start = key::successor(key).into(),
        (Some(CursorPosition::After(key)), Order::Descending) => stop = Some(key.clone()),
    }
    match (end, order) {
        (None | Some(CursorPosition::End), _) => {}
        (Some(CursorPosition::After(key)), Order::Ascending) => stop = Some(key::successor(key).into()),
        (Some(CursorPosition::After(key)), Order::Descending) => start = key.clone(),
    }
    let interval = Interval { start, end: stop };
    (!interval.is_empty()).then_some(interval)
}
