//! Readers of what Linux and the Raspberry Pi print. Pure functions: text in, value out.

/// ARM implementer and part numbers of cores met on phones and boards, from the cores' reference manuals
/// (MIDR_EL1).
const ARM_CORES: &[(u32, u32, &str)] = &[
    (0x41, 0xd03, "Cortex-A53"),
    (0x41, 0xd04, "Cortex-A35"),
    (0x41, 0xd05, "Cortex-A55"),
    (0x41, 0xd07, "Cortex-A57"),
    (0x41, 0xd08, "Cortex-A72"),
    (0x41, 0xd09, "Cortex-A73"),
    (0x41, 0xd0a, "Cortex-A75"),
    (0x41, 0xd0b, "Cortex-A76"),
    (0x41, 0xd0c, "Neoverse-N1"),
    (0x41, 0xd0d, "Cortex-A77"),
    (0x41, 0xd40, "Neoverse-V1"),
    (0x41, 0xd41, "Cortex-A78"),
    (0x41, 0xd44, "Cortex-X1"),
    (0x41, 0xd46, "Cortex-A510"),
    (0x41, 0xd47, "Cortex-A710"),
    (0x41, 0xd48, "Cortex-X2"),
    (0x41, 0xd49, "Neoverse-N2"),
    (0x41, 0xd4d, "Cortex-A715"),
    (0x41, 0xd4e, "Cortex-X3"),
    (0x41, 0xd80, "Cortex-A520"),
    (0x41, 0xd81, "Cortex-A720"),
    (0x41, 0xd82, "Cortex-X4"),
];

/// The value of the first `key : value` line of `/proc/cpuinfo` with that key.
pub(crate) fn cpuinfo_field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim()).filter(|v| !v.is_empty())
    })
}

/// The processor's name: from the cores' part numbers on ARM, as `4x Cortex-A55 + 4x Cortex-A76`,
/// otherwise in `/proc/cpuinfo`'s own words.
pub(crate) fn cpu_name(cpuinfo: &str) -> Option<String> {
    let own_words = || cpuinfo_field(cpuinfo, "model name").map(str::to_owned);
    let mut kinds: Vec<(String, u32)> = Vec::new();
    let mut implementer = None;
    for (key, value) in cpuinfo.lines().filter_map(|line| line.split_once(':')) {
        match key.trim() {
            "CPU implementer" => implementer = hex(value),
            "CPU part" => {
                let known = arm_core(implementer, hex(value)?);
                let Some(name) = known.or_else(|| own_words().is_none().then(|| numbers(implementer, value)))
                else {
                    return own_words();
                };
                match kinds.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, count)) => *count += 1,
                    None => kinds.push((name, 1)),
                }
            }
            _ => {}
        }
    }
    if kinds.is_empty() {
        return own_words();
    }
    let parts: Vec<String> = kinds.iter().map(|(name, count)| format!("{count}x {name}")).collect();
    Some(parts.join(" + "))
}

fn arm_core(implementer: Option<u32>, part: u32) -> Option<String> {
    let known = ARM_CORES.iter().find(|(i, p, _)| (Some(*i), *p) == (implementer, part));
    known.map(|(_, _, name)| (*name).to_owned())
}

fn numbers(implementer: Option<u32>, part: &str) -> String {
    format!("implementer {:#04x} part {}", implementer.unwrap_or_default(), part.trim())
}

fn hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
}

/// `PRETTY_NAME` of `/etc/os-release`.
pub(crate) fn os_name(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    let value = value.trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

/// Raspberry Pi throttle flags: `50000` of the firmware's file, `throttled=0x50000` of `vcgencmd`. Bits 0
/// to 3 are now (under-voltage, capped, throttled, soft limit), 16 to 19 the same since boot.
pub(crate) fn throttled(text: &str) -> Option<u64> {
    let digits = text.trim().trim_start_matches("throttled=").trim_start_matches("0x");
    u64::from_str_radix(digits, 16).ok()
}

/// One-minute load of `/proc/loadavg` in thousandths.
pub(crate) fn load1_milli(loadavg: &str) -> Option<u64> {
    decimal(loadavg.split_whitespace().next()?, 3)
}

/// `some avg10` of `/proc/pressure/cpu` in hundredths of a percent.
pub(crate) fn pressure_centi_percent(text: &str) -> Option<u64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let value = some.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?;
    decimal(value, 2)
}

/// A decimal number times 10^digits, exactly.
fn decimal(text: &str, digits: usize) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part: String = part.chars().chain(std::iter::repeat('0')).take(digits).collect();
    format!("{whole}{part}").parse().ok()
}

/// Start time of a process in clock ticks since boot, from `/proc/PID/stat`. The name before it may hold
/// anything, brackets and blanks included.
pub(crate) fn stat_start_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_named() {
        let x86 = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 9B45\nflags\t\t: fpu\n\n\
                   processor\t: 1\nmodel name\t: AMD EPYC 9B45\n";
        assert_eq!(cpu_name(x86).as_deref(), Some("AMD EPYC 9B45"));
        let core = |n: u32, part: &str| {
            format!(
                "processor\t: {n}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\n\
                     CPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: {part}\nCPU revision\t: 1\n\n"
            )
        };
        let pi5: String = (0..4).map(|n| core(n, "0xd0b")).collect();
        let pi5 = pi5 + "Revision\t: d04170\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n";
        assert_eq!(cpu_name(&pi5).as_deref(), Some("4x Cortex-A76"));
        assert_eq!(cpuinfo_field(&pi5, "Model"), Some("Raspberry Pi 5 Model B Rev 1.0"));
        let phone: String =
            (0..4).map(|n| core(n, "0xd05")).chain((4..6).map(|n| core(n, "0xabc"))).collect();
        assert_eq!(cpu_name(&phone).as_deref(), Some("4x Cortex-A55 + 2x implementer 0x41 part 0xabc"));
        let emulated = format!("model name : ARMv8 Processor rev 0 (v8l)\n{}", core(0, "0x051"));
        assert_eq!(cpu_name(&emulated).as_deref(), Some("ARMv8 Processor rev 0 (v8l)"));
        assert_eq!(cpu_name(""), None);
        assert_eq!(cpuinfo_field("no colon\nHardware\t:\n", "Hardware"), None);
    }

    #[test]
    fn systems_are_named() {
        let pi = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\n";
        assert_eq!(os_name(pi).as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(os_name("NAME=x\n"), None);
    }

    #[test]
    fn throttle_flags() {
        assert_eq!(throttled("50005\n"), Some(0x50005));
        assert_eq!(throttled("throttled=0x0\n"), Some(0));
        assert_eq!(throttled("error=1 error_msg=\"Command not registered\""), None);
    }

    #[test]
    fn load_and_pressure() {
        assert_eq!(load1_milli("12.34 10.00 9.00 3/456 789\n"), Some(12_340));
        assert_eq!(load1_milli(""), None);
        let psi = "some avg10=98.07 avg60=97.90 avg300=95.44 total=123\nfull avg10=0.00 avg60=0.00\n";
        assert_eq!(pressure_centi_percent(psi), Some(9807));
        assert_eq!(pressure_centi_percent("full avg10=0.00"), None);
        assert_eq!(decimal("7", 2), Some(700));
        assert_eq!(decimal("-1.5", 2), None);
    }

    #[test]
    fn start_ticks_are_found_behind_any_name() {
        let rest = "S 1 2 3 0 -1 4194560 500 0 0 0 1 2 0 0 20 0 1 0 987654 10000 200";
        assert_eq!(stat_start_ticks(&format!("4242 (a) b (c)) {rest}")), Some(987_654));
        assert_eq!(stat_start_ticks("4242 (x) S 1 2"), None);
    }
}
