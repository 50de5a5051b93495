//! What a device is, and the state it was in around a trial. Absent sensors are `None`, never zero.

use serde::{Deserialize, Serialize};

/// One CPU core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Core {
    /// Kernel's number.
    pub id: u32,
    /// Highest frequency, where the kernel tells.
    pub max_khz: Option<u64>,
}

/// What does not change while a run lasts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Name the device gives itself.
    pub hostname: String,
    /// Model of the board or phone, where known.
    pub model: Option<String>,
    /// System on chip, where the platform names it apart from the board.
    #[serde(default)]
    pub soc: Option<String>,
    /// Processor as the kernel names it.
    pub cpu: String,
    /// Operating system with version.
    pub os: String,
    /// Android: binary interface that apps are built for, `arm64-v8a`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abi: Option<String>,
    /// Android: API level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_level: Option<u32>,
    /// Android: fingerprint of the system's build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// Kernel release.
    pub kernel: String,
    /// Instruction set: `x86_64`, `aarch64`.
    pub arch: String,
    /// CPU features that matter to kernels: `avx2`, `fma`, `asimddp`, ...
    pub features: Vec<String>,
    /// Cores that are present.
    pub cores: Vec<Core>,
    /// Names of the thermal zones that tell a temperature, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thermal_zones: Vec<String>,
    /// Physical memory.
    pub memory_bytes: u64,
    /// Page size.
    pub page_bytes: u64,
    /// True under user-mode emulation, where memory readings are the emulator's and are left out.
    pub emulated: bool,
}

/// When a state was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Moment {
    /// Before the first worker of the unit started.
    Before,
    /// Between two blocks of a ping-pong unit, at most once in a few seconds. Only what is read without
    /// asking a service: frequencies, temperatures of the processor, throttling, load.
    During,
    /// After the last worker of the unit ended.
    After,
}

/// One cpufreq policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrequencyPolicy {
    /// `policy0`, ...
    pub policy: String,
    /// Present frequency.
    pub khz: Option<u64>,
    /// Present governor.
    pub governor: Option<String>,
}

/// One thermal zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThermalZone {
    /// The zone's type: `cpu-thermal`, ...
    pub zone: String,
    /// Thousandths of a degree Celsius.
    pub milli_celsius: i64,
}

/// One cooling device of the kernel: above 0, it is holding the device back or blowing air.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cooling {
    /// The device's type: `thermal-cpufreq-0`, `pwm-fan`, ...
    pub device: String,
    /// Present step.
    pub step: u64,
}

/// Battery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Battery {
    /// Charge in percent.
    pub percent: Option<u32>,
    /// Charging, discharging, full, ...
    pub status: Option<String>,
    /// Where its power comes from: `AC`, `USB`, `wireless`, `dock`, `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugged: Option<String>,
    /// Thousandths of a degree Celsius.
    pub milli_celsius: Option<i64>,
}

/// What does change, read outside timed sections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceState {
    /// Frequency and governor per policy.
    pub frequencies: Vec<FrequencyPolicy>,
    /// Temperatures.
    pub thermal: Vec<ThermalZone>,
    /// Raw throttle flags where the platform has them (Pi `get_throttled`).
    pub throttled: Option<u64>,
    /// Steps of the kernel's cooling devices.
    #[serde(default)]
    pub cooling: Vec<Cooling>,
    /// Android's thermal status: 0 none to 6 shutdown.
    #[serde(default)]
    pub thermal_status: Option<u32>,
    /// Battery, where there is one.
    pub battery: Option<Battery>,
    /// One-minute load average in thousandths.
    pub load1_milli: Option<u64>,
    /// `/proc/pressure/cpu` some avg10 in hundredths of a percent.
    pub cpu_pressure_centi_percent: Option<u64>,
    /// Cores this process may use.
    pub allowed_cores: Vec<u32>,
    /// Memory that can be had without swapping.
    pub memory_available_bytes: Option<u64>,
    /// Whether a phone is awake, and what it does to save power, in words: `awake`, `dozing, idle mode`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wakefulness: Option<String>,
    /// Android's fixed-performance mode, where it was asked for: `on`, or why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_performance: Option<String>,
}
