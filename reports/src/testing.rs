//! Invented runs for tests: plan, journal and outputs as a harness would leave them, from a seed, so
//! that every test of stores, verdicts and renderers starts from the same ground. Measures nothing; no
//! number here was ever seen on a device.

use crate::record::{
    CasePlan, Contrast, ContrastKind, DatasetFacts, DevicePlan, Entry, Labels, Measuring, Plan, Purpose,
    RECORD_SCHEMA, RunRecord, Subject, SuiteFacts, Task,
};
use crate::store::RunWriter;
use protocol::{
    AgentInfo, BackendProof, Core, Counts, DType, DeviceInfo, DeviceState, Event, Fallback, Format,
    FrequencyPolicy, MemoryPhase, MemoryReading, ModelFacts, Moment, NodeProfile, OpCount, Outcome,
    PeakMethod, PerformanceRules, PingPong, Precision, RuntimeInfo, SamplePhase, Samples, Sha256Hex,
    TensorInfo, ThermalZone, UnitId, WarmUp, WeightBytes,
};
use stats::Rng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A case to invent.
#[derive(Clone)]
pub(crate) struct FakeCase {
    pub(crate) variant: String,
    pub(crate) format: Format,
    pub(crate) precision: Precision,
    pub(crate) latency_ns: f64,
    pub(crate) bytes: u64,
    /// Standard deviation of what is added to the logits of the reference.
    pub(crate) output_noise: f64,
}

/// What to invent.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub(crate) seed: u64,
    pub(crate) cases: Vec<FakeCase>,
    pub(crate) units: u32,
    pub(crate) blocks: u32,
    pub(crate) samples_per_burst: u32,
    pub(crate) examples: usize,
    pub(crate) classes: usize,
}

/// A whole run: what lies in its directory.
pub(crate) struct FakeRun {
    pub(crate) plan: Plan,
    pub(crate) entries: Vec<Entry>,
    pub(crate) outputs: BTreeMap<Sha256Hex, Vec<u8>>,
}

impl Recipe {
    /// The eight variants of the vision suite, ten units, 500 examples.
    pub(crate) fn vision() -> Self {
        use Format::{Onnx, Tflite};
        use Precision::{DynamicInt8, Fp16, Fp32, Int8};
        let case = |variant: &str, format, precision, latency_ns, bytes, output_noise| FakeCase {
            variant: variant.to_owned(),
            format,
            precision,
            latency_ns,
            bytes,
            output_noise,
        };
        let cases = vec![
            case("fashion@tflite-fp32", Tflite, Fp32, 231_000.0, 101_716, 0.0),
            case("fashion@tflite-fp16", Tflite, Fp16, 232_000.0, 57_244, 0.002),
            case("fashion@tflite-dynint8", Tflite, DynamicInt8, 247_000.0, 41_032, 0.12),
            case("fashion@tflite-int8", Tflite, Int8, 118_000.0, 45_360, 0.35),
            case("fashion@onnx-fp32", Onnx, Fp32, 231_600.0, 98_310, 1e-6),
            case("fashion@onnx-fp16", Onnx, Fp16, 233_000.0, 53_902, 0.002),
            case("fashion@onnx-dynint8", Onnx, DynamicInt8, 268_000.0, 39_877, 0.14),
            case("fashion@onnx-int8", Onnx, Int8, 131_000.0, 61_280, 0.55),
        ];
        let (units, blocks, samples_per_burst) = (10, 4, 12);
        Self { seed: 7, cases, units, blocks, samples_per_burst, examples: 500, classes: 10 }
    }

    /// As [`Recipe::vision`] with so few samples that a test over it takes milliseconds.
    pub(crate) fn small() -> Self {
        Self { units: 6, blocks: 2, samples_per_burst: 6, examples: 60, ..Self::vision() }
    }

    /// So many variants that a report must leave some out, with hardly any samples.
    pub(crate) fn many(cases: usize) -> Self {
        let of = Self::vision().cases;
        let case = |i: usize| {
            let base = &of[i % of.len()];
            FakeCase { variant: format!("{}-{i}", base.variant), ..base.clone() }
        };
        let cases = (0..cases).map(case).collect();
        Self { cases, units: 2, blocks: 1, samples_per_burst: 2, examples: 40, ..Self::vision() }
    }

    /// Invents the run.
    pub(crate) fn run(&self) -> FakeRun {
        let mut run = FakeRun { plan: self.plan(), entries: vec![device_entry()], outputs: BTreeMap::new() };
        for (case, fake) in self.cases.iter().enumerate() {
            run.entries.push(Entry::Inspected { case, facts: facts(fake) });
        }
        let mut rng = Rng::new(self.seed);
        for unit in 0..self.units {
            self.performance_unit(&mut run, unit, &mut rng);
        }
        self.accuracy_unit(&mut run, self.units, &mut rng);
        self.profile_unit(&mut run, self.units + 1, &mut rng);
        let reason = "all units measured".to_owned();
        run.entries.push(Entry::Finished { at: "2026-03-05T10:04:05Z".into(), reason });
        run
    }

    fn plan(&self) -> Plan {
        let mut rng = Rng::new(self.seed ^ 0xD5);
        let labels = Labels::Classes((0..self.examples).map(|_| rng.below(self.classes) as u32).collect());
        let hash = |text: &str| Sha256Hex::of_bytes(text.as_bytes());
        let case = |fake: &FakeCase| CasePlan {
            variant: fake.variant.parse().expect("a variant id"),
            runtime: "builtin/cpu".parse().expect("a runtime id"),
            device: 0,
            threads: 1,
            model_path: format!("suites/vision/{}", fake.variant.replace('@', "/")),
            model_sha256: hash(&fake.variant),
            model_bytes: fake.bytes,
            slowdown_permille: None,
            library: None,
            options: BTreeMap::new(),
        };
        Plan {
            schema: RECORD_SCHEMA,
            run: "2026-03-05T100000Z-7f3a".into(),
            created: "2026-03-05T10:00:00Z".into(),
            version: "0.1.0".into(),
            command: ["bench", "compare", "--suite", "vision", "--seed", "7"].map(String::from).to_vec(),
            seed: self.seed,
            subject: Subject::Suite { at: "vision".into() },
            suite: SuiteFacts {
                name: "vision".into(),
                title: "Clothes in 28×28 grey pixels".into(),
                sha256: hash("vision"),
                task: Task::CLASSIFICATION,
                margin: 0.03,
                margins: BTreeMap::new(),
                accuracy_margin: 0.01,
                max_units: 40,
                precision: None,
            },
            dataset: DatasetFacts {
                name: "fashion-mnist-test-500".into(),
                source: "Fashion-MNIST test set, MIT".into(),
                sha256: vec![hash("data")],
                examples: self.examples as u64,
                labels,
                classes: (0..self.classes).map(|c| format!("class {c}")).collect(),
                names: (0..self.examples).map(|i| format!("test/{i:05}")).collect(),
                groups: Vec::new(),
                pictures: None,
            },
            devices: vec![DevicePlan::new("local", "local")],
            cases: self.cases.iter().map(case).collect(),
            contrasts: self.contrasts(),
            measuring: self.measuring(),
            canaries: None,
        }
    }

    fn measuring(&self) -> Measuring {
        let warm_up = WarmUp { min_iterations: 10, min_ms: 100, max_ms: 2000, agree_permille: 20 };
        Measuring {
            performance: PerformanceRules {
                example: 0,
                warm_up,
                min_iterations: 50,
                min_ms: 500,
                max_ms: 5000,
            },
            ping_pong: PingPong { burst_min_iterations: 5, burst_min_ms: 20 },
            groups: vec![(0..self.cases.len()).collect()],
            schedules: Vec::new(),
            performance_deadline_ms: 60_000,
            accuracy_deadline_ms: 60_000,
            time_budget_ms: None,
            profiles: false,
            costs_only: false,
        }
    }

    /// Every case against the first; ONNX against TFLite at equal precision.
    fn contrasts(&self) -> Vec<Contrast> {
        let mut contrasts: Vec<_> = (1..self.cases.len())
            .map(|candidate| Contrast { kind: ContrastKind::Reference, candidate, reference: 0 })
            .collect();
        for (candidate, onnx) in self.cases.iter().enumerate().filter(|(_, c)| c.format == Format::Onnx) {
            let twin = |c: &FakeCase| c.format == Format::Tflite && c.precision == onnx.precision;
            if let Some(reference) = self.cases.iter().position(twin) {
                contrasts.push(Contrast { kind: ContrastKind::Format, candidate, reference });
            }
        }
        contrasts
    }

    fn performance_unit(&self, run: &mut FakeRun, unit: u32, rng: &mut Rng) {
        let mut events = vec![state_event(Moment::Before, unit, rng)];
        let drift = 1.0 + 0.004 * f64::from(unit);
        let process: Vec<f64> = self.cases.iter().map(|_| 1.0 + 0.006 * rng.normal()).collect();
        for (trial, fake) in self.cases.iter().enumerate() {
            let trial = trial as u32;
            events.push(Event::TrialStarted { trial, pid: 4000 + trial });
            events.push(memory_event(trial, MemoryPhase::Bare, 2_400_000, rng));
            events.push(memory_event(trial, MemoryPhase::RuntimeLoaded, 2_600_000, rng));
            events.push(loaded_event(trial, fake, &run.plan, rng));
            events.push(memory_event(trial, MemoryPhase::ModelLoaded, 3_000_000 + 2 * fake.bytes, rng));
            let wall_ns = (fake.latency_ns * (2.2 + 0.2 * rng.normal().abs())) as u64;
            events.push(Event::FirstInference { trial, wall_ns });
            events.push(memory_event(trial, MemoryPhase::FirstInference, 3_400_000 + 2 * fake.bytes, rng));
            let samples =
                self.burst(fake, drift * process[trial as usize] * 1.02, SamplePhase::WarmUp, 0, 0, rng);
            let wall_ns = samples.wall_ns.iter().sum();
            events.push(Event::Samples { trial, samples });
            let iterations = u64::from(self.samples_per_burst);
            events.push(Event::WarmedUp { trial, iterations, wall_ns, batch: 1, settled: true });
        }
        for block in 0..self.blocks {
            for burst in 0..2 {
                for (trial, fake) in self.cases.iter().enumerate() {
                    let speed = drift * process[trial];
                    let mut samples = self.burst(fake, speed, SamplePhase::Steady, block, burst, rng);
                    let switch = Samples {
                        phase: SamplePhase::Switch,
                        wall_ns: vec![samples.wall_ns[0] * 2],
                        cpu_ns: vec![samples.cpu_ns[0] * 2],
                        ..samples.clone()
                    };
                    samples.start_ns += switch.wall_ns[0];
                    events.push(Event::Samples { trial: trial as u32, samples: switch });
                    events.push(Event::Samples { trial: trial as u32, samples });
                }
            }
        }
        if unit == 2 {
            events.push(Event::BlockDropped { block: 1, reason: "cpu frequency changed by 9 %".into() });
        }
        for (trial, fake) in self.cases.iter().enumerate() {
            let trial = trial as u32;
            events.push(memory_event(trial, MemoryPhase::Steady, 3_400_000 + 2 * fake.bytes, rng));
            events.push(Event::TrialFinished { trial, outcome: Outcome::Ok });
        }
        events.push(state_event(Moment::After, unit, rng));
        let cases = (0..self.cases.len()).collect();
        run.push_unit(unit, Purpose::Performance, cases, events);
    }

    fn burst(
        &self,
        fake: &FakeCase,
        speed: f64,
        phase: SamplePhase,
        block: u32,
        burst: u32,
        rng: &mut Rng,
    ) -> Samples {
        let wall = |rng: &mut Rng| {
            let tail = if rng.below(40) == 0 { 0.4 * rng.uniform() } else { 0.0 };
            (fake.latency_ns * speed * (1.0 + 0.012 * rng.normal().abs() + tail)) as u64
        };
        let wall_ns: Vec<u64> = (0..self.samples_per_burst).map(|_| wall(rng)).collect();
        let cpu_ns = wall_ns.iter().map(|ns| ns - ns / 500).collect();
        let start_ns = 1_000_000_000 + u64::from(block) * 40_000_000 + u64::from(burst) * 20_000_000;
        Samples {
            phase,
            block,
            burst,
            start_ns,
            batch: 1,
            wall_ns,
            cpu_ns,
            involuntary_switches: 0,
            core: Some(0),
            khz: None,
        }
    }

    fn accuracy_unit(&self, run: &mut FakeRun, unit: u32, rng: &mut Rng) {
        let mut events = vec![state_event(Moment::Before, unit, rng)];
        let logits = self.reference_logits(run.plan.dataset.labels.classes(), rng);
        for (trial, fake) in self.cases.iter().enumerate() {
            let trial = trial as u32;
            let values: Vec<f32> =
                logits.iter().map(|v| (v + fake.output_noise * rng.normal()) as f32).collect();
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let sha256 = Sha256Hex::of_bytes(&bytes);
            let digest = |example: &[u8]| Sha256Hex::of_bytes(example).as_str()[..16].to_owned();
            let digests = bytes.chunks(4 * self.classes).map(digest).collect();
            events.push(Event::TrialStarted { trial, pid: 5000 + trial });
            events.push(loaded_event(trial, fake, &run.plan, rng));
            events.push(Event::OutputDigests { trial, first: 0, digests });
            events.push(Event::Outputs {
                trial,
                path: "outputs.bin".into(),
                sha256: sha256.clone(),
                examples: self.examples as u64,
                elements: vec![self.classes as u64],
            });
            events.push(Event::TrialFinished { trial, outcome: Outcome::Ok });
            run.outputs.insert(sha256, bytes);
        }
        events.push(state_event(Moment::After, unit, rng));
        run.push_unit(unit, Purpose::Accuracy, (0..self.cases.len()).collect(), events);
    }

    /// About nine of ten right, with some close calls.
    fn reference_logits(&self, labels: &[u32], rng: &mut Rng) -> Vec<f64> {
        let mut logits = Vec::with_capacity(labels.len() * self.classes);
        for label in labels {
            for class in 0..self.classes {
                let lift = if class == *label as usize { 4.0 } else { 0.0 };
                logits.push(lift + 1.5 * rng.normal());
            }
        }
        logits
    }

    fn profile_unit(&self, run: &mut FakeRun, unit: u32, rng: &mut Rng) {
        let mut events = Vec::new();
        for (trial, fake) in self.cases.iter().enumerate() {
            let trial = trial as u32;
            events.push(Event::TrialStarted { trial, pid: 6000 + trial });
            events.push(loaded_event(trial, fake, &run.plan, rng));
            let node = |(i, (op, share)): (usize, &(&str, f64))| NodeProfile {
                node: format!("fashion/block{i}/{}", op.to_lowercase()),
                op: (*op).to_owned(),
                unit: if *op == "SOFTMAX" { "cpu" } else { "accelerator" }.to_owned(),
                wall_ns: (0..5).map(|k| (fake.latency_ns * share) as u64 + k).collect(),
            };
            events.push(Event::Profile { trial, nodes: OPS.iter().enumerate().map(node).collect() });
            events.push(Event::TrialFinished { trial, outcome: Outcome::Ok });
        }
        run.push_unit(unit, Purpose::Profile, (0..self.cases.len()).collect(), events);
    }
}

const OPS: [(&str, f64); 7] = [
    ("CONV_2D", 0.31),
    ("DEPTHWISE_CONV_2D", 0.24),
    ("CONV_2D", 0.18),
    ("DEPTHWISE_CONV_2D", 0.13),
    ("MEAN", 0.06),
    ("FULLY_CONNECTED", 0.05),
    ("SOFTMAX", 0.03),
];

impl FakeRun {
    /// Adds a whole unit: start, events, done with the right counts.
    pub(crate) fn push_unit(&mut self, unit: u32, purpose: Purpose, cases: Vec<usize>, events: Vec<Event>) {
        let (unit, attempt, seed) = (UnitId(unit), 0, 100 + u64::from(unit));
        let at = format!("2026-03-05T10:00:{:02}Z", unit.0 % 60);
        let iterations = None;
        let start = Entry::UnitStarted { unit, attempt, device: 0, purpose, seed, cases, iterations, at };
        self.entries.push(start);
        let mut counts = Counts::default();
        for (seq, event) in (0..).zip(events) {
            counts.events += 1;
            counts.trials += u32::from(matches!(event, Event::TrialFinished { .. }));
            if let Event::Samples { samples, .. } = &event {
                counts.samples += samples.wall_ns.len() as u64;
            }
            self.entries.push(Entry::Event { unit, attempt, seq, event });
        }
        self.entries.push(Entry::UnitDone { unit, attempt, counts });
    }

    /// Writes it below `root` as a harness would, and returns its directory.
    pub(crate) fn write(&self, root: &Path) -> PathBuf {
        let mut writer = RunWriter::create(root, &self.plan).unwrap();
        for (sha256, bytes) in &self.outputs {
            writer.store_outputs(sha256, &mut &bytes[..]).unwrap();
        }
        for entry in &self.entries {
            writer.append(entry).unwrap();
        }
        writer.dir().to_owned()
    }

    /// The record as read back from a directory.
    pub(crate) fn record(&self) -> RunRecord {
        let root = tempfile::tempdir().unwrap();
        crate::store::load(&self.write(root.path())).unwrap()
    }
}

fn device_entry() -> Entry {
    let info = DeviceInfo {
        hostname: "bench-host".into(),
        cpu: "Invented CPU @ 2.00GHz".into(),
        os: "Debian GNU/Linux 13".into(),
        kernel: "6.12.0".into(),
        arch: "x86_64".into(),
        features: ["avx2", "fma", "avx512f", "avx512vnni"].map(String::from).to_vec(),
        cores: (0..2).map(|id| Core { id, max_khz: None }).collect(),
        memory_bytes: 8 << 30,
        page_bytes: 4096,
        ..DeviceInfo::default()
    };
    let runtime = RuntimeInfo {
        runtime: "builtin".into(),
        version: "0.1.0".into(),
        backends: vec!["cpu".into()],
        formats: Vec::new(),
        library: None,
        pretends: false,
    };
    let agent = AgentInfo { version: "0.1.0".into(), sha256: Sha256Hex::of_bytes(b"agent"), pid: 900 };
    Entry::Device { device: 0, agent, info, runtimes: vec![runtime] }
}

fn tensor(name: &str, shape: &[u64], dtype: DType) -> TensorInfo {
    let shape = shape.iter().copied().map(Some).collect();
    TensorInfo { name: name.into(), dtype, shape, quantization: None }
}

fn facts(fake: &FakeCase) -> ModelFacts {
    let (dtype, size) = match fake.precision {
        Precision::Fp16 => (DType::F16, 2),
        Precision::Int8 | Precision::DynamicInt8 => (DType::I8, 1),
        _ => (DType::F32, 4),
    };
    let op = |op: &str, count| OpCount { op: op.into(), count };
    ModelFacts {
        format: fake.format,
        producer: "invented".into(),
        file_bytes: fake.bytes,
        precision: fake.precision,
        parameters: 23_000,
        weights: vec![WeightBytes { dtype, bytes: 23_000 * size }],
        inputs: vec![tensor("image", &[1, 28, 28, 1], DType::F32)],
        outputs: vec![tensor("logits", &[1, 10], DType::F32)],
        ops: vec![op("CONV_2D", 5), op("DEPTHWISE_CONV_2D", 4), op("FULLY_CONNECTED", 1)],
        observed: None,
    }
}

fn loaded_event(trial: u32, fake: &FakeCase, plan: &Plan, rng: &mut Rng) -> Event {
    let fallbacks = match fake.precision {
        Precision::Int8 => vec![Fallback {
            node: "fashion/softmax".into(),
            op: "SOFTMAX".into(),
            reason: "no int8 kernel: computed in f32".into(),
        }],
        _ => Vec::new(),
    };
    let proof = BackendProof {
        runtime_version: "0.1.0".into(),
        kernels: "avx2+fma".into(),
        nodes_total: 11,
        nodes_on_backend: 11,
        partitions: 1,
        fallbacks,
        units: Vec::new(),
    };
    Event::Loaded {
        trial,
        model_sha256: Sha256Hex::of_bytes(fake.variant.as_bytes()),
        input_sha256: plan.dataset.sha256.clone(),
        load_ns: 90_000 + rng.below(9_000) as u64,
        compile_ns: 1_400_000 + 3 * fake.bytes + rng.below(90_000) as u64,
        inputs: vec![tensor("image", &[1, 28, 28, 1], DType::F32)],
        outputs: vec![tensor("logits", &[1, 10], DType::F32)],
        proof,
    }
}

fn memory_event(trial: u32, phase: MemoryPhase, peak: u64, rng: &mut Rng) -> Event {
    let peak = peak + 4096 * rng.below(12) as u64;
    let reading = MemoryReading {
        phase,
        peak_bytes: Some(peak),
        peak_method: Some(PeakMethod::VmHwmReset),
        rss_anon_bytes: Some(peak / 3),
        rss_file_bytes: Some(peak / 2),
        pss_bytes: Some(peak / 4 * 3),
        private_dirty_bytes: Some(peak / 3),
        swap_bytes: Some(0),
        arena_peak_bytes: None,
    };
    Event::Memory { trial, reading }
}

fn state_event(moment: Moment, unit: u32, rng: &mut Rng) -> Event {
    let policy = FrequencyPolicy {
        policy: "policy0".into(),
        khz: Some(2_000_000 - 1000 * rng.below(20) as u64),
        governor: Some("performance".into()),
    };
    let zone = ThermalZone {
        zone: "cpu-thermal".into(),
        milli_celsius: 41_000 + 400 * i64::from(unit) + rng.below(500) as i64,
    };
    let state = DeviceState {
        frequencies: vec![policy],
        thermal: vec![zone],
        load1_milli: Some(900 + rng.below(400) as u64),
        cpu_pressure_centi_percent: Some(rng.below(120) as u64),
        allowed_cores: vec![0, 1],
        memory_available_bytes: Some(6 << 30),
        ..DeviceState::default()
    };
    Event::DeviceState { moment, state }
}
