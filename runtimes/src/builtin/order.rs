//! Sorting of places by what is there: one copy of the sort for all that need it.

use std::cmp::Ordering;

/// Sorts places; equal ones stay in their order.
pub(crate) fn sort_places(places: &mut [usize], order: &dyn Fn(usize, usize) -> Ordering) {
    places.sort_by(|a, b| order(*a, *b));
}
