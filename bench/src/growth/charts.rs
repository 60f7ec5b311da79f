//! The figures as plots.
//!
//! Enters: points. Leaves: SVG files, each of two panels with the size of the log on a logarithmic
//! axis. Invariants: a point is drawn at the size that the log really had; vertical axes begin at
//! 0, so a line that looks flat is flat; what is not a number is not drawn.

use std::{io, path::Path, time::Duration};

use plotters::{coord::Shift, prelude::*};

use super::{point::Point, rest::PAGE_BAR};

/// The bar for the ratio of the ack p50 to that of the first size.
const ACK_P50_BAR: f64 = 1.3;
/// The bar for the ratio of the ack p99 to the floor's.
const ACK_P99_BAR: f64 = 2.0;
/// The bar for a start, ms.
const START_BAR: f64 = 1_000.0;

/// A load shorter than this has no rate that could be sustained.
const MIN_LOAD: Duration = Duration::from_secs(5);

const SIZE: (u32, u32) = (820, 330);
/// Blue and orange, which colour-blind readers can tell apart.
const COLOURS: [RGBColor; 2] = [RGBColor(9, 105, 218), RGBColor(188, 76, 0)];
const GREY: RGBColor = RGBColor(89, 99, 110);
/// Lengths of dashes and of the gaps between them.
const DASHES: (u32, u32) = (6, 4);

type Value = fn(&Point) -> f64;

/// What a line should not cross.
#[derive(Clone, Copy)]
enum Bar {
    None,
    /// The same for all.
    Level(f64),
    /// One for each point.
    Of(Value),
}

struct Panel {
    title: &'static str,
    size: Value,
    value: Value,
    bar: Bar,
}

struct Chart {
    file: &'static str,
    title: String,
    panels: [Panel; 2],
}

/// Draws all charts into `dir`.
pub(super) fn draw(points: &[Point], rate: u32, dir: &Path) -> io::Result<()> {
    for chart in charts(rate) {
        let file = dir.join(chart.file);
        draw_chart(&chart, points, &file).map_err(|error| io::Error::other(error.to_string()))?;
        eprintln!("{}", file.display());
    }
    Ok(())
}

fn charts(rate: u32) -> [Chart; 4] {
    let paced = |title, value, bar| Panel { title, size: |at| at.paced.size(), value, bar };
    let rest = |title, value, bar| Panel { title, size: |at| at.rest.entries as f64, value, bar };
    let chart = |file, title: String, panels| Chart { file, title, panels };
    [
        chart(
            "growth-ack.svg",
            format!("Ack at {rate} appends per second"),
            [
                paced(
                    "p50, ms",
                    |at| at.paced.ack.all.ms(0.5),
                    Bar::Of(|at| ACK_P50_BAR * at.paced.ack.all.ms(0.5) / at.of_first),
                ),
                paced(
                    "p99, ms",
                    |at| at.paced.ack.all.ms(0.99),
                    Bar::Of(|at| ACK_P99_BAR * at.paced.floor.ms(0.99)),
                ),
            ],
        ),
        chart(
            "growth-page.svg",
            "A random page of 50, cached by the system".into(),
            [
                rest(
                    "inside, p50, µs",
                    |at| at.rest.cached.inside.quantile(0.5) * 1e6,
                    Bar::Level(PAGE_BAR * 1e6),
                ),
                rest("over HTTP, p50, µs", |at| at.rest.cached.http.us(0.5), Bar::None),
            ],
        ),
        chart(
            "growth-memory.svg",
            "Memory and start-up".into(),
            [
                rest("peak RSS, MiB", |at| at.rest.peak as f64 / 1_048_576.0, Bar::None),
                rest("start-up, ms", |at| at.rest.start.as_secs_f64() * 1e3, Bar::Level(START_BAR)),
            ],
        ),
        chart(
            "growth-rate.svg",
            "Entries per second, and how far the archive is behind".into(),
            [
                paced(
                    "as fast as possible, acked and folded, entries/s",
                    |at| if at.load.folded < MIN_LOAD { f64::NAN } else { at.folded_per_s() },
                    Bar::Level(f64::from(rate)),
                ),
                paced("maximum fold lag at the rate, entries", |at| at.paced.lag_max, Bar::None),
            ],
        ),
    ]
}

type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

fn draw_chart<'a>(chart: &Chart, points: &[Point], file: &'a Path) -> Drawn<SVGBackend<'a>> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let panels = root.titled(&chart.title, ("sans-serif", 18))?.split_evenly((1, 2));
    for (panel, area) in chart.panels.iter().zip(&panels) {
        draw_panel(panel, points, area)?;
    }
    root.present()
}

fn draw_panel<B: DrawingBackend>(
    panel: &Panel,
    points: &[Point],
    area: &DrawingArea<B, Shift>,
) -> Drawn<B> {
    let mut spreads: Vec<_> = points.iter().map(|at| at.spread).collect();
    spreads.dedup();
    let lines: Vec<_> = spreads
        .iter()
        .map(|spread| {
            let points = points.iter().filter(|at| at.spread == *spread);
            (spread.name(), points.collect::<Vec<_>>())
        })
        .collect();
    let values = |points: &[&Point], value: Value| -> Vec<(f64, f64)> {
        let pairs = points.iter().map(|at| ((panel.size)(at), value(at)));
        pairs.filter(|(size, value)| *size >= 1.0 && value.is_finite()).collect()
    };
    let all: Vec<&Point> = points.iter().collect();
    let mut drawn = values(&all, panel.value);
    if let Bar::Of(bar) = panel.bar {
        drawn.extend(values(&all, bar));
    }
    let level = if let Bar::Level(level) = panel.bar { level } else { 0.0 };
    let low = drawn.iter().map(|(size, _)| *size).fold(f64::INFINITY, f64::min).min(1e9);
    let high = drawn.iter().map(|(size, _)| *size).fold(low, f64::max);
    let top = drawn.iter().map(|(_, value)| *value).fold(level.max(f64::MIN_POSITIVE), f64::max);
    let sizes = low / 1.5..high * 1.5;
    let mut chart = ChartBuilder::on(area)
        .caption(panel.title, ("sans-serif", 13))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(sizes.clone().log_scale(), 0.0..top * 1.1)?;
    let label = |value: &f64| short(*value);
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(3)
        .x_desc("entries in the log")
        .x_label_formatter(&label)
        .y_label_formatter(&label)
        .draw()?;
    for ((name, points), colour) in lines.iter().zip(COLOURS) {
        let line = LineSeries::new(values(points, panel.value), colour.filled().stroke_width(2));
        chart
            .draw_series(line.point_size(3))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        if let Bar::Of(bar) = panel.bar {
            let (dash, gap) = DASHES;
            chart.draw_series(DashedLineSeries::new(
                values(points, bar),
                dash,
                gap,
                colour.stroke_width(1),
            ))?;
        }
    }
    if let Bar::Level(level) = panel.bar {
        let ends = [(sizes.start, level), (sizes.end, level)];
        let (dash, gap) = DASHES;
        chart.draw_series(DashedLineSeries::new(ends, dash, gap, GREY.stroke_width(1)))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .draw()
}

/// A number with a unit of thousands or millions.
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
    use std::fs;

    use super::*;
    use crate::{growth::point::tests::point, spread::Spread};

    #[test]
    fn numbers_are_short() {
        assert_eq!(["0", "0.25", "250", "50k", "1.5M"], [0.0, 0.25, 250.0, 5e4, 1.5e6].map(short));
    }

    #[test]
    fn points_are_drawn_and_what_is_not_a_number_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let points = [100_000, 1_000_000].map(|size| point(Spread::Zipf, size, 1.0));
        draw(&points, 50_000, dir.path()).expect("plots");
        for chart in charts(50_000) {
            let svg = fs::read_to_string(dir.path().join(chart.file)).expect("a file");
            assert!(svg.contains(&chart.title) && !svg.contains("NaN"), "{svg}");
        }
        let memory = fs::read_to_string(dir.path().join("growth-memory.svg")).expect("a file");
        assert_eq!(memory.matches("<circle").count(), 4, "two points in each panel: {memory}");
    }
}
