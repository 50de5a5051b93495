//! Stand-alone pictures for wikis and slides: SVG files with their own colours, readable on white.

use super::labels::{self, Bounds, Wanted};
use super::{Format, Options, RenderError};
use crate::table::Source;
use crate::text::{self, Scale};
use crate::view::{Distribution, View};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::io::Write;

pub(super) const LATENCY: Format = Format {
    name: "latency-svg",
    file: Some("latency.svg"),
    about: "change of latency per comparison, with intervals",
    render: |source, _: &Options, out| write(source, "latency", latency, out),
};

pub(super) const ACCURACY_LATENCY: Format = Format {
    name: "accuracy-latency-svg",
    file: Some("accuracy_latency.svg"),
    about: "accuracy against latency, with intervals",
    render: |source, _: &Options, out| write(source, "accuracy_latency", accuracy_latency, out),
};

/// Rows of the forest plot, points of the scatter plot: more cannot be read.
const MAX_ROWS: usize = 40;
const BLUE: RGBColor = RGBColor(0, 114, 178);
const VERMILLION: RGBColor = RGBColor(213, 94, 0);
const GREY: RGBColor = RGBColor(90, 96, 104);
const BAND: RGBColor = RGBColor(226, 232, 240);
const WIDTH: u32 = 860;
/// Room for names left of the forest plot.
const NAMES: u32 = 290;
/// Width of a letter, rather too much than too little.
const NAME_ADVANCE: f64 = 7.2;
const FONT: &str = "sans-serif";

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn write(
    source: Source<'_>,
    chart: &'static str,
    draw: fn(&View<'_>, &mut String) -> Drawn,
    out: &mut dyn Write,
) -> Result<(), RenderError> {
    let mut svg = String::new();
    draw(&View::new(source.record, source.verdicts), &mut svg)
        .map_err(|e| RenderError::Chart { chart, reason: e.to_string() })?;
    out.write_all(svg.as_bytes())?;
    Ok(())
}

/// One row of the forest plot: name, change and interval in percent.
struct Row {
    name: String,
    change: f64,
    interval: Option<(f64, f64)>,
}

/// Forest plot of the change of latency.
fn latency(view: &View<'_>, svg: &mut String) -> Drawn {
    let percent = |ratio: f64| (ratio - 1.0) * 100.0;
    let row = |c: &crate::view::ContrastView<'_>| {
        let e = c.ratio("latency_ns")?;
        let interval = Some((percent(e.plain.low), percent(e.plain.high)));
        let interval = interval.filter(|(l, h)| l.is_finite() && h.is_finite());
        let name = format!("{} vs {}", c.candidate, c.reference);
        e.ratio.is_finite().then(|| Row { name, change: percent(e.ratio), interval })
    };
    let rows: Vec<Row> = view.contrasts.iter().filter_map(row).take(MAX_ROWS).collect();
    let height = 90 + 24 * rows.len().max(1) as u32;
    let root = SVGBackend::with_string(svg, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    if rows.is_empty() {
        return nothing(&root);
    }
    let margin = view.plan().suite.margin_of("latency_ns") * 100.0;
    let ends = rows.iter().flat_map(|r| {
        // an interval much wider than the change says so by running out of the picture
        let (low, high) = r.interval.unwrap_or((r.change, r.change));
        [r.change, low.max(r.change - 100.0), high.min(r.change + 100.0)]
    });
    let (low, high) = ends.fold((-margin, margin), |(l, h), v| (l.min(v), h.max(v)));
    let pad = (high - low) * 0.05;
    let mut chart = ChartBuilder::on(&root)
        .caption("Change of latency, with 95 % interval", (FONT, 17).into_font().color(&BLACK))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(NAMES)
        .build_cartesian_2d(low - pad..high + pad, 0.0..rows.len() as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BAND)
        .x_labels(9)
        .x_label_formatter(&|v| format!("{} %", text::signed(*v, 0)))
        .label_style((FONT, 13).into_font().color(&GREY))
        .draw()?;
    let top = rows.len() as f64;
    chart.draw_series([Rectangle::new([(-margin, 0.0), (margin, top)], BAND.filled())])?;
    chart.draw_series([PathElement::new([(0.0, 0.0), (0.0, top)], GREY)])?;
    for (i, row) in rows.iter().enumerate() {
        let y = top - i as f64 - 0.5;
        if let Some((l, h)) = row.interval {
            let inside = |v: f64| v.clamp(low - pad, high + pad);
            chart.draw_series([PathElement::new([(inside(l), y), (inside(h), y)], BLUE.stroke_width(3))])?;
        }
        chart.draw_series([Circle::new((row.change, y), 4, BLUE.filled())])?;
        let (_, pixel) = chart.backend_coord(&(row.change, y));
        let style = (FONT, 13).into_font().color(&BLACK);
        let style = style.pos(Pos::new(HPos::Right, VPos::Center));
        root.draw(&Text::new(shortened(&row.name), (NAMES as i32, pixel), style))?;
    }
    root.present()?;
    Ok(())
}

fn shortened(name: &str) -> String {
    const ROOM: usize = 44;
    if name.chars().count() <= ROOM {
        name.to_owned()
    } else {
        name.chars().take(ROOM - 1).chain(['…']).collect()
    }
}

fn nothing<B: DrawingBackend>(root: &DrawingArea<B, plotters::coord::Shift>) -> Drawn
where
    B::ErrorType: 'static,
{
    root.draw(&Text::new("nothing was measured", (20, 30), (FONT, 15).into_font().color(&GREY)))?;
    root.present()?;
    Ok(())
}

/// A case in the scatter plot.
struct Point {
    name: String,
    latency: f64,
    accuracy: (f64, f64, f64),
    onnx: bool,
}

fn points(view: &View<'_>, factor: f64) -> Vec<Point> {
    let point = |case: usize| {
        let (_, summary) = view.case(case)?;
        let score = summary.score?;
        let facts = view.record.facts.get(case)?.as_ref();
        Some(Point {
            name: view.name(case),
            latency: Distribution::of(view.record, case)?.median(),
            accuracy: (score.interval.low * factor, score.point * factor, score.interval.high * factor),
            onnx: facts.is_some_and(|f| f.format == protocol::Format::Onnx),
        })
    };
    (0..view.plan().variants().len()).filter_map(point).take(MAX_ROWS).collect()
}

/// The score with its interval against median latency, one point per case.
fn accuracy_latency(view: &View<'_>, svg: &mut String) -> Drawn {
    let metric = view.plan().suite.task.metric();
    let (decimals, factor, symbol) = text::score_scale(metric.unit);
    let points = points(view, factor);
    let root = SVGBackend::with_string(svg, (WIDTH, 480)).into_drawing_area();
    root.fill(&WHITE)?;
    if points.is_empty() {
        return nothing(&root);
    }
    let scale = Scale::time(points.iter().map(|p| p.latency));
    let span = |low: f64, high: f64| {
        let pad = ((high - low) * 0.08).max(0.01 * high.abs()).max(1e-6);
        low - pad..high + pad
    };
    let fold = |get: fn(&Point) -> f64, of: fn(f64, f64) -> f64, from| points.iter().map(get).fold(from, of);
    let x = span(
        scale.scaled(fold(|p| p.latency, f64::min, f64::INFINITY)),
        scale.scaled(fold(|p| p.latency, f64::max, 0.0)),
    );
    let y = span(fold(|p| p.accuracy.0, f64::min, f64::INFINITY), fold(|p| p.accuracy.2, f64::max, 0.0));
    let mut chart = ChartBuilder::on(&root)
        .caption(
            format!("{} against latency", text::capital(metric.short)),
            (FONT, 17).into_font().color(&BLACK),
        )
        .margin(14)
        .margin_right(150)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BAND)
        .x_desc(format!("latency p50, {}", scale.symbol))
        .y_desc(format!("{}{symbol} (95 % interval)", metric.short))
        .x_label_formatter(&|v| text::number(*v, 0))
        .y_label_formatter(&|v| text::number(*v, decimals))
        .label_style((FONT, 13).into_font().color(&GREY))
        .draw()?;
    let place = |p: &Point| (scale.scaled(p.latency), p.accuracy.1);
    let color = |p: &Point| if p.onnx { VERMILLION } else { BLUE };
    for p in &points {
        let (at, score) = place(p);
        chart.draw_series([PathElement::new([(at, p.accuracy.0), (at, p.accuracy.2)], color(p))])?;
        chart.draw_series([Circle::new((at, score), 5, color(p).filled())])?;
    }
    let pixel = |p: &Point| {
        let (x, y) = chart.backend_coord(&place(p));
        (f64::from(x), f64::from(y))
    };
    let width = |p: &Point| shortened(&p.name).chars().count() as f64 * NAME_ADVANCE;
    let wanted: Vec<Wanted> = points.iter().map(|p| Wanted { at: pixel(p), width: width(p) }).collect();
    let bounds = Bounds { left: 80.0, right: f64::from(WIDTH), top: 40.0, bottom: 420.0 };
    for ((label, wanted), p) in labels::place(&wanted, bounds).iter().zip(&wanted).zip(&points) {
        let whole = |(x, y): (f64, f64)| (x.round() as i32, y.round() as i32);
        if let Some(end) = label.lead(wanted.at) {
            root.draw(&PathElement::new([whole(wanted.at), whole(end)], GREY))?;
        }
        let style = (FONT, 13).into_font().color(&color(p));
        root.draw(&Text::new(shortened(&p.name), whole((label.left, label.y - 6.0)), style))?;
    }
    root.present()?;
    Ok(())
}
