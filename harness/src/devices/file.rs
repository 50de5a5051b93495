//! `devices.toml`: the devices that somebody wrote down. Read, checked, and turned into [`Known`] devices;
//! nothing is opened here.

use super::{Known, Treatment, check_id, check_name};
use crate::{
    exit::CommandResult,
    transport::{Kind, Reach},
    unknown::unknown,
    values::{Size, Span},
    written::{self, Mistake},
};
use datasets::with_nearest;
use protocol::CoolDown;
use serde::Deserialize;
use std::{
    env,
    path::{Path, PathBuf},
};
use toml::Spanned;

/// Name of the file, looked for in the working directory and upwards, then in the user's settings.
pub(crate) const FILE_NAME: &str = "devices.toml";

/// Most devices, tags of a device, and cores to pin.
const MAX_DEVICES: usize = 1000;
const MAX_TAGS: usize = 32;
const MAX_CORES: usize = 256;

/// Temperatures between which a limit makes sense.
const LIMIT_CELSIUS: std::ops::RangeInclusive<f64> = 1.0..=120.0;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    device: Vec<Spanned<Entry>>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    id: String,
    transport: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    tags: Vec<String>,
    agent: Option<String>,
    cache: Option<String>,
    cache_limit: Option<Size>,
    identity: Option<PathBuf>,
    #[serde(default)]
    cores: Vec<u32>,
    #[serde(default)]
    fixed_performance: bool,
    cool_down: Option<WrittenCoolDown>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenCoolDown {
    below_celsius: f64,
    wait: Span,
    zone: Option<String>,
}

/// The nearest file from `here` upwards, else the one among the user's settings.
pub(crate) fn find(here: &Path) -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    let nearest = here.ancestors().map(|folder| folder.join(FILE_NAME));
    nearest.chain(config.map(|c| c.join("bench").join(FILE_NAME))).find(|path| path.is_file())
}

/// The devices of a file.
///
/// # Errors
/// Names the file, the line, the key, and what to do.
pub(crate) fn read(path: &Path, kinds: &'static [Kind]) -> CommandResult<Vec<Known>> {
    let folder = path.parent().unwrap_or(Path::new("."));
    written::read("the devices file", path, |text| parse(text, folder, kinds))
}

fn parse(text: &str, folder: &Path, kinds: &'static [Kind]) -> Result<Vec<Known>, Mistake> {
    let written: Written = toml::from_str(text).map_err(|e| (e.span(), with_nearest(e.message())))?;
    if written.device.len() > MAX_DEVICES {
        return Err((None, format!("has more than {MAX_DEVICES} devices")));
    }
    let mut all: Vec<Known> = Vec::with_capacity(written.device.len());
    for entry in written.device {
        let span = Some(entry.span());
        let entry = entry.into_inner();
        let id = entry.id.clone();
        let wrong = |why: String| (span.clone(), format!("the device {id:?}: {why}"));
        let known = entry.check(folder, kinds).map_err(wrong)?;
        // reports are files, and some file systems do not tell Pi from pi
        if all.iter().any(|other| other.id.eq_ignore_ascii_case(&known.id)) {
            return Err(wrong("id: another device has it already".to_owned()));
        }
        if let Some(other) = all.iter().find(|other| other.is_at(known.transport, &known.reach.address)) {
            return Err(wrong(format!(
                "address: {} has the same transport and address; one device is written down once",
                other.id
            )));
        }
        all.push(known);
    }
    Ok(all)
}

impl Entry {
    fn check(self, folder: &Path, kinds: &'static [Kind]) -> Result<Known, String> {
        let Some(kind) = kinds.iter().find(|k| k.name == self.transport) else {
            let names: Vec<&str> = kinds.iter().map(|k| k.name).collect();
            return Err(format!("transport: {}", unknown("transport", &self.transport, &names)));
        };
        check_id(&self.id).map_err(|why| format!("id: {why}"))?;
        if self.id != kind.name && kinds.iter().any(|k| k.name == self.id) {
            return Err(format!("id: {:?} is the name of a transport", self.id));
        }
        if self.tags.len() > MAX_TAGS {
            return Err(format!("tags: more than {MAX_TAGS}"));
        }
        for tag in &self.tags {
            check_name(tag).map_err(|why| format!("tags: {tag:?}: {why}"))?;
        }
        if let Some(agent) = &self.agent {
            check_name(agent).map_err(|why| format!("agent: {why}"))?;
        }
        if self.cache.as_ref().is_some_and(|c| !c.starts_with('/') || c.contains(char::is_control)) {
            return Err("cache: must be an absolute path on the device, without line breaks".to_owned());
        }
        if self.cores.len() > MAX_CORES {
            return Err(format!("cores: more than {MAX_CORES}"));
        }
        let mut cores = self.cores;
        cores.sort_unstable();
        if cores.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err("cores: a core is named twice".to_owned());
        }
        let cool_down = self.cool_down.map(WrittenCoolDown::check).transpose()?;
        let identity = self.identity.map(|path| folder.join(at_home(path)));
        Ok(Known {
            id: self.id,
            transport: kind.name,
            reach: Reach { address: self.address, cache: self.cache, identity },
            tags: self.tags,
            agent: self.agent,
            treatment: Treatment { cores, fixed_performance: self.fixed_performance, cool_down },
            cache_limit: self.cache_limit,
            about: String::new(),
            state: Ok(()),
        })
    }
}

impl WrittenCoolDown {
    fn check(self) -> Result<CoolDown, String> {
        if !LIMIT_CELSIUS.contains(&self.below_celsius) {
            let (least, most) = (LIMIT_CELSIUS.start(), LIMIT_CELSIUS.end());
            return Err(format!("cool-down: below-celsius must be {least} to {most}"));
        }
        let cool_down = CoolDown {
            below_milli_celsius: (self.below_celsius * 1000.0).round() as i64,
            wait_ms: u64::try_from(self.wait.0.as_millis()).unwrap_or(u64::MAX),
            zone: self.zone,
        };
        cool_down.check().map_err(|e| format!("cool-down: {e}"))?;
        Ok(cool_down)
    }
}

/// A path as a shell would take it: `~/` is the user's home.
fn at_home(path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::TRANSPORTS;
    use std::fs;
    use suites::line_of;

    fn mistake(text: &str) -> (Option<(usize, usize)>, String) {
        let (span, why) = parse(text, Path::new("/f"), TRANSPORTS).err().unwrap();
        (line_of(text, span), why)
    }

    #[test]
    fn everything_that_can_be_written_is_read() {
        let text = "[[device]]\nid = \"pi5\"\ntransport = \"fake\"\naddress = \"a.toml\"\ntags = [\"pi\", \"lab\"]\n\
                    agent = \"arm\"\ncache = \"/c\"\ncache-limit = \"1GiB\"\nidentity = \"keys/pi\"\n\
                    cores = [3, 2]\nfixed-performance = true\n\
                    cool-down = { below-celsius = 45, wait = \"5m\", zone = \"cpu-thermal\" }\n\
                    [[device]]\nid = \"local\"\ntransport = \"local\"\n";
        let all = parse(text, Path::new("/f"), TRANSPORTS).unwrap();
        let [pi, local] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((pi.id.as_str(), pi.transport, pi.reach.address.as_str()), ("pi5", "fake", "a.toml"));
        assert_eq!(pi.reach.identity.as_deref(), Some(Path::new("/f/keys/pi")));
        assert_eq!(
            (pi.tags.as_slice(), pi.agent.as_deref()),
            (["pi".to_owned(), "lab".to_owned()].as_slice(), Some("arm"))
        );
        assert_eq!(pi.cache_limit, Some(Size(1 << 30)));
        let cool_down =
            CoolDown { below_milli_celsius: 45_000, wait_ms: 300_000, zone: Some("cpu-thermal".to_owned()) };
        let treatment = Treatment { cores: vec![2, 3], fixed_performance: true, cool_down: Some(cool_down) };
        assert_eq!(pi.treatment, treatment);
        assert_eq!((local.id.as_str(), &local.treatment), ("local", &Treatment::default()));
        assert_eq!(parse("", Path::new("/f"), TRANSPORTS).unwrap().len(), 0);
    }

    #[test]
    fn mistakes_are_named_with_line_and_key() {
        let one = |line: &str| format!("[[device]]\nid = \"a\"\ntransport = \"fake\"\n{line}\n");
        for (text, line, words) in [
            (one("adress = \"x\""), 4, "did you mean `address`"),
            (one("tags = \"pi\""), 4, "sequence"),
            (one("cool-down = { below-celsius = 45 }"), 4, "`wait`"),
            (
                one("cool-down = { below-celsius = 45, wait = \"soon\" }"),
                4,
                "\"soon\" is not a length of time",
            ),
            (one("cache-limit = \"lots\""), 4, "\"lots\" is not a size"),
            (one("[[devices]]"), 4, "did you mean `device`"),
            (one("cool-down = { below-celsius = 45, wait = \"2h\" }"), 1, "cool-down: wait_ms: 1 to 1800000"),
            (
                one("cool-down = { below-celsius = 500, wait = \"1m\" }"),
                1,
                "cool-down: below-celsius must be 1 to 120",
            ),
            (one("tags = [\"a b\"]"), 1, "tags: \"a b\""),
            (one("agent = \"../x\""), 1, "agent: "),
            (one("cache = \"c\""), 1, "cache: must be an absolute path"),
            (one("cores = [1, 1]"), 1, "cores: a core is named twice"),
            (one("[[device]]\nid = \"A\"\ntransport = \"local\""), 4, "id: another device has it"),
            (one("[[device]]\nid = \"b\"\ntransport = \"fake\""), 4, "a has the same transport and address"),
            (
                "[[device]]\nid = \"fake\"\ntransport = \"local\"\n".to_owned(),
                1,
                "is the name of a transport",
            ),
            ("[[device]]\nid = \"a\"\ntransport = \"fke\"\n".to_owned(), 1, "did you mean \"fake\""),
            ("[[device]]\nid = \"../a\"\ntransport = \"fake\"\n".to_owned(), 1, "id: "),
            ("[[device]]\nid = \"a\"\n".to_owned(), 1, "`transport`"),
        ] {
            let (place, why) = mistake(&text);
            assert!(why.contains(words), "{text}: {why}");
            assert_eq!(place.map(|(line, _)| line), Some(line), "{text}: {why}");
        }
    }

    #[test]
    fn the_nearest_file_upwards_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        let far = folder.path().join(FILE_NAME);
        fs::write(&far, "").unwrap();
        assert_eq!(find(&deep), Some(far));
        let near = folder.path().join("a").join(FILE_NAME);
        fs::write(&near, "").unwrap();
        assert_eq!(find(&deep), Some(near));
    }
}
