//! What queries must answer, worked out in the plainest way: every document is looked at, compared by its values.

use std::cmp::Ordering;

use contract::{IndexId, TransactionLog};
use rand::{RngExt, rngs::StdRng};
use serde_json::json;
use transaction::{Finished, Limits, Query, Transaction};
use value::{FieldPath, Object, Value};

use super::{Store, create_index, fields, get, index_query, json as value_of, patch};

pub const TABLE: &str = "t";
/// The indexes of the table, with the fields that queries may bound.
pub const INDEXES: [(&str, &[&str]); 4] = [
    ("by_a", &["a", "_creationTime"]),
    ("by_a_b", &["a", "b.c", "_creationTime"]),
    ("by_creation_time", &["_creationTime"]),
    ("by_id", &["_id"]),
];

/// The documents that must be there, in any order.
#[derive(Clone, Default)]
pub struct Model {
    pub documents: Vec<Object>,
}

/// A query and what the model needs to answer it.
#[derive(Clone, Debug)]
pub struct ModelQuery {
    pub index: usize,
    pub conditions: Vec<(&'static str, &'static str, Option<Value>)>,
    pub descending: bool,
    /// Of the field `a`.
    pub at_least: Option<Value>,
    pub limit: Option<usize>,
}

/// Few different values, so that conditions meet documents.
pub fn random_value(random: &mut StdRng) -> Option<Value> {
    let n = random.random_range(-2i64..3);
    Some(match random.random_range(0..8) {
        0 => return None,
        1 => Value::Null,
        2 => Value::Int64(n),
        3 | 4 => Value::Float64(n as f64),
        5 => Value::String(["", "a", "a\0", "b"][random.random_range(0..4)].to_owned()),
        6 => Value::Array(vec![Value::Float64(n as f64)]),
        _ => Value::Boolean(n > 0),
    })
}

fn undefined_or(value: &Option<Value>) -> serde_json::Value {
    value.as_ref().map_or(json!({"$undefined": null}), Value::to_serde_json)
}

fn random_document(random: &mut StdRng) -> serde_json::Value {
    let mut document = json!({"x": random.random_range(0..1_000_000)});
    if let Some(a) = random_value(random) {
        document["a"] = a.to_serde_json();
    }
    if let Some(c) = random_value(random) {
        document["b"] = json!({"c": c.to_serde_json()});
    }
    document
}

pub fn id_in(document: &Object) -> &str {
    document.get("_id").and_then(Value::as_str).expect("every document has an id")
}

impl Model {
    pub fn random_id(&self, random: &mut StdRng) -> Option<String> {
        let position = (!self.documents.is_empty()).then(|| random.random_range(0..self.documents.len()))?;
        Some(id_in(&self.documents[position]).to_owned())
    }

    /// One random write, to the transaction and to the model.
    pub async fn random_write(&mut self, transaction: &mut Transaction, random: &mut StdRng) {
        let id = self.random_id(random);
        match (random.random_range(0..6), id) {
            (0..3, _) | (_, None) => {
                let document = value_of(random_document(random));
                let id = transaction.insert(TABLE, document).await.expect("inserts").to_string();
                self.documents.push(transaction.get(get(&id)).await.unwrap().unwrap().to_object().unwrap());
            }
            (3, Some(id)) => {
                transaction.delete(&id, None).await.expect("deletes");
                self.documents.retain(|document| id_in(document) != id);
            }
            (4, Some(id)) => {
                transaction.replace(&id, None, value_of(random_document(random))).await.expect("replaces");
                self.follow(transaction, &id).await;
            }
            (_, Some(id)) => {
                let change = json!({"a": undefined_or(&random_value(random))});
                transaction.patch(&id, None, patch(change)).await.expect("patches");
                self.follow(transaction, &id).await;
            }
        }
    }

    async fn follow(&mut self, transaction: &mut Transaction, id: &str) {
        let newest = transaction.get(get(id)).await.unwrap().unwrap().to_object().unwrap();
        let document = self.documents.iter_mut().find(|document| id_in(document) == id).expect("it is there");
        *document = newest;
    }

    pub fn answer(&self, query: &ModelQuery) -> Vec<String> {
        let path = |field: &str| field.parse::<FieldPath>().unwrap();
        let holds = |document: &&Object| {
            query.conditions.iter().all(|(comparison, field, value)| {
                let order = path(field).lookup(document).cmp(&value.as_ref());
                match *comparison {
                    "Eq" => order.is_eq(),
                    "Gt" => order.is_gt(),
                    "Gte" => order.is_ge(),
                    "Lt" => order.is_lt(),
                    _ => order.is_le(),
                }
            })
        };
        let mut documents: Vec<&Object> = self.documents.iter().filter(holds).collect();
        let fields: Vec<FieldPath> = INDEXES[query.index].1.iter().map(|field| path(field)).collect();
        documents.sort_by(|one, two| {
            let by_fields = fields
                .iter()
                .map(|field| field.lookup(one).cmp(&field.lookup(two)))
                .find(|order| order.is_ne());
            by_fields.unwrap_or(Ordering::Equal).then_with(|| id_in(one).cmp(id_in(two)))
        });
        if query.descending {
            documents.reverse();
        }
        if let Some(at_least) = &query.at_least {
            documents.retain(|document| document.get("a") >= Some(at_least));
        }
        documents.truncate(query.limit.unwrap_or(usize::MAX));
        documents.into_iter().map(|document| id_in(document).to_owned()).collect()
    }
}

impl ModelQuery {
    pub fn random(model: &Model, random: &mut StdRng) -> ModelQuery {
        let index = random.random_range(0..INDEXES.len());
        let fields = INDEXES[index].1;
        let any_document = (!model.documents.is_empty())
            .then(|| &model.documents[random.random_range(0..model.documents.len())]);
        let value = |field: &'static str, random: &mut StdRng| match field {
            "_creationTime" | "_id" => any_document.and_then(|document| document.get(field)).cloned(),
            _ => random_value(random),
        };
        let mut conditions = Vec::new();
        let equal_count = random.random_range(0..=fields.len());
        for field in &fields[..equal_count] {
            conditions.push(("Eq", *field, value(field, random)));
        }
        if let Some(field) = fields.get(equal_count) {
            if random.random() {
                let comparison = if random.random() { "Gt" } else { "Gte" };
                conditions.push((comparison, *field, value(field, random)));
            }
            if random.random() {
                let comparison = if random.random() { "Lt" } else { "Lte" };
                conditions.push((comparison, *field, value(field, random)));
            }
        }
        ModelQuery {
            index,
            conditions,
            descending: random.random(),
            at_least: if random.random_range(0..4) == 0 { random_value(random) } else { None },
            limit: if random.random_range(0..3) == 0 { Some(random.random_range(0..5)) } else { None },
        }
    }

    pub fn query(&self) -> Query {
        let range: Vec<serde_json::Value> = self
            .conditions
            .iter()
            .map(|(comparison, field, value)| {
                json!({"type": comparison, "fieldPath": field, "value": undefined_or(value)})
            })
            .collect();
        let mut operators = Vec::new();
        if let Some(at_least) = &self.at_least {
            let literal = at_least.to_serde_json();
            operators.push(json!({"filter": {"$gte": [{"$field": "a"}, {"$literal": literal}]}}));
        }
        if let Some(limit) = self.limit {
            operators.push(json!({"limit": limit}));
        }
        let order = if self.descending { "desc" } else { "asc" };
        index_query(&format!("{TABLE}.{}", INDEXES[self.index].0), json!(range), order, json!(operators))
    }
}

/// Few documents are read ahead, so that scans take several reads.
pub fn random_limits(random: &mut StdRng) -> Limits {
    let mut limits = Limits::DEFAULT;
    limits.prefetch_documents = random.random_range(1..4);
    limits
}

/// Creates the table and its indexes in an empty store, and some documents by several commits.
pub async fn populate<L: TransactionLog>(store: &Store<L>, random: &mut StdRng) -> Model {
    let mut model = Model::default();
    let mut transaction = store.begin().await;
    create_index(&mut transaction, TABLE, "by_a", &["a"]).await;
    create_index(&mut transaction, TABLE, "by_a_b", &["a", "b.c"]).await;
    store.must_commit(transaction).await;
    for _ in 0..random.random_range(0..4) {
        let mut transaction = store.begin().await;
        for _ in 0..random.random_range(1..8) {
            model.random_write(&mut transaction, random).await;
        }
        store.must_commit(transaction).await;
    }
    model
}

/// Every index key that a finished transaction writes, old and new.
pub fn written_keys(finished: &Finished) -> Vec<(IndexId, Vec<u8>)> {
    let mut keys = Vec::new();
    for write in &finished.writes {
        keys.push((write.primary, write.key.to_vec()));
        for update in &write.index_updates {
            keys.extend(update.old.iter().chain(&update.new).map(|key| (update.index, key.to_vec())));
        }
    }
    keys
}

/// A document's fields, for comparing whole results.
pub fn shown(document: &transaction::Document) -> String {
    format!("{} {}", super::id_of(document), fields(document))
}
