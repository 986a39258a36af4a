//! Text searches: what they find, what the transaction has written itself included.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use contract::{
    InternalDocumentId, Interval, TextCondition, TextFilter, TextMatch, TextMatches, TextSearch, WrittenText,
};
use relevance::{DocumentTerms, QueryTerms, filter_value, query_terms};
use value::{CREATION_TIME_FIELD, DocumentId, InternalId, Value, key};

use crate::{
    Document, Error, Query, Result, Table, Transaction,
    catalog::Index,
    pending::DocumentKey,
    query::SearchExpression,
    search_fields::{IndexKind, filter_values, text_of},
};

/// A text search of a transaction, under way. It is made when its first document is asked for.
#[derive(Debug)]
pub(crate) struct SearchScan {
    table: Arc<Table>,
    index: Arc<Index>,
    condition: TextCondition,
    /// Of the documents' places; documents outside of it are passed over.
    interval: Interval,
    /// What was found and not read yet; `None` before the search.
    found: Option<VecDeque<TextMatch>>,
    /// More was found than searches give.
    more: bool,
    ahead: VecDeque<(Bytes, Document)>,
    /// Documents that are read at once when none is left: as many as are surely asked for, then more and more.
    read_next: usize,
    exhausted: bool,
}

/// Whether a query asks for an index of the kind that it is.
pub(crate) fn check_kind(index: &Index, is_search: bool, shown: &str) -> Result<()> {
    let message = match (&index.kind, is_search) {
        (IndexKind::Ordered, false) | (IndexKind::Text { .. }, true) => return Ok(()),
        (IndexKind::Ordered, true) => format!("`{shown}` is no search index: use `withIndex`"),
        (IndexKind::Text { .. }, false) => format!("`{shown}` is a search index: use `withSearchIndex`"),
        (IndexKind::Vector { .. }, _) => {
            format!("`{shown}` is a vector index: use `ctx.vectorSearch` in an action")
        }
    };
    Err(Error::user("WrongIndexKind", message))
}

/// The place of a document among those that a search finds: smaller is better.
fn place_of(found: &TextMatch) -> Bytes {
    // Scores are above 0 and creation times not below, so their bits have their order.
    let mut place = Vec::with_capacity(4 + 8 + 16);
    place.extend_from_slice(&(!found.score_bits).to_be_bytes());
    place.extend_from_slice(&(!found.creation_time_bits).to_be_bytes());
    place.extend(found.id.iter().map(|byte| !byte));
    place.into()
}

impl SearchScan {
    pub(crate) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// The next document and its place. The caller counts the read.
    pub(crate) async fn next(&mut self, transaction: &mut Transaction) -> Result<Option<(Bytes, Document)>> {
        if self.exhausted {
            return Ok(None);
        }
        if self.found.is_none() {
            let TextMatches { matches, more } =
                transaction.find(&self.table, &self.index, &self.condition).await?;
            self.more = more;
            let is_before = |found: &TextMatch| *place_of(found) < *self.interval.start;
            self.found = Some(matches.into_iter().skip_while(is_before).collect());
        }
        if self.ahead.is_empty() {
            self.read_ahead(transaction).await?;
        }
        let next = self.ahead.pop_front();
        self.exhausted = next.is_none();
        Ok(next)
    }

    async fn read_ahead(&mut self, transaction: &mut Transaction) -> Result<()> {
        let found = self.found.as_mut().expect("it was searched");
        let mut places = Vec::new();
        let mut keys = Vec::new();
        while places.len() < self.read_next
            && let Some(next) = found.front()
        {
            let place = place_of(next);
            if !self.interval.contains(&place) {
                // What lies behind the end is not asked for.
                found.clear();
                self.more = false;
                break;
            }
            let key = self.table.primary_key(InternalId::from_bytes(next.id)).into();
            keys.push(DocumentKey { primary: self.table.by_id.id, key });
            places.push(place);
            found.pop_front();
        }
        self.read_next = (2 * self.read_next).min(transaction.limits.prefetch_documents).max(1);
        if places.is_empty() && self.more {
            let most = transaction.limits.transaction.search_documents_max;
            let message = format!(
                "a search finds the best {most} documents, and the function wants more: use `take`, or `paginate` up to there"
            );
            return Err(Error::user("SearchQueryScannedTooManyDocumentsError", message));
        }
        let committed: Vec<DocumentKey> =
            keys.iter().filter(|key| transaction.pending.get(key).is_none()).cloned().collect();
        let mut committed = transaction.committed(&committed).await?.into_iter();
        for (place, key) in places.into_iter().zip(keys) {
            let document = match transaction.pending.get(&key) {
                Some(pending) => pending.document.clone(),
                None => committed.next().expect("one was read for each that is not pending"),
            };
            let missing = || Error::stored("a search has found a document that is not there");
            self.ahead.push_back((place, document.ok_or_else(missing)?));
        }
        Ok(())
    }
}

impl Transaction {
    /// The search of a query, within the places of `interval`; `None` if it can find nothing, whatever is written. The query is checked
    /// here. So many documents are read at first.
    pub(crate) fn search_scan(
        &mut self,
        table: &Arc<Table>,
        index: &Arc<Index>,
        query: &Query,
        interval: Interval,
        read_first: usize,
    ) -> Result<Option<SearchScan>> {
        let expressions = query.source.search.as_deref().unwrap_or_default();
        let Some(condition) = condition_of(index, expressions, &self.limits.transaction)? else {
            return Ok(None);
        };
        self.count_range(index.id, &Interval::point(format!("{condition:?}").as_bytes()))?;
        Ok(Some(SearchScan {
            table: Arc::clone(table),
            index: Arc::clone(index),
            condition,
            interval,
            found: None,
            more: false,
            ahead: VecDeque::new(),
            read_next: read_first.clamp(1, self.limits.prefetch_documents.max(1)),
            exhausted: false,
        }))
    }

    /// What the search service finds at the transaction's moment, with what it has itself written. The search is in the read set.
    async fn find(
        &mut self,
        table: &Arc<Table>,
        index: &Arc<Index>,
        condition: &TextCondition,
    ) -> Result<TextMatches> {
        self.record_search(index.id, condition.clone());
        let service = self.search.clone().ok_or_else(|| {
            contract::Error::overloaded("SearchIndexesUnavailable", "searches are not answered here")
        })?;
        let (mut replaced, mut written) = (Vec::new(), Vec::new());
        for (key, is_committed, document) in self.pending.of_table(table.by_id.id) {
            let id = internal_id(key)?;
            if is_committed {
                replaced.push(id);
            }
            written.extend(document.map(|document| written_text(index, id, document)).transpose()?.flatten());
        }
        let search = TextSearch {
            deployment: self.deployment(),
            index: index.id,
            at: self.begin_at().timestamp,
            condition: condition.clone(),
            matches_max: self.limits.transaction.search_documents_max,
            replaced,
            written,
        };
        Ok(service.search_text(search).await?)
    }
}

fn internal_id(key: &Bytes) -> Result<InternalDocumentId> {
    let wrong = || Error::stored("the key of a document is not its id");
    let parts = key::decode(key).map_err(|_| wrong())?;
    let [Some(Value::String(id))] = &parts[..] else { return Err(wrong()) };
    let id: DocumentId = id.parse().map_err(|_| wrong())?;
    Ok(*id.internal_id.as_bytes())
}

/// What a text index has of a document; `None` if nothing.
fn written_text(index: &Index, id: InternalDocumentId, document: &Document) -> Result<Option<WrittenText>> {
    let object = document.to_object()?;
    let Some(text) = text_of(&object, &index.fields) else { return Ok(None) };
    let creation_time = object.get(CREATION_TIME_FIELD).and_then(Value::as_f64);
    let creation_time = creation_time.ok_or_else(|| Error::stored("a document without a creation time"))?;
    Ok(Some(WrittenText {
        id,
        creation_time_bits: creation_time.to_bits(),
        filters: filter_values(&object, index.kind.filter_fields()),
        terms: DocumentTerms::of(text).counts.into_iter().collect(),
    }))
}

/// What the conditions of a search come to; `None` if its text has no terms.
fn condition_of(
    index: &Index,
    expressions: &[SearchExpression],
    limits: &crate::TransactionLimits,
) -> Result<Option<TextCondition>> {
    let search_field = index.fields.first().expect("a text index has a field");
    let filter_fields = index.kind.filter_fields();
    let mut searched: Option<&str> = None;
    let mut filters: Vec<TextFilter> = Vec::new();
    for expression in expressions {
        match expression {
            SearchExpression::Text { field, text } => {
                if field != search_field {
                    let message = format!(
                        "the search index `{}` is over `{search_field}`, not over `{field}`",
                        index.name
                    );
                    return Err(Error::user("IncorrectSearchField", message));
                }
                if searched.replace(text).is_some() {
                    return Err(Error::user("InvalidSearchQuery", "a search has one `search`, not several"));
                }
            }
            SearchExpression::Equal { field, value } => {
                let Some(position) = filter_fields.iter().position(|known| known == field) else {
                    let message =
                        format!("`{field}` is not a filter field of the search index `{}`", index.name);
                    return Err(Error::user("IncorrectSearchFilterField", message));
                };
                let field = u8::try_from(position).expect("an index has few filter fields");
                filters.push(TextFilter { field, value: filter_value(value.as_ref()) });
            }
        }
    }
    let Some(text) = searched else {
        return Err(Error::user("InvalidSearchQuery", "a search needs `search`: what to search for"));
    };
    if filters.len() > limits.search_filters_max {
        let message = format!("a search has at most {} filters", limits.search_filters_max);
        return Err(Error::user("TooManySearchFilters", message));
    }
    filters.sort_unstable();
    filters.dedup();
    let terms = query_terms(text, limits.search_terms_max);
    Ok(terms.map(|QueryTerms { terms, prefix }| TextCondition { terms, prefix, filters }))
}
