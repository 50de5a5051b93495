//! Small SVG pictures inside HTML. Colours come from CSS classes, so that they follow light and dark;
//! text goes through maud, so that it is escaped. Knows no data.

use maud::{Markup, html};
use std::fmt::Write;

/// A coordinate as short as it looks the same.
pub fn px(x: f64) -> String {
    let text = format!("{x:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// A picture with what a screen reader says about it.
pub fn figure(width: f64, height: f64, title: &str, about: &str, body: &Markup) -> Markup {
    html! {
        svg.plot viewBox=(format!("0 0 {} {}", px(width), px(height))) width=(px(width)) height=(px(height))
            role="img" {
            title { (title) }
            desc { (about) }
            (body)
        }
    }
}

/// A straight line.
pub fn line(class: &str, from: (f64, f64), to: (f64, f64)) -> Markup {
    html! { line class=(class) x1=(px(from.0)) y1=(px(from.1)) x2=(px(to.0)) y2=(px(to.1)) {} }
}

/// A rectangle from its upper left corner.
pub fn rect(class: &str, at: (f64, f64), size: (f64, f64)) -> Markup {
    html! { rect class=(class) x=(px(at.0)) y=(px(at.1)) width=(px(size.0.max(0.0))) height=(px(size.1.max(0.0))) {} }
}

/// A filled circle.
pub fn circle(class: &str, at: (f64, f64), radius: f64) -> Markup {
    html! { circle class=(class) cx=(px(at.0)) cy=(px(at.1)) r=(px(radius)) {} }
}

/// A line through points.
pub fn path(class: &str, points: &[(f64, f64)]) -> Markup {
    let mut d = String::with_capacity(points.len() * 12);
    for (i, (x, y)) in points.iter().enumerate() {
        let step = if i == 0 { 'M' } else { 'L' };
        write!(d, "{step}{} {}", px(*x), px(*y)).expect("writing to a String cannot fail");
    }
    html! { path class=(class) d=(d) {} }
}

/// Which part of a text its coordinate is.
#[derive(Clone, Copy)]
pub enum Anchor {
    /// Its beginning.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

/// Text, escaped.
pub fn text(class: &str, at: (f64, f64), anchor: Anchor, text: &str) -> Markup {
    let anchor = match anchor {
        Anchor::Start => None,
        Anchor::Middle => Some("middle"),
        Anchor::End => Some("end"),
    };
    html! { text class=(class) x=(px(at.0)) y=(px(at.1)) text-anchor=[anchor] { (text) } }
}

/// From values to coordinates.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// Values `low..=high` onto `from..=to`. A range without width, or one that is no number, is widened.
    pub fn new(low: f64, high: f64, from: f64, to: f64) -> Self {
        let (low, high) = if low.is_finite() && high.is_finite() { (low, high) } else { (0.0, 1.0) };
        let pad = if high > low { 0.0 } else { (low.abs() * 0.05).max(1e-9) };
        Self { low: low - pad, high: high + pad, from, to }
    }

    /// The coordinate of a value; values outside lie at the ends.
    pub fn at(&self, value: f64) -> f64 {
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.from + share * (self.to - self.from)
    }

    /// True if the value lies on the axis.
    pub fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Round values, about `wanted` of them, with the decimals they need.
    pub fn ticks(&self, wanted: usize) -> (Vec<f64>, usize) {
        let rough = (self.high - self.low) / wanted.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= rough).unwrap_or(power);
        let (first, last) = ((self.low / step).ceil(), (self.high / step).floor());
        let count = if (last - first).is_finite() { (last - first).clamp(0.0, 50.0) as usize } else { 0 };
        let decimals = (-(step.log10() + 1e-9).floor()).clamp(0.0, 9.0) as usize;
        ((0..=count).map(|i| (first + i as f64) * step).collect(), decimals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let (ticks, decimals) = Axis::new(0.0, 1.0, 0.0, 100.0).ticks(5);
        assert_eq!(ticks.len(), 6);
        assert_eq!(decimals, 1);
        let (ticks, decimals) = Axis::new(118.0, 251.0, 0.0, 100.0).ticks(4);
        assert_eq!((ticks, decimals), (vec![150.0, 200.0, 250.0], 0));
        for axis in
            [Axis::new(5.0, 5.0, 0.0, 1.0), Axis::new(f64::NAN, 1.0, 0.0, 1.0), Axis::new(0.0, 0.0, 0.0, 1.0)]
        {
            assert!(axis.ticks(4).0.len() <= 51 && axis.at(5.0).is_finite());
        }
    }

    #[test]
    fn values_outside_lie_at_the_ends() {
        let axis = Axis::new(0.0, 10.0, 100.0, 0.0);
        assert_eq!((axis.at(-5.0), axis.at(2.5), axis.at(99.0)), (100.0, 75.0, 0.0));
        assert_eq!(px(3.04), "3");
    }

    #[test]
    fn text_is_escaped() {
        let markup = figure(1.0, 1.0, "<script>", "a & b", &text("x", (0.0, 0.0), Anchor::End, "</svg>"));
        let page = markup.into_string();
        assert!(!page.contains("<script>") && page.contains("&lt;/svg&gt;") && page.contains("a &amp; b"));
    }
}
