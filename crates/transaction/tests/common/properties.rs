//! What must hold whatever the random numbers say, on any log. Each function is given an empty deployment.

use contract::{ReadAt, TransactionLog};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use transaction::{NestedLimits, NestedOutcome, Page, PageRequest, Query, Result, Transaction};
use value::ComponentId;

use super::{
    Store, get, id_of, json as value_of,
    model::{Model, ModelQuery, TABLE, id_in, populate, shown, written_keys},
    patch, take,
};

/// Compares some random queries with the model.
async fn compare<L: TransactionLog>(store: &Store<L>, model: &Model, random: &mut StdRng) {
    let mut transaction = store.begin().await;
    for _ in 0..5 {
        let query = ModelQuery::random(model, random);
        let found = take(&mut transaction, query.query(), usize::MAX).await.unwrap();
        assert_eq!(found.iter().map(id_of).collect::<Vec<_>>(), model.answer(&query), "{query:?}");
    }
}

/// Within a transaction, and after it, queries see what a plain list of documents says.
pub async fn queries_see_own_writes<L: TransactionLog>(store: &Store<L>, mut random: StdRng) {
    let mut model = populate(store, &mut random).await;
    let mut transaction = store.begin().await;
    for _ in 0..30 {
        if random.random_range(0..3) == 0 {
            model.random_write(&mut transaction, &mut random).await;
            continue;
        }
        let query = ModelQuery::random(&model, &mut random);
        let expected = model.answer(&query);
        let count = random.random_range(0..20);
        let found = take(&mut transaction, query.query(), count).await.unwrap();
        let found: Vec<String> = found.iter().map(id_of).collect();
        assert_eq!(found, expected[..expected.len().min(count)], "{query:?}");
    }
    store.must_commit(transaction).await;
    compare(store, &model, &mut random).await;
}

/// Nested calls at random, some of which fail: only what was kept is there.
pub async fn failed_calls_leave_no_writes<L: TransactionLog>(store: &Store<L>, mut random: StdRng) {
    let mut model = populate(store, &mut random).await;
    let mut transaction = store.begin().await;
    // The models to go back to, outermost first.
    let mut outer = Vec::new();
    for _ in 0..40 {
        match random.random_range(0..8) {
            0 if outer.len() < 5 => {
                transaction.begin_nested(ComponentId::ROOT, &NestedLimits::default()).unwrap();
                outer.push(model.clone());
            }
            1 if !outer.is_empty() => {
                let before = outer.pop().expect("not empty");
                if random.random() {
                    transaction.end_nested(NestedOutcome::Keep);
                } else {
                    transaction.end_nested(NestedOutcome::RollBack);
                    model = before;
                }
            }
            2..5 => model.random_write(&mut transaction, &mut random).await,
            _ => {
                let query = ModelQuery::random(&model, &mut random);
                let found = take(&mut transaction, query.query(), usize::MAX).await.unwrap();
                assert_eq!(found.iter().map(id_of).collect::<Vec<_>>(), model.answer(&query), "{query:?}");
            }
        }
    }
    while let Some(before) = outer.pop() {
        transaction.end_nested(NestedOutcome::RollBack);
        model = before;
    }
    store.must_commit(transaction).await;
    compare(store, &model, &mut random).await;
}

/// A function that reads at random, and writes now and then; the same `random` makes it the same function. Returns all
/// that it has seen.
async fn random_function(transaction: &mut Transaction, model: &Model, mut random: StdRng) -> Vec<String> {
    let mut seen = Vec::new();
    for _ in 0..random.random_range(1..4) {
        match random.random_range(0..6) {
            0 => {
                if let Some(id) = model.random_id(&mut random) {
                    let document = transaction.get(get(&id)).await.unwrap();
                    seen.push(format!("{:?}", document.as_ref().map(shown)));
                }
            }
            1 => {
                let change = json!({"a": random.random_range(0..3)});
                if let Some(id) = model.random_id(&mut random) {
                    seen.push(format!("{:?}", transaction.patch(&id, None, patch(change)).await));
                }
            }
            2 => {
                let document = value_of(json!({"a": random.random_range(0..3)}));
                seen.push(transaction.insert(TABLE, document).await.unwrap().to_string());
            }
            _ => {
                let query = ModelQuery::random(model, &mut random);
                let count = random.random_range(0..4);
                let found = take(transaction, query.query(), count).await.unwrap();
                seen.extend(found.iter().map(shown));
            }
        }
    }
    seen
}

/// Whether what another has written was in the read set.
pub enum Touched {
    Yes,
    No,
}

/// A write that leaves the read set alone does not change what a function sees.
pub async fn read_set_is_sound<L: TransactionLog>(store: &Store<L>, mut random: StdRng) -> Touched {
    let model = populate(store, &mut random).await;
    let function = random.random::<u64>();
    let options = store.options();
    let run = async |at| {
        let mut transaction = store.begin_at(at, options.clone()).await;
        let seen = random_function(&mut transaction, &model, StdRng::seed_from_u64(function)).await;
        (seen, transaction.finish())
    };
    let (seen, finished) = run(ReadAt::published(store.published())).await;

    let mut other = store.begin().await;
    let mut changed = model.clone();
    for _ in 0..random.random_range(1..3) {
        changed.random_write(&mut other, &mut random).await;
    }
    let other = other.finish();
    let keys = written_keys(&other);
    store.commit_finished(other).await;
    if keys.iter().any(|(index, key)| finished.read_set.contains(*index, key)) {
        return Touched::Yes;
    }
    let (seen_now, _) = run(ReadAt::published(store.published())).await;
    assert_eq!(seen, seen_now);
    Touched::No
}

pub fn request(query: Query, cursor: Option<&str>, page_size: f64) -> PageRequest {
    PageRequest {
        query,
        cursor: cursor.map(str::to_owned),
        end_cursor: None,
        page_size,
        maximum_rows_read: None,
        maximum_bytes_read: None,
    }
}

pub fn ids(page: &Page) -> Vec<String> {
    page.documents.iter().map(id_of).collect()
}

/// Reads one page in a transaction of its own; the journal comes with it.
pub async fn page<L: TransactionLog>(
    store: &Store<L>,
    request: PageRequest,
    journal: Option<String>,
) -> Result<(Page, Option<String>)> {
    let mut transaction = store.begin_with_journal(journal).await;
    let page = transaction.page(request).await?;
    Ok((page, transaction.finish().journal))
}

/// Pages read one after the other, with writes between them, hold each document once that was there all the time; run
/// again at one moment they are the whole. Returns how many pages could be split.
pub async fn pages_cover_everything_once<L: TransactionLog>(store: &Store<L>, mut random: StdRng) -> usize {
    let mut model = populate(store, &mut random).await;
    let mut query = ModelQuery { limit: None, ..ModelQuery::random(&model, &mut random) };
    if random.random() {
        query.conditions.clear();
    }
    let at_first = model.answer(&query);
    let (mut seen, mut changed) = (Vec::new(), Vec::new());
    let mut pages = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut request = request(query.query(), cursor.as_deref(), random.random_range(1..5).into());
        if random.random_range(0..3) == 0 {
            request.maximum_rows_read = Some(random.random_range(1..4).into());
        }
        let (read, journal) = page(store, request, None).await.unwrap();
        seen.extend(ids(&read));
        pages.push((cursor.replace(read.continue_cursor.clone()), read.continue_cursor.clone(), journal));
        if read.is_done || pages.len() > 40 {
            break;
        }
        if pages.len() < 20 {
            let before = model.documents.clone();
            let mut transaction = store.begin().await;
            model.random_write(&mut transaction, &mut random).await;
            store.must_commit(transaction).await;
            let touched = before.iter().filter(|document| !model.documents.contains(document));
            changed.extend(touched.map(|document| id_in(document).to_owned()));
        }
    }
    for id in at_first.iter().filter(|id| !changed.contains(id)) {
        assert_eq!(seen.iter().filter(|seen| *seen == id).count(), 1, "{id} was there all the time");
    }

    let mut split = 0;
    let expected = model.answer(&query);
    let (mut by_journal, mut by_end, mut in_halves) = (Vec::new(), Vec::new(), Vec::new());
    for (cursor, end, journal) in pages {
        let size = random.random_range(1..5).into();
        let again = request(query.query(), cursor.as_deref(), size);
        let (read, journal_again) = page(store, again, journal.clone()).await.unwrap();
        assert_eq!(
            (read.continue_cursor.as_str(), &journal_again),
            (end.as_str(), &journal),
            "the end stays"
        );
        by_journal.extend(ids(&read));

        let up_to = |cursor: Option<&str>, end: &str| PageRequest {
            end_cursor: Some(end.to_owned()),
            ..request(query.query(), cursor, size)
        };
        let (read, _) = page(store, up_to(cursor.as_deref(), &end), None).await.unwrap();
        assert_eq!(read.continue_cursor, end);
        by_end.extend(ids(&read));
        match &read.split_cursor {
            None => in_halves.extend(ids(&read)),
            Some(middle) => {
                split += 1;
                let (first, _) = page(store, up_to(cursor.as_deref(), middle), None).await.unwrap();
                let (second, _) = page(store, up_to(Some(middle), &end), None).await.unwrap();
                in_halves.extend(ids(&first).into_iter().chain(ids(&second)));
            }
        }
    }
    assert_eq!(by_journal, expected, "by journals: {query:?}");
    assert_eq!(by_end, expected, "by end cursors: {query:?}");
    assert_eq!(in_halves, expected, "in halves: {query:?}");
    split
}
