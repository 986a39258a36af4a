//! Walking an index: committed rows and pending writes, merged in the order of the index.

use std::{borrow::Cow, collections::VecDeque, ops::Bound, sync::Arc};

use bytes::Bytes;
use contract::{IndexId, Interval, Order, Read, ReadResult, Row};
use value::{ComponentId, IndexName, key};

use crate::{
    Document, Error, Query, Result, Table, Transaction,
    catalog::{COMPONENT_FIELD, Index, IndexState},
    catalog_cache::unexpected_result,
    fact::Fact,
    pending::DocumentKey,
    query::{Operator, RangeComparison, RangeExpression},
    range::interval_of,
    search::{SearchScan, check_kind},
    system_rows::component_in_rows,
    system_tables::COMPONENT_INDEX,
};

/// An open query of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// A walk over an interval of one index. It knows how far it was consumed; reading ahead does not count.
#[derive(Debug)]
pub(crate) struct Scan {
    table: Arc<Table>,
    index: IndexId,
    whole: Interval,
    order: Order,
    /// The key of the last row that was consumed, pending ones included.
    position: Option<Bytes>,
    exhausted: bool,
    /// Committed rows that were read ahead.
    ahead: VecDeque<Row>,
    /// What of the interval was not read yet; `None` when all was.
    unread: Option<Interval>,
    /// Rows to ask for next time; grows.
    rows: usize,
    rows_max: usize,
    /// The component whose function sees the documents, where the table holds those of all components.
    shown_to: Option<ComponentId>,
}

/// An open query: a scan and what happens to each document on its way.
#[derive(Debug)]
pub(crate) struct QueryStream {
    walk: Walk,
    operators: Vec<Operator>,
}

/// Where the documents of a query come from.
#[derive(Debug)]
pub(crate) enum Walk {
    /// There can be none.
    Nothing,
    Index(Scan),
    Search(SearchScan),
}

impl Walk {
    /// The next document, its place in the order of the query, and its table.
    pub(crate) async fn next(
        &mut self,
        transaction: &mut Transaction,
    ) -> Result<Option<(Bytes, Document, &Arc<Table>)>> {
        let (next, table) = match self {
            Walk::Nothing => return Ok(None),
            Walk::Index(scan) => (scan.next(transaction).await?, &scan.table),
            Walk::Search(scan) => (scan.next(transaction).await?, scan.table()),
        };
        Ok(next.map(|(place, document)| (place, document, table)))
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        match self {
            Walk::Nothing => true,
            Walk::Index(scan) => scan.exhausted,
            Walk::Search(scan) => scan.is_exhausted(),
        }
    }

    /// What of an index was seen, besides what is in the read set already.
    pub(crate) fn consumed(&self) -> Option<(IndexId, Interval)> {
        match self {
            Walk::Index(scan) => scan.consumed(),
            // A search is in the read set from when it was made.
            Walk::Nothing | Walk::Search(_) => None,
        }
    }
}

impl Scan {
    /// `rows`: how many rows to ask for at first; later twice as many each time, up to `rows_max`. The log gives
    /// less if it has to.
    pub(crate) fn new(
        table: &Arc<Table>,
        index: IndexId,
        interval: Interval,
        order: Order,
        rows: usize,
        rows_max: usize,
    ) -> Scan {
        let unread = (!interval.is_empty()).then(|| interval.clone());
        let (rows, rows_max) = (rows.clamp(1, rows_max), rows_max);
        Scan {
            table: Arc::clone(table),
            index,
            whole: interval,
            order,
            position: None,
            exhausted: false,
            ahead: VecDeque::new(),
            unread,
            rows,
            rows_max,
            shown_to: None,
        }
    }

    /// The same for a function of a component, of whose documents it sees as much as applications may.
    pub(crate) fn for_function_of(self, component: ComponentId) -> Scan {
        let shown_to = self.table.is_system().then_some(component);
        Scan { shown_to, ..self }
    }

    /// The part of the interval whose contents were seen; `None` if nothing was.
    pub(crate) fn consumed(&self) -> Option<(IndexId, Interval)> {
        if self.exhausted {
            return Some((self.index, self.whole.clone()));
        }
        let position = self.position.as_ref()?;
        let Interval { start, end } = self.whole.clone();
        let consumed = match self.order {
            Order::Ascending => Interval { start, end: Some(key::successor(position).into()) },
            Order::Descending => Interval { start: position.clone(), end },
        };
        Some((self.index, consumed))
    }

    /// The next document and its key in the index; `None` at the end. The caller counts the read.
    pub(crate) async fn next(&mut self, transaction: &mut Transaction) -> Result<Option<(Bytes, Document)>> {
        loop {
            let Some((key, document)) = self.next_of_all(transaction).await? else { return Ok(None) };
            match self.shown_to {
                None => return Ok(Some((key, document))),
                Some(component) => {
                    if let Some(shown) = document.shown_to(component)? {
                        return Ok(Some((key, shown)));
                    }
                }
            }
        }
    }

    async fn next_of_all(&mut self, transaction: &mut Transaction) -> Result<Option<(Bytes, Document)>> {
        if self.exhausted {
            return Ok(None);
        }
        loop {
            if self.ahead.is_empty() && self.unread.is_some() {
                self.read_ahead(transaction).await?;
            }
            let committed = self.ahead.front().map(|row| &row.key);
            let pending = self.next_pending(transaction);
            let pending_first = match (committed, &pending) {
                (None, None) => {
                    self.exhausted = true;
                    return Ok(None);
                }
                (Some(_), None) => false,
                (None, Some(_)) => true,
                (Some(committed), Some((pending, _))) => match self.order {
                    Order::Ascending => pending <= committed,
                    Order::Descending => pending >= committed,
                },
            };
            if pending_first && let Some((key, document)) = pending {
                // The same key in one index is the same document: its committed version is superseded.
                if committed == Some(&key) {
                    self.ahead.pop_front();
                }
                self.advance(&key);
                return Ok(Some((key, document)));
            }
            let Row { key, version } = self.ahead.pop_front().expect("the committed row is first");
            self.advance(&key);
            let primary_key = Transaction::primary_key_in(&key)?;
            let document_key = DocumentKey { primary: self.table.by_id.id, key: primary_key };
            if transaction.pending.get(&document_key).is_some() {
                // Deleted, or shown where its new key is.
                continue;
            }
            let document = Document::from_stored(version.document)?;
            transaction.remember(document_key, Some(document.clone()));
            return Ok(Some((key, document)));
        }
    }

    fn advance(&mut self, key: &Bytes) {
        assert!(self.whole.contains(key), "a scan stays within its interval");
        let is_next = self.position.as_ref().is_none_or(|position| match self.order {
            Order::Ascending => key > position,
            Order::Descending => key < position,
        });
        assert!(is_next, "a scan never goes back, so that what it has consumed is one interval");
        self.position = Some(key.clone());
    }

    fn next_pending(&self, transaction: &Transaction) -> Option<(Bytes, Document)> {
        let primary = self.table.by_id.id;
        if self.whole.is_empty() || !transaction.pending.touches(primary) {
            return None;
        }
        let mut lower = Bound::Included(&self.whole.start[..]);
        let mut upper = self.whole.end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(&end[..]));
        if let Some(position) = &self.position {
            match self.order {
                Order::Ascending => lower = Bound::Excluded(&position[..]),
                Order::Descending => upper = Bound::Excluded(&position[..]),
            }
        }
        // The interval behind the last possible key is empty, which the map would not take.
        if let (Bound::Excluded(lower), Bound::Excluded(upper)) = (lower, upper)
            && lower >= upper
        {
            return None;
        }
        let (key, document) = transaction.pending.next_in(primary, self.index, (lower, upper), self.order)?;
        Some((key.clone(), document.clone()))
    }

    async fn read_ahead(&mut self, transaction: &Transaction) -> Result<()> {
        let Some(interval) = self.unread.take() else { return Ok(()) };
        let read = Read::Range {
            index: self.index,
            interval: interval.clone(),
            order: self.order,
            rows_max: self.rows,
            bytes_max: usize::MAX,
        };
        self.rows = self.rows.saturating_mul(2).min(self.rows_max);
        let Some(ReadResult::Range { rows, more }) = transaction.read(&[read]).await?.pop() else {
            return Err(unexpected_result());
        };
        if let (true, Some(last)) = (more, rows.last()) {
            let Interval { start, end } = interval;
            self.unread = Some(match self.order {
                Order::Ascending => Interval { start: key::successor(&last.key).into(), end },
                Order::Descending => Interval { start, end: Some(last.key.clone()) },
            });
        }
        self.ahead = rows.into();
        Ok(())
    }
}

impl QueryStream {
    /// What of its index was seen.
    pub(crate) fn consumed(&self) -> Option<(IndexId, Interval)> {
        self.walk.consumed()
    }

    /// The next document that passes all operators.
    pub(crate) async fn next(&mut self, transaction: &mut Transaction) -> Result<Option<Document>> {
        loop {
            if self.operators.iter().any(|operator| matches!(operator, Operator::Limit(0))) {
                return Ok(None);
            }
            let Some((_, document, table)) = self.walk.next(transaction).await? else { return Ok(None) };
            transaction.count_read(table, Some(&document))?;
            if passes(&mut self.operators, &document)? {
                return Ok(Some(document));
            }
        }
    }
}

/// Whether a document passes all operators; limits count down.
pub(crate) fn passes(operators: &mut [Operator], document: &Document) -> Result<bool> {
    let mut object = None;
    for operator in operators {
        match operator {
            Operator::Limit(0) => return Ok(false),
            Operator::Limit(left) => *left -= 1,
            Operator::Filter(filter) => {
                let object = match &object {
                    Some(object) => object,
                    None => object.insert(document.to_object()?),
                };
                if !filter.accepts(object)? {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

impl Transaction {
    /// Opens a query. It is checked here; documents come with [`Transaction::next_document`].
    pub fn open_query(&mut self, query: Query) -> Result<QueryId> {
        let open_max = self.limits.transaction.open_queries_max;
        if self.open_queries() >= open_max {
            let message = format!("a function may iterate over at most {open_max} queries at the same time");
            return Err(Error::user("TooManyOpenQueries", message));
        }
        let walk = match self.index_to_read(&query)? {
            None => Walk::Nothing,
            Some((table, index)) if query.source.search.is_some() => {
                let rows = first_rows(&query.operators, self.limits.prefetch_documents);
                let scan = self.search_scan(&table, &index, &query, Interval::all(), rows)?;
                scan.map_or(Walk::Nothing, Walk::Search)
            }
            Some((table, index)) => {
                let interval = interval_of(&index, &self.conditions(&index, &query))?;
                self.count_range(index.id, &interval)?;
                let rows = first_rows(&query.operators, self.limits.prefetch_documents);
                let scan = Scan::new(&table, index.id, interval, query.source.order, rows, usize::MAX);
                Walk::Index(scan.for_function_of(self.component()))
            }
        };
        let id = QueryId(self.next_query);
        self.next_query += 1;
        self.streams.insert(id, QueryStream { walk, operators: query.operators });
        Ok(id)
    }

    /// The next document of an open query; `None` when there are no more. Fails with `QueryNotFound` if there is no such
    /// query or it was closed.
    pub async fn next_document(&mut self, query: QueryId) -> Result<Option<Document>> {
        let mut stream = self.streams.remove(&query).ok_or_else(|| {
            Error::user(
                "QueryNotFound",
                format!("the function has no open query with the number {}", query.0),
            )
        })?;
        let result = stream.next(self).await;
        self.streams.insert(query, stream);
        result
    }

    /// Closes a query; whether it was open. What it has read stays read.
    pub fn close_query(&mut self, query: QueryId) -> bool {
        let Some(stream) = self.streams.remove(&query) else { return false };
        self.record_stream(&stream);
        true
    }

    /// The table and index of a query; `None` if the table isn't there, which is an empty one. Checks that the index
    /// may be queried.
    pub(crate) fn index_to_read(&mut self, query: &Query) -> Result<Option<(Arc<Table>, Arc<Index>)>> {
        let name = &query.source.index;
        let shown = format!("{}.{name}", query.source.table);
        let not_found = || Error::user("IndexNotFoundError", format!("there is no index `{shown}`"));
        let Some(table) = self.table_to_read(query.source.table.clone())? else {
            return if name.is_reserved() { Ok(None) } else { Err(not_found()) };
        };
        if !name.is_reserved() {
            self.facts.rely_on(Fact::Index(table.tablet, name.clone()));
        }
        let is_by_creation = name.as_str() == IndexName::BY_CREATION_TIME;
        let used = if table.is_system() && is_by_creation { COMPONENT_INDEX } else { name.as_str() };
        let index = Arc::clone(table.index(used).ok_or_else(not_found)?);
        check_kind(&index, query.source.search.is_some(), &shown)?;
        if index.staged {
            let message =
                format!("the index `{shown}` is staged: it can't be queried until it is declared without");
            return Err(Error::user("IndexStagedError", message));
        }
        match index.state {
            IndexState::Enabled => Ok(Some((table, index))),
            IndexState::Backfilling | IndexState::Backfilled => Err(Error::user(
                "IndexBackfillingError",
                format!(
                    "the index `{shown}` is still being built: it can be queried when the push is finished"
                ),
            )),
        }
    }

    /// The conditions of a query on the index that it reads. What the system keeps for all components is by component there.
    pub(crate) fn conditions<'q>(&self, index: &Index, query: &'q Query) -> Cow<'q, [RangeExpression]> {
        let conditions = &query.source.range;
        if index.name.as_str() != COMPONENT_INDEX || !query.source.table.is_system() {
            return Cow::Borrowed(conditions);
        }
        let of_component = RangeExpression {
            comparison: RangeComparison::Eq,
            field: COMPONENT_FIELD.parse().expect("a legal path"),
            value: component_in_rows(self.component()),
        };
        Cow::Owned([of_component].into_iter().chain(conditions.iter().cloned()).collect())
    }
}

/// How many rows to ask for at first: as many as can be needed if that is known, else the usual number.
pub(crate) fn first_rows(operators: &[Operator], usual: usize) -> usize {
    let limits = operators.iter().map_while(|operator| match operator {
        Operator::Limit(limit) => Some(*limit),
        Operator::Filter(_) => None,
    });
    limits.min().unwrap_or(usual).min(usual)
}
