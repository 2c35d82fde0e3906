//! What has been learnt of files, kept until they change.

use std::collections::HashMap;
use std::sync::Mutex;

use object_store::ObjectMeta;
use object_store::path::Path;

/// Facts of files, each valid for one size, time and tag; the least recently used half goes when it is full.
pub(crate) struct Cache<T> {
    most: usize,
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    clock: u64,
    entries: HashMap<Path, Entry<T>>,
}

struct Entry<T> {
    of: ObjectMeta,
    used: u64,
    facts: T,
}

impl<T: Clone> Cache<T> {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, inner: Mutex::new(Inner { clock: 0, entries: HashMap::new() }) }
    }

    pub(crate) fn get(&self, file: &ObjectMeta) -> Option<T> {
        // Facts are never half written, so a lock that a panic poisoned is still good.
        let mut inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.clock += 1;
        let clock = inner.clock;
        let entry = inner.entries.get_mut(&file.location)?;
        let same =
            entry.of.size == file.size && entry.of.last_modified == file.last_modified && entry.of.e_tag == file.e_tag;
        same.then(|| {
            entry.used = clock;
            entry.facts.clone()
        })
    }

    pub(crate) fn put(&self, file: &ObjectMeta, facts: T) {
        let mut inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.clock += 1;
        let clock = inner.clock;
        if inner.entries.len() >= self.most && !inner.entries.contains_key(&file.location) {
            let mut times = inner.entries.values().map(|entry| entry.used).collect::<Vec<_>>();
            times.sort_unstable();
            let middle = times.get(times.len() / 2).copied().unwrap_or_default();
            inner.entries.retain(|_, entry| entry.used > middle);
        }
        inner.entries.insert(file.location.clone(), Entry { of: file.clone(), used: clock, facts });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, size: u64) -> ObjectMeta {
        let last_modified = std::time::SystemTime::UNIX_EPOCH.into();
        ObjectMeta { location: Path::from(name), last_modified, size, e_tag: None, version: None }
    }

    #[test]
    fn facts_of_a_changed_file_are_forgotten() {
        let cache = Cache::new(10);
        cache.put(&file("a", 1), "facts");
        assert_eq!(cache.get(&file("a", 1)), Some("facts"));
        assert_eq!(cache.get(&file("a", 2)), None);
    }

    #[test]
    fn a_full_cache_keeps_what_was_used_last() {
        let cache = Cache::new(4);
        for name in ["a", "b", "c", "d"] {
            cache.put(&file(name, 1), name);
        }
        cache.get(&file("a", 1));
        cache.put(&file("e", 1), "e");
        assert_eq!(cache.get(&file("a", 1)), Some("a"));
        assert_eq!(cache.get(&file("e", 1)), Some("e"));
        assert_eq!(cache.get(&file("b", 1)), None);
        assert!(cache.inner.lock().expect("lock").entries.len() <= 4);
    }
}
