//! What the client holds: numbers that stand for objects. A number is never given twice, so a handle that was freed
//! stays unknown.

use super::{Done, lock};
use runtimes::builtin::nnapi::codes::result;
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

/// Objects that may be alive at once: a client that frees nothing must not take all memory.
const MAX_OBJECTS: usize = 1 << 20;
/// Handles look like addresses, some of which are checked to be aligned.
const STEP: usize = 64;

#[derive(Default)]
struct Table {
    given: usize,
    objects: HashMap<usize, Arc<dyn Any + Send + Sync>>,
}

static TABLE: LazyLock<Mutex<Table>> = LazyLock::new(Mutex::default);

/// A handle for an object.
pub(crate) fn insert<T: Any + Send + Sync>(object: T) -> Done<usize> {
    let mut table = lock(&TABLE);
    if table.objects.len() >= MAX_OBJECTS {
        return Err(result::OUT_OF_MEMORY);
    }
    table.given = table.given.checked_add(STEP).ok_or(result::OUT_OF_MEMORY)?;
    let handle = table.given;
    table.objects.insert(handle, Arc::new(object));
    Ok(handle)
}

/// The object of a handle.
pub(crate) fn get<T: Any + Send + Sync>(handle: usize) -> Done<Arc<T>> {
    if handle == 0 {
        return Err(result::UNEXPECTED_NULL);
    }
    let object = lock(&TABLE).objects.get(&handle).cloned().ok_or(result::BAD_DATA)?;
    object.downcast().map_err(|_| result::BAD_DATA)
}

/// Forgets a handle, if it is one of this type. What still uses the object keeps it alive.
pub(crate) fn free<T: Any + Send + Sync>(handle: usize) {
    if get::<T>(handle).is_ok() {
        let object = lock(&TABLE).objects.remove(&handle);
        // outside of the lock: what a drop does takes time
        drop(object);
    }
}
