//! A writer that takes steps: for a simulator, in which nothing happens by itself.
//!
//! The thread that writes waits in two places: for more work, and for room. By default a clock ends
//! both. A store that was [opened so](crate::Store::open_in_steps) has neither clock nor chance:
//!
//! 1. Its writer stands still in one of the two places, or has ended, but for one who is inside of
//!    [`Steps::step`]. So two threads never run at the same time, and what happens depends on the
//!    order of calls alone.
//! 2. A step leads from one of the places to the next: it writes all that waits, or it looks for
//!    room once more.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Has the writer of one store go on, step by step. Clones move the same one.
#[derive(Clone, Default)]
pub struct Steps(Arc<Shared>);

#[derive(Default)]
struct Shared {
    place: Mutex<Place>,
    changed: Condvar,
}

/// Where the writer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// On its way.
    #[default]
    Walks,
    /// It stands, and waits for its next step.
    Stands,
    /// Nobody moves it any more: its store is closing, or it has ended.
    Free,
}

impl Steps {
    /// Lets the writer take one step, and waits until it is done. Does nothing once the store was
    /// dropped, or its file has failed.
    pub fn step(&self) {
        let mut place = self.until(|place| place != Place::Walks);
        if *place == Place::Stands {
            *place = Place::Walks;
            self.0.changed.notify_all();
            drop(place);
            drop(self.until(|place| place != Place::Walks));
        }
    }

    /// The writer waits for its next step.
    pub(crate) fn stand(&self) {
        let mut place = self.lock();
        if *place == Place::Walks {
            *place = Place::Stands;
            self.0.changed.notify_all();
            drop(place);
            drop(self.until(|place| place != Place::Stands));
        }
    }

    /// From now on nobody waits here.
    pub(crate) fn free(&self) {
        *self.lock() = Place::Free;
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Place> {
        self.0.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn until(&self, is_there: impl Fn(Place) -> bool) -> MutexGuard<'_, Place> {
        let waited = self.0.changed.wait_while(self.lock(), |place| !is_there(*place));
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Steps").field(&*self.lock()).finish()
    }
}
