//! Every format over invented runs: the ordinary one, hostile ones, empty ones and large ones.

use super::*;
use crate::record::{Entry, Purpose};
use crate::testing::{FakeRun, Recipe};
use crate::verdict::{Verdict, verdicts};
use proptest::prelude::*;
use protocol::{Event, FailKind, Outcome, Sha256Hex};

fn text_of(name: &str, record: &RunRecord, options: &Options) -> String {
    let bytes = render(format(name).unwrap(), record, &verdicts(record), options).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn page(name: &str, record: &RunRecord) -> String {
    text_of(name, record, &Options::default())
}

/// All formats that are text, by name; the others are made as well.
fn pages(record: &RunRecord) -> Vec<(&'static str, String)> {
    let verdicts = verdicts(record);
    let made = |f: &'static Format| (f, render(f, record, &verdicts, &Options::default()).unwrap());
    let all: Vec<_> = FORMATS.iter().map(made).collect();
    let text = |(f, bytes): (&'static Format, Vec<u8>)| (f.name, String::from_utf8(bytes).unwrap());
    all.into_iter().filter(|(f, _)| f.text).map(text).collect()
}

/// The run beside itself.
fn side(format: SideFormat, records: &[&RunRecord], width: u16) -> String {
    let verdicts: Vec<_> = records.iter().map(|record| verdicts(record)).collect();
    let runs = records.iter().zip(&verdicts).map(|(record, verdicts)| Source { record, verdicts });
    let (mut bytes, options) = (Vec::new(), Options { width, color: false });
    side_by_side(format, &runs.collect::<Vec<_>>(), &options, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn names_and_files_are_unique() {
    for (i, format) in FORMATS.iter().enumerate() {
        let others = || FORMATS.iter().take(i);
        assert!(others().all(|other| other.name != format.name), "{}", format.name);
        assert!(others().all(|other| other.file != format.file), "{}", format.name);
    }
}

/// Reads a run and writes its files: the record, and where they are.
fn written(dir: &std::path::Path) -> (RunRecord, Vec<std::path::PathBuf>) {
    let record = crate::store::load(dir).unwrap();
    let paths = crate::write_all(dir, &record, &verdicts(&record)).unwrap();
    (record, paths)
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let root = tempfile::tempdir().unwrap();
    let dir = Recipe::small().run().write(root.path());
    let read = |paths: &[std::path::PathBuf]| -> Vec<_> {
        paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
    };
    let (first, paths) = written(&dir);
    let bytes = read(&paths);
    assert_eq!(paths.len(), FORMATS.iter().filter(|f| f.kept == Kept::Always).count());
    let (second, again) = written(&dir);
    assert_eq!(bytes, read(&again));
    // what is rendered is no part of the record
    assert_eq!(first, second);
    assert!(bytes.iter().all(|b| !b.is_empty()));
}

#[test]
fn snapshots_of_what_people_read() {
    let record = Recipe { examples: 500, ..Recipe::small() }.run().record();
    let options = |width, color| Options { width, color };
    insta::assert_snapshot!("terminal-wide", text_of("terminal", &record, &options(120, false)));
    insta::assert_snapshot!("terminal-80", text_of("terminal", &record, &options(80, false)));
    insta::assert_snapshot!("terminal-narrow-colour", text_of("terminal", &record, &options(60, true)));
    insta::assert_snapshot!("comment", page("markdown", &record));
    insta::assert_snapshot!("summary", page("summary", &record));
}

#[test]
fn snapshots_of_what_ci_reads() {
    let all = Recipe::vision().cases;
    let cases = [&all[..2], &all[4..5], &all[7..]].concat();
    let mut record = Recipe { cases, examples: 500, ..Recipe::small() }.run().record();
    record.seal = Sha256Hex::of_bytes(b"seal");
    insta::assert_snapshot!("annotations", page("annotations", &record));
    insta::assert_snapshot!("junit", page("junit", &record));
    insta::assert_snapshot!("openmetrics", page("openmetrics", &record));
    insta::assert_snapshot!("json", page("json", &record));
}

/// What is not snapshot above, of a run of two variants: pages, tables, traces and drawings. Parquet files are compared
/// with the tables by their readers (tests/files.rs), and PNGs with the drawings below.
#[test]
fn snapshots_of_the_other_files() {
    let cases = Recipe::vision().cases[..2].to_vec();
    let recipe = Recipe { cases, units: 6, blocks: 1, samples_per_burst: 2, examples: 20, ..Recipe::small() };
    let record = recipe.run().record();
    let shown = ["terminal", "markdown", "summary", "annotations", "junit", "openmetrics", "json"];
    for (name, page) in pages(&record).into_iter().filter(|(name, _)| !shown.contains(name)) {
        let page = page.replace(crate::page::STYLE, "").replace("><", ">\n<");
        insta::assert_snapshot!(name, page);
    }
}

#[test]
fn junit_counts_what_the_verdicts_say() {
    let record = Recipe { examples: 500, ..Recipe::small() }.run().record();
    let verdicts = verdicts(&record);
    let count = |v| verdicts.rows.iter().filter(|row| row.verdict == Some(v)).count();
    let judged = verdicts.rows.iter().filter(|row| row.verdict.is_some()).count();
    let page = page("junit", &record);
    let (worse, invalid) = (count(Verdict::Worse), count(Verdict::Invalid));
    assert!(worse > 0 && judged > worse);
    assert_eq!(page.matches("<failure").count(), worse);
    assert_eq!(page.matches("<skipped").count(), count(Verdict::Inconclusive));
    for counts in page.split("tests=").skip(1).map(|part| part.split('>').next().unwrap()) {
        let expected = format!("\"{judged}\" failures=\"{worse}\" errors=\"{invalid}\"");
        assert!(counts.starts_with(&expected), "{counts}");
    }
}

#[test]
fn a_table_fits_its_terminal_and_is_plain_without_colour() {
    let record = Recipe::small().run().record();
    for width in [60, 96, 130, 200] {
        let text = text_of("terminal", &record, &Options { width, color: false });
        assert!(!text.contains('\u{1b}'));
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= usize::from(width), "{longest} > {width}");
    }
    assert!(text_of("terminal", &record, &Options { width: 60, color: true }).contains("\u{1b}[1;31m✗ no"));
}

/// The elements that the page may have; whatever else turns up came from untrusted text.
const ELEMENTS: &str = "a b body caption circle code dd defs desc details div dl dt figcaption figure footer g h1 \
    h2 h3 head header html image li line main meta nav p path pre rect section span strong style summary svg table \
    tbody td text th thead title tr ul use";

fn assert_only_our_elements(page: &str) {
    let page = page.strip_prefix("<!DOCTYPE html>").expect("a doctype");
    let mut open: Vec<&str> = Vec::new();
    for part in page.split('<').skip(1) {
        let name = part.trim_start_matches('/').split([' ', '>']).next().unwrap();
        assert!(ELEMENTS.split_whitespace().any(|known| known == name), "<{}", &part[..part.len().min(80)]);
        match part.strip_prefix('/') {
            Some(_) => assert_eq!(open.pop(), Some(name)),
            None if name == "meta" => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn the_page_needs_nothing_and_runs_nothing() {
    let page = page("html", &Recipe::small().run().record());
    assert_only_our_elements(&page);
    assert!(page.contains("default-src 'none'; style-src 'unsafe-inline'; img-src data:"));
    for forbidden in ["<script", "http:", "https:", "url(", "@import", " src=", " onload", "javascript:"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    // every picture says what it is, and every link has an end
    let count = |what: &str| page.matches(what).count();
    assert_eq!(count("<svg"), count("</desc>"));
    for link in page.split("href=\"#").skip(1) {
        let id = link.split('"').next().unwrap();
        assert_eq!(count(&format!(" id=\"{id}\"")), 1, "{id}");
    }
}

#[test]
fn the_headline_and_worst_row_come_first() {
    let record = Recipe { examples: 500, ..Recipe::small() }.run().record();
    let (page, verdicts) = (page("html", &record), verdicts(&record));
    let at = |what: &str| page.find(what).unwrap_or_else(|| panic!("no {what}"));
    assert!(at("<h1>") < at("<table") && at("<table") < at("id=\"contrasts\""));
    let view = crate::view::View::new(&record, &verdicts);
    let contrasts: Vec<_> = view.of_kind(crate::record::ContrastKind::Reference).collect();
    let order: Vec<usize> = contrasts.iter().map(|c| at(&format!("href=\"#c{}\"", c.index))).collect();
    assert!(order.len() == 7 && order.is_sorted());
    let answers: Vec<_> = contrasts.iter().map(|c| c.answer).collect();
    assert!(answers.is_sorted() && answers.first() < answers.last(), "{answers:?}");
}

/// Puts `text` wherever a record has text that came from outside.
fn poison(run: &mut FakeRun, text: &str) -> RunRecord {
    let bad = || text.to_owned();
    let plan = &mut run.plan;
    (plan.suite.name, plan.suite.title, plan.version) = (bad(), bad(), bad());
    (plan.dataset.name, plan.dataset.source, plan.created) = (bad(), bad(), bad());
    plan.command.push(bad());
    plan.dataset.names.iter_mut().chain(&mut plan.dataset.classes).for_each(|name| *name = bad());
    plan.devices.iter_mut().for_each(|d| (d.id, d.transport) = (bad(), bad()));
    plan.cases.iter_mut().for_each(|case| case.model_path = bad());
    for entry in &mut run.entries {
        match entry {
            Entry::Device { info, runtimes, agent, .. } => {
                (info.hostname, info.cpu, info.os, info.kernel, info.arch) =
                    (bad(), bad(), bad(), bad(), bad());
                (info.model, info.soc, agent.version) = (Some(bad()), Some(bad()), bad());
                info.features.push(bad());
                runtimes
                    .iter_mut()
                    .for_each(|r| (r.runtime, r.version, r.backends) = (bad(), bad(), vec![bad()]));
            }
            Entry::Event { event, .. } => poison_event(event, text),
            Entry::Finished { reason, .. } => *reason = bad(),
            _ => {}
        }
    }
    let mut record = run.record();
    record.losses.push(bad());
    // what no id may be that was read, a name may still be one day
    if let [reference, first, ..] = record.plan.cases.as_mut_slice() {
        (reference.variant.model, reference.variant.variant) = (bad(), bad());
        first.variant.variant = format!("{text}1");
    }
    record
}

fn poison_event(event: &mut Event, text: &str) {
    match event {
        Event::Loaded { proof, .. } => {
            (proof.runtime_version, proof.kernels) = (text.to_owned(), text.to_owned());
            for fallback in &mut proof.fallbacks {
                fallback.node = text.to_owned();
                fallback.op = text.to_owned();
                fallback.reason = text.to_owned();
            }
        }
        Event::BlockDropped { reason, .. } | Event::CutShort { reason, .. } => *reason = text.to_owned(),
        Event::Profile { nodes, .. } => nodes.iter_mut().for_each(|node| {
            (node.node, node.op) = (text.to_owned(), text.to_owned());
        }),
        Event::TrialFinished { trial: 5, outcome } => {
            *outcome = Outcome::Failed { kind: FailKind::Runtime, message: text.to_owned() };
        }
        _ => {}
    }
}

fn assert_harmless(record: &RunRecord) {
    for (name, page) in pages(record) {
        let invisible = |c: char| {
            (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        assert!(!page.contains(invisible), "{name}: {:?}", page.find(invisible));
        match name {
            "html" => assert_only_our_elements(&page),
            "junit" => accept::junit(&page),
            "openmetrics" => accept::openmetrics(&page),
            "annotations" => accept::annotations(&page),
            "json" => accept::json(&page),
            "markdown" | "summary" => {
                let marked = page.replace("\\\\", "").replace("\\]", "");
                assert!(!marked.contains("<script") && !marked.contains("](") && !marked.contains("@all"));
            }
            "terminal" | "profile" => {}
            "trace" => accept::trace(&page),
            svg if svg.ends_with("svg") => {
                assert!(!page.contains("<script") && page.trim_end().ends_with("</svg>"))
            }
            _ => assert_tidy(name, &page),
        }
    }
    assert_only_our_elements(&side(SideFormat::Html, &[record, record], 100));
    let text = side(SideFormat::Terminal, &[record, record], 100);
    assert!(!text.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
}

fn assert_tidy(name: &str, page: &str) {
    let mut reader = ::csv::ReaderBuilder::new().from_reader(page.as_bytes());
    let columns = reader.headers().unwrap().len();
    for row in reader.records() {
        let row = row.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(row.len(), columns);
        for cell in &row {
            let number = cell.parse::<f64>().is_ok();
            assert!(number || !cell.trim_start().starts_with(['=', '+', '-', '@']), "{name}: {cell}");
        }
    }
}

#[test]
fn hostile_text_is_harmless_in_every_format() {
    let recipe = Recipe { cases: Recipe::vision().cases[..6].to_vec(), ..Recipe::small() };
    for text in [
        "</style><script>alert(1)</script><img src=x onerror=alert(1)>",
        "\"'><svg/onload=alert(1)>]]>&lt;",
        "=HYPERLINK(\"http://x\")\n+1\r\n@all | `x` [y](http://z) <!-- --> ](x)",
        "\u{202e}evil\u{2066}\u{1b}[31m\u{0}\u{7}\u{feff}\u{85}",
        &"長い名前".repeat(4000),
        "",
    ] {
        assert_harmless(&poison(&mut recipe.run(), text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_text_is_harmless_in_every_format(text in "([<>&\"'=+@|`\\[\\]()\n\r\t\u{0}\u{1b}\u{202e}-]|\\PC){0,30}") {
        let cases = Recipe::vision().cases[..6].to_vec();
        let recipe = Recipe { cases, units: 6, blocks: 1, samples_per_burst: 2, examples: 20, ..Recipe::small() };
        assert_harmless(&poison(&mut recipe.run(), &text));
    }
}

#[test]
fn a_run_with_nothing_in_it_is_still_a_report() {
    let mut run = Recipe::small().run();
    run.entries.clear();
    for (name, page) in pages(&run.record()) {
        assert!(!page.is_empty(), "{name}");
    }
    assert_harmless(&run.record());
    let html = page("html", &run.record());
    assert!(html.contains("This run was cut off.") && html.contains("This device never answered."));
    assert!(
        html.contains("No answer: all 7 variants are invalid."),
        "{}",
        &html[html.find("<h1").unwrap()..][..300]
    );
    run.plan.contrasts.clear();
    run.plan.cases.clear();
    run.plan.devices.clear();
    run.plan.measuring.groups.clear();
    let record = run.record();
    assert_only_our_elements(&page("html", &record));
    assert!(pages(&record).iter().all(|(name, page)| !page.is_empty() || *name == "annotations"));
    assert_harmless(&record);
    assert!(page("terminal", &record).starts_with("Nothing was compared."));
}

#[test]
fn a_run_of_failures_says_why() {
    let mut run = Recipe::small().run();
    for entry in &mut run.entries {
        if let Entry::Event { event: Event::TrialFinished { outcome, .. }, .. } = entry {
            *outcome = Outcome::Crashed { signal: 11, why: None };
        }
    }
    let record = run.record();
    let html = page("html", &record);
    assert_only_our_elements(&html);
    assert!(html.contains("Trials that did not end well") && html.contains("crashed: signal 11"));
    assert!(page("terminal", &record).contains("⊘ invalid"));
    assert!(page("cases-csv", &record).lines().count() == 9);
}

#[test]
fn a_run_of_many_variants_stays_small_and_says_what_it_leaves_out() {
    let record = Recipe::many(700).run().record();
    assert!(record.plan.contrasts.len() > 1000);
    let pages: std::collections::BTreeMap<_, _> = pages(&record).into_iter().collect();
    let comment = &pages["markdown"];
    assert!(comment.chars().count() <= 60_000 && comment.contains("rows omitted, see report.html"));
    assert!(pages["summary"].len() <= 1 << 20 && !pages["summary"].contains("omitted"));
    assert!(pages["annotations"].lines().count() <= 30);
    accept::junit(&pages["junit"]);
    let html = &pages["html"];
    assert_only_our_elements(html);
    assert!(html.len() < 2_500_000, "{} bytes", html.len());
    assert!(html.contains("rows omitted, see the CSV files") && html.contains("are not laid out here"));
    assert!(pages["terminal"].contains("more in results.csv"));
    assert!(pages["results-csv"].lines().count() > 10 * 1000);
}

#[test]
fn ten_thousand_cells_are_still_a_report() {
    let mut recipe = Recipe { units: 1, ..Recipe::many(10_000) };
    // the same answers: one file of outputs
    recipe.cases.iter_mut().for_each(|case| case.output_noise = 0.0);
    let record = recipe.run().record();
    let verdicts = verdicts(&record);
    for format in FORMATS {
        let file = render(format, &record, &verdicts, &Options::default()).unwrap();
        let most = match format.name {
            "markdown" => 60_000,
            "summary" => 1 << 20,
            "html" => 3_000_000,
            "terminal" | "annotations" => 500_000,
            _ if format.name.contains("latency") => 500_000,
            // tables and what machines read has every row
            _ => 300_000_000,
        };
        assert!(file.len() <= most, "{}: {} bytes", format.name, file.len());
        println!("{}: {} bytes", format.name, file.len());
    }
}

#[test]
fn two_hundred_variants_make_less_than_a_megabyte() {
    let recipe = Recipe { units: 10, samples_per_burst: 6, examples: 200, ..Recipe::many(200) };
    let mut run = recipe.run();
    run.plan.contrasts.retain(|c| c.kind == crate::record::ContrastKind::Reference);
    let record = run.record();
    let started = std::time::Instant::now();
    let verdicts = verdicts(&record);
    println!("200 cells: verdicts in {:?}", started.elapsed());
    let started = std::time::Instant::now();
    let html = render(format("html").unwrap(), &record, &verdicts, &Options::default()).unwrap();
    let html = String::from_utf8(html).unwrap();
    println!("200 cells: {} bytes in {:?}", html.len(), started.elapsed());
    assert!(html.len() < 1_000_000, "{} bytes", html.len());
}

#[test]
fn units_of_other_purposes_do_not_count_as_latency() {
    let record = Recipe::small().run().record();
    let samples = page("samples-csv", &record);
    let units: std::collections::BTreeSet<u32> =
        record.units.iter().filter(|u| u.purpose == Purpose::Performance).map(|u| u.unit.0).collect();
    let mut reader = ::csv::Reader::from_reader(samples.as_bytes());
    let mut counted = 0;
    for row in reader.records() {
        let row = row.unwrap();
        assert!(units.contains(&row[1].parse().unwrap()));
        // dropped block 1 of unit 2, warm-up and switches are there, and do not count
        let counts = &row[3] == "steady" && !(&row[1] == "2" && &row[4] == "1");
        assert_eq!(row[11].parse::<bool>().unwrap(), counts);
        counted += u32::from(counts);
    }
    assert_eq!(counted, 8 * (6 * 2 * 2 * 6 - 2 * 6));
}

/// Writes an ordinary report where `BENCH_REPORT_DIR` says, to be looked at or opened in a browser.
#[test]
fn an_ordinary_report_is_written_where_asked() {
    let asked = std::env::var_os("BENCH_REPORT_DIR");
    let root = tempfile::tempdir().unwrap();
    let dir = asked.as_ref().map_or(root.path(), std::path::Path::new);
    let (_, paths) = written(&Recipe::vision().run().write(dir));
    assert!(paths.iter().all(|path| path.is_file()));
}

#[test]
fn examples_are_shown_once_however_often_they_are_named() {
    let mut run = Recipe { examples: 500, ..Recipe::small() }.run();
    let pixels: Vec<u8> = (0..500 * 28 * 28).map(|i: u32| (i % 251) as u8).collect();
    run.plan.dataset.pictures = Some(crate::record::Pictures::new(28, 28, 1, pixels));
    let html = page("html", &run.record());
    assert_only_our_elements(&html);
    let count = |what: &str| html.matches(what).count();
    let (kept, shown) = (count("<image id=\"x"), count("<use href=\"#x"));
    assert!(kept > 10 && shown > kept, "{kept} {shown}");
    assert_eq!(count("href=\"data:image/png;base64,"), kept);
    for used in html.split("<use href=\"#").skip(1) {
        let id = used.split('"').next().unwrap();
        assert_eq!(count(&format!("<image id=\"{id}\"")), 1, "{id}");
    }
    let without = page("html", &Recipe { examples: 500, ..Recipe::small() }.run().record());
    assert!(!without.contains("<image") && without.contains("test/0"));
}

#[test]
fn runs_stand_side_by_side() {
    let first = Recipe { examples: 500, ..Recipe::small() }.run().record();
    let mut other = Recipe { examples: 500, seed: 11, ..Recipe::small() };
    other.cases[3].latency_ns *= 2.5;
    other.cases.remove(6);
    let mut other = other.run();
    other.plan.run = "2026-03-06T100000Z-00aa".into();
    other.plan.devices[0].id = "pi4".into();
    other.plan.cases[1].model_sha256 = Sha256Hex::of_bytes(b"another build");
    let other = other.record();
    insta::assert_snapshot!("side-wide", side(SideFormat::Terminal, &[&first, &other], 130));
    insta::assert_snapshot!("side-narrow", side(SideFormat::Terminal, &[&first, &other], 60));
    for width in [40, 60, 100, 130] {
        let text = side(SideFormat::Terminal, &[&first, &other], width);
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= usize::from(width), "{longest} > {width}: {text}");
    }
    let html = side(SideFormat::Html, &[&first, &other], 100);
    assert_only_our_elements(&html);
    assert!(html.contains("Not the same everywhere: ") && html.contains("not the same file"));
    // thirteen devices do not fit
    let many = vec![&first; 13];
    let html = side(SideFormat::Html, &many, 100);
    assert!(html.contains("1 device not shown") && html.contains(">L<span") && !html.contains(">M<span"));
}

#[test]
fn a_picture_is_a_png_of_twice_the_size() {
    let record = Recipe::small().run().record();
    for name in ["latency", "accuracy-latency"] {
        let svg = page(&format!("{name}-svg"), &record);
        let attribute = |name: &str| {
            svg.split(&format!("{name}=\""))
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap()
                .parse::<u32>()
                .unwrap()
        };
        let format = format(&format!("{name}-png")).unwrap();
        let file = render(format, &record, &verdicts(&record), &Options::default()).unwrap();
        let mut reader = ::png::Decoder::new(io::Cursor::new(&file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (2 * attribute("width"), 2 * attribute("height")));
        // letters and marks, on white
        let dark = pixels.chunks(3).filter(|pixel| pixel.iter().all(|v| *v < 90)).count();
        assert!(pixels[..3] == [255; 3] && dark > 1000, "{dark}");
        assert!(file.len() < 200_000, "{}", file.len());
    }
}
