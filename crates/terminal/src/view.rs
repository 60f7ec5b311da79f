//! Which rows of the timeline are visible.
//!
//! Invariant: the place is the slot of the lowest row, so new entries above or below and a new
//! width do not move the view.

use std::collections::VecDeque;

use ratatui::text::Line;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// At the newest entry, also when new ones come.
    End,
    At(Foot),
    /// This slot is in the middle.
    Around(u64),
}

pub(crate) trait Rows {
    /// The rows of a slot; an entry may have none.
    fn rows(&self, slot: u64) -> Vec<Line<'static>>;
    fn ends(&self) -> Option<(u64, u64)>;
    /// Whether the last slot is the room's newest.
    fn is_live(&self) -> bool;
}

pub(crate) struct Seen {
    pub(crate) lines: Vec<Line<'static>>,
    /// The slots of the highest and of the lowest row.
    pub(crate) slots: Option<(u64, u64)>,
}

pub(crate) struct View {
    pub(crate) place: Place,
    /// Rows to scroll up (negative: down) in the next drawing.
    scroll: isize,
    /// The height of the last drawing.
    height: usize,
}

impl View {
    pub(crate) fn new() -> Self {
        Self { place: Place::End, scroll: 0, height: 1 }
    }

    pub(crate) fn scroll_screens(&mut self, up: isize) {
        self.scroll_rows(up * self.height.saturating_sub(2).max(1).cast_signed());
    }

    pub(crate) fn scroll_rows(&mut self, up: isize) {
        self.scroll = self.scroll.saturating_add(up);
    }

    /// Applies the scrolling and returns the rows to draw.
    pub(crate) fn settle(&mut self, rows: &impl Rows, height: usize) -> Seen {
        self.height = height;
        let scroll = std::mem::take(&mut self.scroll);
        let Some((first, last)) = rows.ends() else {
            return Seen { lines: Vec::new(), slots: None };
        };
        let mut foot = match self.place {
            Place::End => Foot { slot: last, below: 0 },
            Place::At(Foot { slot, below }) => {
                let slot = slot.clamp(first, last);
                // It may have fewer rows than before: collapsed, or wider.
                Foot { slot, below: below.min(rows.rows(slot).len().saturating_sub(1)) }
            }
            Place::Around(slot) => {
                let mut foot = Foot { slot: slot.clamp(first, last), below: 0 };
                foot.down(rows, last, height / 2);
                foot
            }
        };
        match usize::try_from(scroll) {
            Ok(up) => foot.up(rows, first, up),
            Err(_) => foot.down(rows, last, scroll.unsigned_abs()),
        }
        let mut seen = foot.seen(rows, first, height);
        if seen.lines.len() < height {
            foot.down(rows, last, height - seen.lines.len());
            seen = foot.seen(rows, first, height);
        }
        // The newest entry may have no rows: an edit, a reaction.
        let is_lowest = || (foot.slot + 1..=last).all(|slot| rows.rows(slot).is_empty());
        let is_end = rows.is_live() && foot.below == 0 && is_lowest();
        self.place = match is_end {
            true => Place::End,
            false => Place::At(foot),
        };
        seen
    }
}

/// The lowest visible row: one of this slot, with `below` rows of the slot below it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Foot {
    slot: u64,
    below: usize,
}

impl Foot {
    fn up(&mut self, rows: &impl Rows, first: u64, by: usize) {
        if by == 0 {
            return;
        }
        self.below += by;
        loop {
            let here = rows.rows(self.slot).len();
            if self.below < here {
                return;
            }
            if self.slot == first {
                self.below = here.saturating_sub(1);
                return;
            }
            self.below -= here;
            self.slot -= 1;
        }
    }

    fn down(&mut self, rows: &impl Rows, last: u64, mut by: usize) {
        loop {
            let step = by.min(self.below);
            self.below -= step;
            by -= step;
            if by == 0 || self.slot == last {
                return;
            }
            self.slot += 1;
            self.below = rows.rows(self.slot).len();
        }
    }

    fn seen(&self, rows: &impl Rows, first: u64, height: usize) -> Seen {
        let mut lines = VecDeque::new();
        let (mut slot, mut below) = (self.slot, self.below);
        loop {
            let mut here = rows.rows(slot);
            here.truncate(here.len().saturating_sub(below));
            here.into_iter().rev().for_each(|line| lines.push_front(line));
            if lines.len() >= height || slot == first {
                break;
            }
            (slot, below) = (slot - 1, 0);
        }
        let surplus = lines.len().saturating_sub(height);
        Seen { lines: lines.into_iter().skip(surplus).collect(), slots: Some((slot, self.slot)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A room in which slot `n` has the number of rows at index `n`, named `n.row`.
    struct Room(&'static [usize], bool);

    impl Rows for Room {
        fn rows(&self, slot: u64) -> Vec<Line<'static>> {
            let count = self.0[usize::try_from(slot).expect("a slot")];
            (0..count).map(|row| Line::from(format!("{slot}.{row}"))).collect()
        }
        fn ends(&self) -> Option<(u64, u64)> {
            Some((0, self.0.len().checked_sub(1)? as u64))
        }
        fn is_live(&self) -> bool {
            self.1
        }
    }

    fn seen(view: &mut View, room: &Room, height: usize) -> String {
        let lines = view.settle(room, height).lines;
        lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn scrolling_goes_by_rows_and_stops_at_both_ends() {
        let room = Room(&[1, 3, 0, 2, 1], true);
        let mut view = View::new();
        assert_eq!(seen(&mut view, &room, 3), "3.0 3.1 4.0");
        view.scroll_rows(2);
        assert_eq!(seen(&mut view, &room, 3), "1.1 1.2 3.0");
        view.scroll_rows(100);
        assert_eq!(seen(&mut view, &room, 3), "0.0 1.0 1.1");
        view.scroll_rows(-3);
        assert_eq!(seen(&mut view, &room, 3), "1.2 3.0 3.1");
        assert_eq!(view.place, Place::At(Foot { slot: 3, below: 0 }));
        view.scroll_rows(-100);
        assert_eq!(seen(&mut view, &room, 3), "3.0 3.1 4.0");
        assert_eq!(view.place, Place::End);
    }

    #[test]
    fn new_entries_move_only_a_view_at_the_end() {
        let (before, after) = (Room(&[1, 1, 1], true), Room(&[1, 1, 1, 2], true));
        let mut view = View::new();
        seen(&mut view, &before, 2);
        assert_eq!(seen(&mut view, &after, 2), "3.0 3.1");
        view.scroll_rows(2);
        assert_eq!(seen(&mut view, &after, 2), "1.0 2.0");
        let wider = Room(&[1, 1, 1, 2, 5], true);
        assert_eq!(seen(&mut view, &wider, 2), "1.0 2.0");
    }

    #[test]
    fn an_end_without_rows_is_the_end() {
        let mut view = View::new();
        let reacted = Room(&[1, 1, 1, 0], true);
        assert_eq!(seen(&mut view, &reacted, 2), "1.0 2.0");
        assert_eq!(view.place, Place::End);
        assert_eq!(seen(&mut view, &Room(&[1, 1, 1, 0, 1], true), 2), "2.0 4.0");
        view.scroll_rows(1);
        assert_eq!(seen(&mut view, &reacted, 2), "0.0 1.0");
        view.scroll_rows(-1);
        assert_eq!(seen(&mut view, &reacted, 2), "1.0 2.0");
        assert_eq!(view.place, Place::End);
    }

    #[test]
    fn an_entry_that_has_fewer_rows_than_before_does_not_move_the_view_to_others() {
        let mut view = View::new();
        seen(&mut view, &Room(&[1, 1, 9, 1, 1, 1], true), 2);
        view.scroll_rows(9);
        assert_eq!(seen(&mut view, &Room(&[1, 1, 9, 1, 1, 1], true), 2), "2.1 2.2");
        assert_eq!(seen(&mut view, &Room(&[1, 1, 2, 1, 1, 1], true), 2), "1.0 2.0");
    }

    #[test]
    fn fewer_rows_than_fit_are_all_there() {
        let mut view = View::new();
        assert_eq!(seen(&mut view, &Room(&[1, 1], true), 9), "0.0 1.0");
        assert_eq!(seen(&mut view, &Room(&[], true), 9), "");
        assert_eq!(seen(&mut view, &Room(&[0, 0], true), 9), "");
    }

    #[test]
    fn a_slot_is_shown_in_the_middle_and_the_end_of_the_window_is_not_the_end() {
        let room = Room(&[1; 20], false);
        let mut view = View::new();
        view.place = Place::Around(10);
        assert_eq!(seen(&mut view, &room, 5), "8.0 9.0 10.0 11.0 12.0");
        view.scroll_rows(-100);
        assert_eq!(seen(&mut view, &room, 2), "18.0 19.0");
        assert_eq!(view.place, Place::At(Foot { slot: 19, below: 0 }), "more can come below it");
    }
}
