//! Where the names of points stand in a picture, so that they cover neither each other nor the points.
//! Draws nothing.

/// A point that wants a name, and how wide the name is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) at: (f64, f64),
    pub(super) width: f64,
}

/// Where a name stands: its left and right end and its middle height.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Label {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) y: f64,
}

/// Room that names may use: left, right, top, bottom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

/// Height of a line of text, between names.
const LINE: f64 = 15.0;
/// Half of a point, and the gap between a point and its name.
const POINT: f64 = 6.0;
const GAP: f64 = 10.0;
/// So many lines up and down are tried.
const REACH: u32 = 20;

impl Label {
    fn overlaps(&self, other: &Self) -> bool {
        self.left < other.right && other.left < self.right && (self.y - other.y).abs() < LINE
    }

    /// The end that a line from the point leads to, when the name does not stand right beside it.
    pub(super) fn lead(&self, from: (f64, f64)) -> Option<(f64, f64)> {
        let x = if self.left > from.0 { self.left - 3.0 } else { self.right + 3.0 };
        ((self.y - from.1).abs() > 1.0).then_some((x, self.y))
    }
}

/// A place for each name: beside its point, or as near above or below as there is room.
pub(super) fn place(wanted: &[Wanted], bounds: Bounds) -> Vec<Label> {
    let points: Vec<Label> =
        wanted.iter().map(|w| Label { left: w.at.0 - POINT, right: w.at.0 + POINT, y: w.at.1 }).collect();
    let mut taken: Vec<Label> = Vec::new();
    for Wanted { at: (x, y), width } in wanted.iter().copied() {
        let right = |y| Label { left: x + GAP, right: x + GAP + width, y };
        let left = |y| Label { left: x - GAP - width, right: x - GAP, y };
        // 0, 1 below, 1 above, 2 below, …
        let heights =
            (0..2 * REACH).map(|i| y + LINE * f64::from(i.div_ceil(2)) * if i % 2 == 1 { 1.0 } else { -1.0 });
        let inside = |l: &Label| {
            l.left >= bounds.left && l.right <= bounds.right && l.y >= bounds.top && l.y <= bounds.bottom
        };
        let free = |l: &Label| inside(l) && !points.iter().chain(&taken).any(|other| l.overlaps(other));
        let found = heights.flat_map(|y| [right(y), left(y)]).find(free);
        taken.push(found.unwrap_or(right(y)));
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { left: 0.0, right: 400.0, top: 0.0, bottom: 300.0 };

    #[test]
    fn names_of_points_at_one_place_do_not_cover_each_other() {
        let wanted = [Wanted { at: (200.0, 150.0), width: 60.0 }; 8];
        let labels = place(&wanted, BOUNDS);
        for (i, label) in labels.iter().enumerate() {
            assert!(labels[..i].iter().all(|other| !label.overlaps(other)), "{labels:?}");
        }
        assert_eq!(labels[0], Label { left: 210.0, right: 270.0, y: 150.0 });
        assert_eq!((labels[0].lead((200.0, 150.0)), labels[1].right), (None, 190.0));
        assert_eq!(labels[2].lead((200.0, 150.0)), Some((207.0, 165.0)));
    }

    #[test]
    fn names_stay_inside_and_one_without_room_is_still_named() {
        let labels = place(&[Wanted { at: (390.0, 2.0), width: 60.0 }], BOUNDS);
        assert_eq!(labels[0].right, 380.0);
        assert_eq!(place(&[Wanted { at: (10.0, 10.0), width: 900.0 }], BOUNDS).len(), 1);
    }
}
