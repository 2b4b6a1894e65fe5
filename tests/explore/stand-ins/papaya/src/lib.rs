//! papaya's map, with a place before each operation at which another thread may come in between,
//! and one within each attempt of a `compute`. Between these places an operation is one step: what
//! papaya does in it is not explored.

#![allow(clippy::len_without_is_empty, reason = "there is what the crate needs")]

use std::hash::{BuildHasher, Hash};

pub use papaya::{Compute, Equivalent, Guard, Iter, OccupiedError, Operation};
use papaya::{HashMapRef, LocalGuard};
use seize::Collector;
use shuttle::sync::atomic::{AtomicBool, Ordering};

/// A place at which another thread may come in between.
#[derive(Default)]
struct Place(AtomicBool);

impl Place {
    fn pass(&self) {
        self.0.load(Ordering::SeqCst);
    }
}

pub struct HashMap<K, V, S> {
    map: papaya::HashMap<K, V, S>,
    place: Place,
}

impl<K, V> HashMap<K, V, std::hash::RandomState> {
    pub fn builder() -> HashMapBuilder<K, V, std::hash::RandomState> {
        HashMapBuilder(papaya::HashMap::builder())
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> HashMap<K, V, S> {
    pub fn pin(&self) -> Pinned<'_, K, V, S> {
        Pinned { map: self.map.pin(), place: &self.place }
    }

    pub fn guard(&self) -> LocalGuard<'_> {
        self.map.guard()
    }

    pub fn len(&self) -> usize {
        self.place.pass();
        self.map.len()
    }
}

pub struct HashMapBuilder<K, V, S>(papaya::HashMapBuilder<K, V, S>);

impl<K, V> HashMapBuilder<K, V, std::hash::RandomState> {
    pub fn hasher<S>(self, hasher: S) -> HashMapBuilder<K, V, S> {
        HashMapBuilder(self.0.hasher(hasher))
    }
}

impl<K, V, S> HashMapBuilder<K, V, S> {
    pub fn collector(self, collector: Collector) -> Self {
        Self(self.0.collector(collector))
    }

    pub fn build(self) -> HashMap<K, V, S> {
        HashMap { map: self.0.build(), place: Place::default() }
    }
}

pub struct Pinned<'a, K, V, S> {
    map: HashMapRef<'a, K, V, S, LocalGuard<'a>>,
    place: &'a Place,
}

impl<K: Hash + Eq, V, S: BuildHasher> Pinned<'_, K, V, S> {
    pub fn get<Q: Equivalent<K> + Hash + ?Sized>(&self, key: &Q) -> Option<&V> {
        self.place.pass();
        self.map.get(key)
    }

    pub fn get_key_value<Q: Equivalent<K> + Hash + ?Sized>(&self, key: &Q) -> Option<(&K, &V)> {
        self.place.pass();
        self.map.get_key_value(key)
    }

    pub fn contains_key<Q: Equivalent<K> + Hash + ?Sized>(&self, key: &Q) -> bool {
        self.place.pass();
        self.map.contains_key(key)
    }

    pub fn try_insert(&self, key: K, value: V) -> Result<&V, OccupiedError<'_, V>> {
        self.place.pass();
        self.map.try_insert(key, value)
    }

    pub fn compute<'g, F, T>(&'g self, key: K, mut compute: F) -> Compute<'g, K, V, T>
    where
        F: FnMut(Option<(&'g K, &'g V)>) -> Operation<V, T>,
    {
        self.place.pass();
        self.map.compute(key, |entry| {
            let operation = compute(entry);
            // Who comes in here makes this attempt fail.
            self.place.pass();
            operation
        })
    }
}
