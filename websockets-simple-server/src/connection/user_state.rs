//! The values that the application stores on a connection.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use websockets_simple_core::catch_panic;

use crate::{run::Shared, users::Identity};

/// The values that the application stores on a connection, one per type. No code of theirs runs under the lock.
pub(crate) struct UserState<I: Identity>(Mutex<Slot<I>>);

/// Handles of a connection may outlive it, and two connections may hold each other's. So once a connection has ended,
/// its values live only as long as the events that tell its end.
enum Slot<I: Identity> {
    /// `None` as long as nothing is stored.
    Open(Option<Arc<Values<I>>>),
    Ended(Weak<Values<I>>),
}

/// The values. Their panics end here when they are dropped.
pub(crate) struct Values<I: Identity> {
    by_type: Mutex<HashMap<TypeId, Value>>,
    /// To raise a panic.
    shared: Weak<Shared<I>>,
}

type Value = Arc<dyn Any + Send + Sync>;

impl<I: Identity> UserState<I> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Slot::Open(None)))
    }

    /// Stores a value. Answers the one that it replaces. If the connection has ended, it is dropped.
    pub(crate) fn insert<T: Clone + Send + Sync + 'static>(
        &self,
        value: T,
        shared: &Arc<Shared<I>>,
    ) -> Option<T> {
        let values = match &mut *self.lock() {
            Slot::Open(values) => {
                Some(Arc::clone(values.get_or_insert_with(|| Arc::new(Values::new(shared)))))
            }
            Slot::Ended(values) => values.upgrade(),
        };
        let values = values?;
        let value: Value = Arc::new(value);
        let replaced = values.lock().insert(TypeId::of::<T>(), value)?;
        let replaced = replaced.downcast::<T>().ok()?;
        Some(Arc::try_unwrap(replaced).unwrap_or_else(|shared| T::clone(&shared)))
    }

    /// A clone of the value of this type.
    pub(crate) fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        let value = self.values()?.lock().get(&TypeId::of::<T>()).map(Arc::clone)?;
        value.downcast_ref::<T>().cloned()
    }

    /// The values, to be kept by an event.
    pub(crate) fn values(&self) -> Option<Arc<Values<I>>> {
        match &*self.lock() {
            Slot::Open(values) => values.clone(),
            Slot::Ended(values) => values.upgrade(),
        }
    }

    /// The connection has ended: drops the values, unless an event keeps them.
    pub(crate) fn end(&self) {
        let values = {
            let mut slot = self.lock();
            let Slot::Open(values) = &mut *slot else { return };
            let values = values.take();
            *slot = Slot::Ended(values.as_ref().map(Arc::downgrade).unwrap_or_default());
            values
        };
        drop(values);
    }

    fn lock(&self) -> MutexGuard<'_, Slot<I>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: Identity> Values<I> {
    fn new(shared: &Arc<Shared<I>>) -> Self {
        Self { by_type: Mutex::default(), shared: Arc::downgrade(shared) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TypeId, Value>> {
        self.by_type.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: Identity> Drop for Values<I> {
    fn drop(&mut self) {
        let values = std::mem::take(&mut *self.lock());
        for value in values.into_values() {
            if let Err(panicked) = catch_panic(|| drop(value))
                && let Some(shared) = self.shared.upgrade()
            {
                shared.report_panic(panicked, "a value on a connection");
            }
        }
    }
}

impl<I: Identity> fmt::Debug for Values<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::ServerParams,
        users::{AdmitAll, Anonymous},
    };

    const ROUNDS: usize = 100_000;

    /// Holds another connection's values, and shows whether it was freed.
    #[derive(Clone)]
    #[expect(dead_code, reason = "they are held")]
    struct Friend(Arc<UserState<Anonymous>>, Arc<()>);

    fn shared() -> Arc<Shared<Anonymous>> {
        Arc::new(Shared::new(ServerParams::mounted(), Box::new(AdmitAll)))
    }

    #[test]
    fn of_100_000_pairs_of_connections_that_hold_each_other_nothing_is_left() {
        let (shared, held) = (shared(), Arc::new(()));
        for round in 0..ROUNDS {
            let (one, two) = (Arc::new(UserState::new()), Arc::new(UserState::new()));
            for (of, other) in [(&one, &two), (&two, &one), (&one, &one)] {
                of.insert(Friend(Arc::clone(other), Arc::clone(&held)), &shared);
            }
            let event = one.values();
            one.end();
            two.end();
            assert_eq!(Arc::strong_count(&held), 2, "the event keeps those of the first");
            drop(event);
            two.insert(Friend(one, Arc::clone(&held)), &shared);
            assert_eq!((Arc::strong_count(&held), Arc::strong_count(&two)), (1, 1), "in round {round}");
        }
        assert_eq!((Arc::strong_count(&shared), Arc::weak_count(&shared)), (1, 0));
    }

    #[test]
    fn of_100_000_values_of_one_type_a_connection_keeps_the_last() {
        let (shared, held) = (shared(), Arc::new(()));
        let state = UserState::new();
        for round in 0..ROUNDS {
            assert_eq!(state.insert((round, Arc::clone(&held)), &shared).is_some(), round > 0);
            assert_eq!(Arc::strong_count(&held), 2);
        }
        assert_eq!(state.values().unwrap().lock().len(), 1);
        assert_eq!(state.get::<(usize, Arc<()>)>().unwrap().0, ROUNDS - 1);
        state.end();
        assert_eq!((Arc::strong_count(&held), Arc::weak_count(&shared)), (1, 0));
    }
}
