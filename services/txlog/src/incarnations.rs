//! Which data each group has.
//!
//! All keys of a group's data begin with its incarnation, a number that the node gives once and never again. When the data
//! of a group is replaced as a whole, the new data is put beneath a number of its own while the old is read, then the group's
//! row names the new one, and the old one's rows go as a range. What no group names is left over from a replacement that
//! was interrupted; it goes at the start.

use std::ops::ControlFlow;

use contract::GroupId;

use crate::{
    apply::{ApplyError, Changes, Family, Store},
    keys::{self, Incarnation},
};

/// The families whose keys begin with an incarnation.
const FAMILIES: [Family; 4] = [Family::Data, Family::Deletions, Family::Records, Family::Stages];

/// The incarnation of a group's data; `None` for a group that is new here.
pub fn of_group(store: &impl Store, group: GroupId) -> Result<Option<Incarnation>, ApplyError> {
    let value = store.get(Family::Applied, &keys::group(group))?;
    Ok(value.map(|value| keys::decode_incarnation(&value)).transpose()?)
}

/// Gives a number that no data has had. The changes must be in the store before another one is given.
pub fn give(store: &impl Store, changes: &mut impl Changes) -> Result<Incarnation, ApplyError> {
    let last = last(store)?;
    let next = last.checked_add(1).ok_or_else(|| ApplyError::Store("no incarnation is left".into()))?;
    changes.put(Family::Applied, keys::LAST_INCARNATION, &keys::encode_incarnation(Incarnation(next)));
    Ok(Incarnation(next))
}

/// From here on the group has this data.
pub fn assign(changes: &mut impl Changes, group: GroupId, incarnation: Incarnation) {
    changes.put(Family::Applied, &keys::group(group), &keys::encode_incarnation(incarnation));
}

/// Deletes the data that no group has. How many numbers were looked at that none has.
pub fn delete_unassigned(store: &impl Store, changes: &mut impl Changes) -> Result<u32, ApplyError> {
    let mut assigned = Vec::new();
    let end = keys::behind(keys::GROUPS);
    store.scan(Family::Applied, keys::GROUPS, end.as_deref(), &mut |_, value| {
        assigned.push(keys::decode_incarnation(value)?.0);
        Ok(ControlFlow::Continue(()))
    })?;
    assigned.sort_unstable();
    let mut deleted = 0;
    // Numbers begin with 1.
    let mut from = 1;
    for next in assigned.into_iter().chain([last(store)?.saturating_add(1)]) {
        if from < next {
            delete_range(changes, Incarnation(from), Incarnation(next));
            deleted += next - from;
        }
        from = next.saturating_add(1);
    }
    Ok(deleted)
}

/// Deletes all rows of an incarnation.
pub fn delete(changes: &mut impl Changes, incarnation: Incarnation) {
    delete_range(changes, incarnation, Incarnation(incarnation.0.saturating_add(1)));
}

/// Deletes all rows of the incarnations from `from` on and before `to`.
fn delete_range(changes: &mut impl Changes, from: Incarnation, to: Incarnation) {
    for family in FAMILIES {
        changes.delete_range(family, &from.0.to_be_bytes(), &to.0.to_be_bytes());
    }
    changes.delete_range(Family::Applied, &keys::applied(from), &keys::applied(to));
}

fn last(store: &impl Store) -> Result<u32, ApplyError> {
    let value = store.get(Family::Applied, keys::LAST_INCARNATION)?;
    Ok(value.map(|value| keys::decode_incarnation(&value)).transpose()?.map_or(0, |last| last.0))
}

#[cfg(test)]
mod tests {
    use contract::{CommitId, DeploymentId, IndexId, Timestamp};

    use super::*;
    use crate::{
        apply::{AppliedState, Writable},
        keys::Stored,
        limits::StoreLimits,
        state_store::StateStore,
        undecided::Committed,
    };

    const ONE: GroupId = GroupId(1);
    const TWO: GroupId = GroupId(2);

    fn fill(changes: &mut impl Changes, incarnation: Incarnation) {
        let at = Timestamp::new(5).unwrap();
        let prefix = keys::index_prefix(incarnation, DeploymentId(1), IndexId([0xff; 16]));
        changes.put(Family::Data, &keys::version(&prefix, b"\xff\xff", at), &Stored::Document(b"d").encode());
        changes.put(Family::Deletions, &keys::deletions(incarnation, at), b"");
        let record = keys::record(incarnation, DeploymentId(1), CommitId([0xff; 16]));
        changes.put(Family::Records, &record, &keys::encode_record(Committed { timestamp: at, run: 1 }));
        changes.put(Family::Stages, &keys::stage_part(incarnation, u64::MAX, 1, 1), b"part");
        changes.put(Family::Applied, &keys::applied(incarnation), &AppliedState::default().encode());
    }

    /// The rows of an incarnation in each family.
    fn rows(store: &impl Store, incarnation: Incarnation) -> Vec<usize> {
        let prefix = incarnation.0.to_be_bytes().to_vec();
        let places = FAMILIES.map(|family| (family, prefix.clone()));
        let applied = (Family::Applied, keys::applied(incarnation));
        let count = |(family, begin): (Family, Vec<u8>)| {
            let mut count = 0;
            let end = keys::behind(&begin);
            store
                .scan(family, &begin, end.as_deref(), &mut |_, _| {
                    count += 1;
                    Ok(ControlFlow::Continue(()))
                })
                .unwrap();
            count
        };
        places.into_iter().chain([applied]).map(count).collect()
    }

    #[test]
    fn a_replaced_incarnation_goes_as_a_whole_and_its_number_does_not_come_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = StateStore::open(folder.path(), &StoreLimits::DEFAULT).unwrap();
        let give = |group: Option<GroupId>| {
            let mut changes = store.changes();
            let incarnation = super::give(&store, &mut changes).unwrap();
            fill(&mut changes, incarnation);
            if let Some(group) = group {
                assign(&mut changes, group, incarnation);
            }
            store.write(changes).unwrap();
            incarnation
        };
        let delete_unassigned = || {
            let mut changes = store.changes();
            let deleted = super::delete_unassigned(&store, &mut changes).unwrap();
            store.write(changes).unwrap();
            deleted
        };
        assert_eq!(of_group(&store, ONE).unwrap(), None);
        assert_eq!(delete_unassigned(), 0);
        let first = give(Some(ONE));
        let other = give(Some(TWO));
        assert_eq!(of_group(&store, ONE).unwrap(), Some(first));
        assert_eq!(delete_unassigned(), 0);

        // A snapshot comes in beneath a new number, and its installation is interrupted: the old data stays.
        let interrupted = give(None);
        assert_eq!(delete_unassigned(), 1);
        assert_eq!(rows(&store, interrupted), [0, 0, 0, 0, 0]);
        assert_eq!(rows(&store, first), [1, 1, 1, 1, 1]);

        // The next one is installed: the old data goes, that of its neighbours stays.
        let second = give(Some(ONE));
        assert!(second > interrupted, "a number is given once");
        assert_eq!(delete_unassigned(), 2, "the first and, again, the interrupted one");
        assert_eq!(rows(&store, first), [0, 0, 0, 0, 0]);
        assert_eq!(rows(&store, other), [1, 1, 1, 1, 1]);
        assert_eq!(rows(&store, second), [1, 1, 1, 1, 1]);
        assert_eq!(of_group(&store, ONE).unwrap(), Some(second));
    }
}
