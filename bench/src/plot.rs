//! Plots as SVG: figures against size, the size on a scale of powers of ten.
//!
//! Enters: charts, each of two panels. Leaves: SVG, on a background of its own, so that it can be read on
//! a dark page too. Invariants: vertical scales begin at 0, so that a line that looks flat is flat; what
//! is no number is not drawn.

use std::fmt::Write;

/// Two panels side by side.
pub(crate) struct Chart {
    /// Of its file, without the ending.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) panels: [Panel; 2],
}

/// Lines over one pair of scales.
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    pub(crate) lines: Vec<Line>,
    /// What no line shall cross, dashed.
    pub(crate) bar: Option<f64>,
}

/// A line; those of one name have one colour.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    /// Size and figure.
    pub(crate) points: Vec<(f64, f64)>,
    /// What the line of this name shall not cross, dashed.
    pub(crate) is_bar: bool,
}

/// Blue and orange that differ for every eye, on white.
const COLOURS: [&str; 3] = ["#0969da", "#bc4c00", "#1a7f37"];
/// Width of a line and radius of its points: where lines lie on each other, all are seen.
const WEIGHTS: [(f64, f64); 3] = [(4.0, 5.5), (2.0, 3.5), (1.0, 2.0)];
const INK: &str = "#1f2328";
const PALE: &str = "#59636e";
const GRID: &str = "#d8dee4";

const WIDTH: f64 = 820.0;
const HEIGHT: f64 = 330.0;
/// Where the panels' boxes begin and end.
const BOXES: [(f64, f64); 2] = [(68.0, 396.0), (474.0, 802.0)];
const TOP: f64 = 84.0;
const BOTTOM: f64 = 280.0;

impl Chart {
    /// The picture.
    pub(crate) fn svg(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"-apple-system, 'Segoe UI', Helvetica, \
             Arial, sans-serif\" font-size=\"12\" fill=\"{INK}\">\n<title>{0}</title>\n\
             <rect x=\"0.5\" y=\"0.5\" width=\"{1}\" height=\"{2}\" rx=\"6\" fill=\"#ffffff\" \
             stroke=\"{GRID}\"/>\n<text x=\"20\" y=\"30\" font-size=\"16\" font-weight=\"600\">{0}\
             </text>\n",
            self.title,
            WIDTH - 1.0,
            HEIGHT - 1.0
        );
        let names = self.names();
        self.legend(&mut svg, &names);
        for (panel, side) in self.panels.iter().zip(BOXES) {
            panel.draw(&mut svg, side, &names);
        }
        svg + "</svg>\n"
    }

    /// Names of lines, in the order in which they come.
    fn names(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for line in self.panels.iter().flat_map(|panel| &panel.lines) {
            if !names.contains(&line.name) {
                names.push(line.name);
            }
        }
        names
    }

    /// What the colours mean, from the right edge leftwards.
    fn legend(&self, svg: &mut String, names: &[&str]) {
        let mut x = WIDTH - 20.0;
        let mut entry = |name: &str, colour: &str, dash: &str| {
            // About as wide as its letters.
            x -= 7.0 * name.len() as f64;
            *svg += &text(x, 30.0, "start", INK, name);
            *svg += &path(&format!("M{:.1} 26h24", x - 30.0), colour, 2.0, dash);
            x -= 50.0;
        };
        let is_barred = |panel: &Panel| panel.bar.is_some() || panel.lines.iter().any(|l| l.is_bar);
        if self.panels.iter().any(is_barred) {
            entry("bar", PALE, DASH);
        }
        for (number, name) in names.iter().enumerate().rev() {
            entry(name, COLOURS[number % COLOURS.len()], "");
        }
    }
}

const DASH: &str = " stroke-dasharray=\"6 4\"";

impl Panel {
    fn draw(&self, svg: &mut String, (left, right): (f64, f64), names: &[&str]) {
        let scale = Scale::of(self, left, right);
        *svg += &text(left, TOP - 18.0, "start", INK, self.title);
        for step in 0..=scale.steps {
            let figure = scale.top * f64::from(step) / f64::from(scale.steps);
            let y = scale.y(figure);
            *svg += &path(&format!("M{left} {y:.1}H{right}"), GRID, 1.0, "");
            *svg += &text(left - 8.0, y + 4.0, "end", PALE, &short(figure));
        }
        for power in scale.powers.0..=scale.powers.1 {
            let x = scale.x(10_f64.powi(power));
            *svg += &path(&format!("M{x:.1} {TOP}V{BOTTOM}"), GRID, 1.0, "");
            *svg += &text(x, BOTTOM + 18.0, "middle", PALE, &short(10_f64.powi(power)));
        }
        *svg +=
            &text(f64::midpoint(left, right), BOTTOM + 38.0, "middle", PALE, "entries in the log");
        if let Some(bar) = self.bar {
            let y = scale.y(bar);
            *svg += &path(&format!("M{left} {y:.1}H{right}"), PALE, 1.5, DASH);
        }
        for line in &self.lines {
            let number = names.iter().position(|name| *name == line.name).unwrap_or(0);
            line.draw(svg, &scale, number % COLOURS.len());
        }
    }

    /// Points that can be drawn.
    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.lines.iter().flat_map(Line::drawn)
    }
}

impl Line {
    fn drawn(&self) -> impl Iterator<Item = (f64, f64)> {
        self.points.iter().copied().filter(|(x, y)| *x >= 1.0 && x.is_finite() && y.is_finite())
    }

    fn draw(&self, svg: &mut String, scale: &Scale, number: usize) {
        let (colour, (width, radius)) = (COLOURS[number], WEIGHTS[number]);
        let places: Vec<_> = self.drawn().map(|(x, y)| (scale.x(x), scale.y(y))).collect();
        if places.is_empty() {
            return;
        }
        let line: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let line = format!("M{}", line.join("L"));
        if self.is_bar {
            *svg += &path(&line, colour, 1.5, DASH);
            return;
        }
        *svg += &path(&line, colour, width, "");
        for (x, y) in places {
            // Writing to a string cannot fail.
            let _ = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\" stroke=\"#ffffff\"/>"
            );
        }
    }
}

/// Where figures are in a panel.
struct Scale {
    left: f64,
    right: f64,
    /// Powers of ten at both ends of the horizontal scale.
    powers: (i32, i32),
    top: f64,
    steps: u32,
}

impl Scale {
    fn of(panel: &Panel, left: f64, right: f64) -> Self {
        // A size that is a power of ten but for a few lies at it, not before the next.
        let sizes = || panel.points().map(|(size, _)| size.log10());
        let low = sizes().fold(f64::INFINITY, f64::min).min(9.0);
        let high = sizes().fold(low, f64::max);
        let (low, high) = ((low + 0.05).floor(), (high - 0.08).ceil());
        let figures = panel.points().map(|(_, figure)| figure).chain(panel.bar);
        let (top, steps) = round_up(figures.fold(0.0, f64::max));
        Self { left, right, powers: (low as i32, high.max(low + 1.0) as i32), top, steps }
    }

    /// Between both ends there is a margin, in which a size a little beyond them has its place.
    fn x(&self, size: f64) -> f64 {
        let (low, high) = (f64::from(self.powers.0), f64::from(self.powers.1));
        let (left, right) = (self.left + MARGIN, self.right - MARGIN);
        left + (size.log10() - low) / (high - low) * (right - left)
    }

    fn y(&self, figure: f64) -> f64 {
        BOTTOM - figure / self.top * (BOTTOM - TOP)
    }
}

const MARGIN: f64 = 24.0;

fn text(x: f64, y: f64, anchor: &str, colour: &str, text: &str) -> String {
    let place = format!("x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"");
    format!("<text {place} fill=\"{colour}\">{text}</text>\n")
}

fn path(path: &str, colour: &str, width: f64, more: &str) -> String {
    format!(
        "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"{more}/>\n"
    )
}

/// A round number at or above `value`, and how many steps lead to it from 0.
fn round_up(value: f64) -> (f64, u32) {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    let tops = [(1.0, 5), (1.5, 3), (2.0, 4), (3.0, 3), (4.0, 4), (5.0, 5), (8.0, 4), (10.0, 5)];
    let (top, steps) = tops.into_iter().find(|(top, _)| top * power >= value).unwrap_or((10.0, 5));
    (top * power, steps)
}

/// A number, short.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e4 => (v / 1e3, "k"),
        v => (v, ""),
    };
    let text = format!("{value:.2}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(points: &[(f64, f64)], bar: Option<f64>) -> Panel {
        let line = Line { name: "zipf", points: points.to_vec(), is_bar: false };
        Panel { title: "ms", lines: vec![line], bar }
    }

    #[test]
    fn scales_end_at_round_numbers_above_the_greatest_figure_and_the_bar() {
        assert_eq!([9.0, 10.0, 1.2].map(round_up), [(10.0, 5), (10.0, 5), (1.5, 3)]);
        let scale = |bar| Scale::of(&panel(&[(1e5, 3.0), (1.05e7, 7.0)], bar), 0.0, 100.0);
        assert_eq!((scale(None).top, scale(Some(40.0)).top), (8.0, 40.0));
        assert_eq!(scale(None).powers, (5, 7), "a little beyond a power is at it");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(["0", "0.25", "250", "50k", "1.5M"], [0.0, 0.25, 250.0, 5e4, 1.5e6].map(short));
    }

    #[test]
    fn a_point_is_drawn_where_its_size_and_its_figure_are() {
        let panels = [panel(&[(1e3, 5.0), (1e4, 10.0), (1e5, f64::NAN)], None), panel(&[], None)];
        let svg = Chart { name: "t", title: "t".into(), panels }.svg();
        let (left, right) = (BOXES[0].0 + MARGIN, BOXES[0].1 - MARGIN);
        let (half, full) = (f64::midpoint(TOP, BOTTOM), TOP);
        assert!(svg.contains(&format!("M{left:.1} {half:.1}L{right:.1} {full:.1}")), "{svg}");
        assert!(!svg.contains("NaN"), "{svg}");
    }
}
