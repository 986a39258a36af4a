//! How everything that a deployment has goes, and leaves no key in any index.

use contract::{IndexId, Interval, Order, Read, ReadAt, ReadResult, TransactionLog as _};
use rand::RngExt as _;
use serde_json::json;
use transaction::{EnvironmentVariableRow, Limits, SystemTable};
use value::ComponentId;

use crate::common::{Store, create_index, for_seeds, json};

#[test]
fn what_is_erased_leaves_nothing_in_any_index_however_small_the_steps() {
    for_seeds(20, async |mut random| {
        let store = Store::with_limits(Limits::DEFAULT);
        let mut indexes: Vec<IndexId> = Vec::new();
        for table in ["notes", "tasks"] {
            let mut transaction = store.begin().await;
            create_index(&mut transaction, table, "by_number", &["number"]).await;
            for _ in 0..random.random_range(0..30) {
                let number = random.random_range(0..5);
                transaction.insert(table, json(json!({ "number": number }))).await.unwrap();
            }
            let name = format!("OF_{}", table.to_uppercase());
            let (component, value) = (ComponentId::ROOT, "x".to_owned());
            transaction.insert_row(&EnvironmentVariableRow { component, name, value }).await.unwrap();
            transaction.note_object(ComponentId::ROOT).await.unwrap();
            let table = transaction.table(&table.parse().unwrap()).expect("it is there");
            indexes.push(table.by_id.id);
            indexes.extend(table.indexes.iter().map(|index| index.id));
            store.must_commit(transaction).await;
        }
        for table in SystemTable::ALL.into_iter().filter(|table| *table != SystemTable::Metadata) {
            indexes.push(table.table().by_id.id);
            indexes.extend(table.table().indexes.iter().map(|index| index.id));
        }
        let rows_max = random.random_range(1..12);
        loop {
            let mut transaction = store.begin().await;
            let erased = transaction.erase(rows_max).await.unwrap();
            assert!(erased <= rows_max);
            store.must_commit(transaction).await;
            if erased == 0 {
                break;
            }
        }
        for index in indexes {
            let (order, interval) = (Order::Ascending, Interval::all());
            let read = Read::Range { index, interval, order, rows_max: 10, bytes_max: 1 << 20 };
            let at = ReadAt::published(store.published());
            let results = store.log.read(store.deployment, at, &[read]).await.unwrap();
            let [ReadResult::Range { rows, more: false }] = &results[..] else { panic!("{results:?}") };
            assert_eq!(rows.len(), 0, "{index:?}: {rows:?}");
        }
        // It can be used as if it were new.
        let mut transaction = store.begin().await;
        transaction.insert("notes", json(json!({ "number": 1 }))).await.unwrap();
        store.must_commit(transaction).await;
        let mut transaction = store.begin().await;
        assert_eq!(transaction.count("notes").await.unwrap(), 1);
        assert!(transaction.environment_variables().is_empty());
    });
}
