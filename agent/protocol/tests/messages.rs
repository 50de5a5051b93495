//! Every message survives the wire, and none of its truncations does.

use protocol::{
    AgentInfo, AgentMessage, Artifact, BackendProof, Battery, CoolDown, Cooling, Core, Counts, DType,
    DeviceInfo, DeviceState, Event, FailKind, Fallback, Format, FrameError, FrequencyPolicy, HostMessage,
    Inputs, LayerStats, Library, LineReader, MAX_LAYER_NAME, MAX_LAYERS, MAX_LINE_BYTES, MAX_OBSERVED,
    MemoryPhase, MemoryReading, Mode, ModelFacts, Moment, NodeProfile, Observation, Observed, OpCount,
    Outcome, PROTOCOL_VERSION, PeakMethod, PerformanceRules, PingPong, Precision, Quantization, RuntimeInfo,
    SamplePhase, Samples, Schedule, Sha256Hex, TensorFile, TensorInfo, ThermalZone, TrialSpec, UnitId,
    UnitShare, UnitSpec, WarmUp, WeightBytes, encode,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

fn hash(text: &str) -> Sha256Hex {
    Sha256Hex::of_bytes(text.as_bytes())
}

fn artifact(name: &str) -> Artifact {
    Artifact { path: format!("/data/local/tmp/bench/{name} ü").into(), sha256: hash(name) }
}

fn tensor() -> TensorInfo {
    let quantization =
        Quantization { scale: vec![0.1, f32::MIN_POSITIVE], zero_point: vec![-128, 3], axis: 1 };
    let shape = vec![None, Some(2)];
    TensorInfo { name: "x\n\"y\"".into(), dtype: DType::I8, shape, quantization: Some(quantization) }
}

fn trial(mode: Mode, inputs: Inputs) -> TrialSpec {
    let runtime = "litert/xnnpack".parse().expect("a good name");
    let model = artifact("m");
    let library = Library { version: "2.3.0".into(), file: artifact("l"), with: vec![artifact("w")] };
    let (library, options) = (Some(library), BTreeMap::from([("kernel".into(), "builtin".into())]));
    TrialSpec {
        runtime,
        library,
        options,
        model,
        threads: 4,
        inputs,
        mode,
        deadline_ms: 60_000,
        slowdown_permille: None,
    }
}

fn units() -> Vec<UnitSpec> {
    let warm_up = WarmUp { min_iterations: 10, min_ms: 500, max_ms: 5000, agree_permille: 20 };
    let rules = PerformanceRules { example: 3, warm_up, min_iterations: 50, min_ms: 1000, max_ms: 9000 };
    let files = vec![TensorFile { file: artifact("x"), dtype: DType::U8, shape: vec![4, 28, 28] }];
    let random = Inputs::Random { seed: u64::MAX, examples: 9 };
    let turns = Schedule::PingPong(PingPong { burst_min_iterations: 8, burst_min_ms: 30 });
    let unit = |schedule, trials| UnitSpec {
        unit: UnitId(u32::MAX),
        seed: u64::MAX,
        schedule,
        cool_down: None,
        trials,
    };
    let wait = CoolDown { below_milli_celsius: 45_000, wait_ms: 60_000, zone: None };
    let named = CoolDown { zone: Some("cpu-thermal".into()), ..wait.clone() };
    let slowed = TrialSpec {
        slowdown_permille: Some(30),
        ..trial(Mode::Performance(rules.clone()), Inputs::Files { files: files.clone() })
    };
    let once = vec![trial(Mode::Accuracy, random.clone()), trial(Mode::Profile { iterations: 7 }, random)];
    vec![
        UnitSpec {
            cool_down: Some(wait),
            ..unit(turns, vec![trial(Mode::Performance(rules), Inputs::Files { files }), slowed])
        },
        UnitSpec { cool_down: Some(named), ..unit(Schedule::Alone, once.clone()) },
        unit(Schedule::Alone, once),
    ]
}

fn observation() -> Observation {
    Observation { inputs: Inputs::Random { seed: 1, examples: 9 }, examples: 3 }
}

fn host_messages() -> Vec<HostMessage> {
    let mut all = vec![
        HostMessage::Hello { protocol: PROTOCOL_VERSION },
        HostMessage::Inspect { model: artifact("m"), run: None },
        HostMessage::Inspect { model: artifact("m"), run: Some(observation()) },
        HostMessage::Cancel,
        HostMessage::Ping,
        HostMessage::Bye,
    ];
    all.extend(units().into_iter().map(|unit| HostMessage::Run { unit }));
    all
}

fn device() -> DeviceInfo {
    DeviceInfo {
        hostname: "pi".into(),
        model: Some("Raspberry Pi 5".into()),
        soc: None,
        cpu: "4x Cortex-A76".into(),
        os: "Debian".into(),
        abi: Some("arm64-v8a".into()),
        api_level: Some(34),
        build: None,
        kernel: "6.6".into(),
        arch: "aarch64".into(),
        features: vec!["asimd".into()],
        cores: vec![Core { id: 0, max_khz: Some(2_400_000) }, Core { id: 1, max_khz: None }],
        thermal_zones: vec!["cpu-thermal".into()],
        memory_bytes: 8 << 30,
        page_bytes: 16_384,
        emulated: false,
    }
}

fn state() -> DeviceState {
    DeviceState {
        frequencies: vec![FrequencyPolicy { policy: "policy0".into(), khz: Some(1), governor: None }],
        thermal: vec![ThermalZone { zone: "cpu".into(), milli_celsius: -5 }],
        throttled: Some(0x50005),
        cooling: vec![Cooling { device: "fan".into(), step: 2 }],
        thermal_status: Some(1),
        battery: Some(Battery {
            percent: Some(50),
            status: None,
            plugged: Some("USB".into()),
            milli_celsius: Some(31_000),
        }),
        load1_milli: Some(10),
        cpu_pressure_centi_percent: None,
        allowed_cores: vec![0, 3],
        memory_available_bytes: Some(1),
        wakefulness: Some("awake".into()),
        fixed_performance: None,
    }
}

fn loaded() -> Event {
    let proof = BackendProof {
        runtime_version: "2.3.0".into(),
        kernels: "avx2".into(),
        nodes_total: 9,
        nodes_on_backend: 8,
        partitions: 2,
        fallbacks: vec![Fallback { node: "n".into(), op: "Op".into(), reason: "why".into() }],
        units: vec![UnitShare { unit: "XNNPACK".into(), nodes: 8 }],
    };
    Event::Loaded {
        trial: 0,
        model_sha256: hash("m"),
        input_sha256: vec![hash("x")],
        load_ns: 1,
        compile_ns: 2,
        inputs: vec![tensor()],
        outputs: vec![],
        proof,
    }
}

fn samples() -> Samples {
    Samples {
        phase: SamplePhase::Switch,
        block: 1,
        burst: 2,
        start_ns: u64::MAX,
        batch: 50,
        wall_ns: vec![0, u64::MAX],
        cpu_ns: vec![1, 2],
        involuntary_switches: 3,
        core: Some(1),
        khz: None,
    }
}

fn events() -> Vec<Event> {
    let reading = MemoryReading {
        phase: MemoryPhase::ModelLoaded,
        peak_bytes: Some(1),
        peak_method: Some(PeakMethod::VmHwmReset),
        rss_anon_bytes: None,
        rss_file_bytes: Some(2),
        pss_bytes: None,
        private_dirty_bytes: Some(3),
        swap_bytes: Some(0),
        arena_peak_bytes: Some(4),
    };
    let node = NodeProfile { node: "n".into(), op: "Op".into(), unit: "CPU".into(), wall_ns: vec![1, 2] };
    let mut all = vec![
        Event::DeviceState { moment: Moment::Before, state: state() },
        Event::DeviceState { moment: Moment::During, state: DeviceState::default() },
        Event::CooledDown { waited_ms: 1, zone: Some("cpu".into()), milli_celsius: Some(-5), reached: true },
        Event::CooledDown { waited_ms: 0, zone: None, milli_celsius: None, reached: false },
        Event::TrialStarted { trial: 0, pid: 1 },
        loaded(),
        Event::FirstInference { trial: 0, wall_ns: 1 },
        Event::WarmedUp { trial: 0, iterations: 1, wall_ns: 2, batch: 3, settled: false },
        Event::Memory { trial: 0, reading },
        Event::Samples { trial: 0, samples: samples() },
        Event::BlockDropped { block: 3, reason: "hot".into() },
        Event::OutputDigests { trial: 0, first: 512, digests: vec!["0123456789abcdef".into()] },
        Event::Outputs { trial: 0, path: "/o".into(), sha256: hash("o"), examples: 2, elements: vec![10, 1] },
        Event::Profile { trial: 0, nodes: vec![node] },
        Event::CutShort { trial: 0, reason: "time".into() },
    ];
    let outcomes = [
        Outcome::Ok,
        Outcome::Failed { kind: FailKind::OutputsUnstable, message: "m".into() },
        Outcome::Crashed { signal: 11, why: None },
        Outcome::Crashed { signal: 9, why: Some("w".into()) },
        Outcome::TimedOut,
        Outcome::DeviceLost,
        Outcome::Skipped { reason: "r".into() },
    ];
    all.extend(outcomes.map(|outcome| Event::TrialFinished { trial: 0, outcome }));
    all
}

fn layer(name: &str) -> LayerStats {
    LayerStats {
        name: name.into(),
        op: "QuantizedConv2d.i8".into(),
        dtype: DType::I8,
        shape: vec![1 << 20; 8],
        min: Some(-f64::MIN_POSITIVE),
        max: Some(0.1 + 0.2),
        mean: None,
        stored: Some([i64::MIN, i64::MAX]),
        elements: u64::MAX,
        zeros: u64::MAX,
        saturated: u64::MAX,
        nans: u64::MAX,
        infinite: u64::MAX,
    }
}

fn facts() -> ModelFacts {
    ModelFacts {
        format: Format::Onnx,
        producer: "p".into(),
        file_bytes: 1,
        precision: Precision::DynamicInt8,
        parameters: 2,
        weights: vec![WeightBytes { dtype: DType::BF16, bytes: 4 }],
        inputs: vec![tensor()],
        outputs: vec![tensor()],
        ops: vec![OpCount { op: "Conv".into(), count: 3 }],
        observed: Some(Observed { examples: 2, layers: vec![layer("y")], left_out: 1 }),
    }
}

fn agent_messages() -> Vec<AgentMessage> {
    let runtime = |pretends: bool| RuntimeInfo {
        runtime: "builtin".into(),
        version: "1".into(),
        backends: vec!["cpu".into()],
        formats: vec![Format::Tflite],
        library: pretends.then(|| "libLiteRt.so".into()),
        pretends,
    };
    let mut all = vec![
        AgentMessage::Hello {
            protocol: PROTOCOL_VERSION,
            agent: AgentInfo { version: "0.1.0".into(), sha256: hash("a"), pid: 7 },
            device: device(),
            runtimes: vec![runtime(false), runtime(true)],
        },
        AgentMessage::UnitDone { unit: UnitId(1), counts: Counts { events: 1, trials: 2, samples: 3 } },
        AgentMessage::Inspected { model: facts() },
        AgentMessage::Refused { reason: "r".into(), unit: Some(UnitId(1)) },
        AgentMessage::Refused { reason: "r".into(), unit: None },
        AgentMessage::Heartbeat,
    ];
    let event = |(seq, event)| AgentMessage::Event { unit: UnitId(1), seq, event };
    all.extend((0..).zip(events()).map(event));
    all
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<T>, FrameError> {
    LineReader::new(bytes).next_message()
}

fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(message: &T) {
    let line = encode(message).expect("a message fits a line");
    assert_eq!(read::<T>(&line).expect("it is read back").as_ref(), Some(message));
    for cut in 1..line.len() - 1 {
        let start = &line[..cut];
        assert!(matches!(read::<T>(start), Err(FrameError::Truncated(n)) if n == cut));
        let closed = [start, b"\n"].concat();
        assert!(
            matches!(read::<T>(&closed), Err(FrameError::Malformed { .. })),
            "{cut} bytes of {message:?}"
        );
    }
}

#[test]
fn every_message_survives_the_wire_and_no_truncation_does() {
    host_messages().iter().for_each(survives);
    agent_messages().iter().for_each(survives);
}

/// The tags of messages, or of what they carry.
fn tags<T: Serialize>(all: &[T], path: &[&str]) -> BTreeSet<String> {
    let tag = |message: &T| {
        let value = serde_json::to_value(message).ok()?;
        let found = path.iter().try_fold(&value, |value, key| value.get(key))?;
        Some(found.as_str()?.to_owned())
    };
    all.iter().filter_map(tag).collect()
}

/// What serde says it knows when it is given a tag that it does not.
fn known<T: DeserializeOwned + Debug>(line: &str) -> BTreeSet<String> {
    let text = serde_json::from_str::<T>(line).expect_err("no such tag").to_string();
    let (_, list) = text.split_once("expected one of ").expect("a list");
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A message or event that is added to the protocol without a line above is missed here.
#[test]
fn no_kind_is_left_out() {
    assert_eq!(tags(&host_messages(), &["type"]), known::<HostMessage>("{\"type\":\"?\"}"));
    assert_eq!(tags(&agent_messages(), &["type"]), known::<AgentMessage>("{\"type\":\"?\"}"));
    assert_eq!(tags(&events(), &["event"]), known::<Event>("{\"event\":\"?\"}"));
    assert_eq!(tags(&events(), &["outcome", "outcome"]), known::<Outcome>("{\"outcome\":\"?\"}"));
}

#[test]
fn a_host_may_not_say_more_than_the_agent_knows() {
    for message in host_messages() {
        let mut value = serde_json::to_value(&message).unwrap();
        let fields = value.as_object_mut().unwrap();
        let carries = fields.len() > 1;
        fields.insert("later".into(), 1.into());
        let taken = serde_json::from_value::<HostMessage>(value);
        // A message without fields has nothing that a later version could have changed.
        assert_eq!(taken.is_err(), carries, "{message:?}");
    }
    let mut value = serde_json::to_value(&host_messages()[6]).unwrap();
    value["unit"]["trials"][0]["inputs"]["later"] = 1.into();
    assert!(serde_json::from_value::<HostMessage>(value).is_err());
}

#[test]
fn a_host_takes_what_a_later_agent_adds_to_a_message() {
    for message in agent_messages() {
        let mut value = serde_json::to_value(&message).unwrap();
        value.as_object_mut().unwrap().insert("later".into(), 1.into());
        assert_eq!(serde_json::from_value::<AgentMessage>(value).unwrap(), message);
    }
}

#[test]
fn the_largest_burst_and_digests_fit_a_line() {
    let full = Samples { wall_ns: vec![u64::MAX; 8192], cpu_ns: vec![u64::MAX; 8192], ..samples() };
    let digests = vec!["0123456789abcdef".to_owned(); 512];
    for event in
        [Event::Samples { trial: 0, samples: full }, Event::OutputDigests { trial: 0, first: 0, digests }]
    {
        assert!(encode(&event).unwrap().len() < MAX_LINE_BYTES / 8);
    }
}

#[test]
fn as_many_layers_as_are_told_fit_a_line() {
    // a control character takes most bytes in JSON
    let one = LayerStats { mean: Some(-1.0 / 3.0e-300), ..layer(&"\u{1}".repeat(MAX_LAYER_NAME)) };
    let observed = Observed { examples: 1, layers: vec![one; MAX_LAYERS], left_out: u64::MAX };
    let model = ModelFacts { observed: Some(observed), ..facts() };
    let bytes = encode(&AgentMessage::Inspected { model }).unwrap().len();
    assert!(bytes < MAX_LINE_BYTES - 64 * 1024, "{bytes}");
}

#[test]
fn an_observation_is_bounded() {
    let of = |examples, there_are| {
        let inputs = Inputs::Random { seed: 1, examples: there_are };
        Observation { inputs, examples }.check().map_err(|e| e.to_string())
    };
    assert_eq!(of(9, 9), Ok(()));
    assert_eq!(of(0, 9), Err("run.examples: 1 to 9, not 0".to_owned()));
    assert_eq!(of(10, 9), Err("run.examples: 1 to 9, not 10".to_owned()));
    assert!(of(MAX_OBSERVED + 1, MAX_OBSERVED + 1).is_err());
    assert!(of(1, 0).is_err());
}

#[test]
fn what_is_too_long_is_neither_sent_nor_read() {
    let reason = "x".repeat(MAX_LINE_BYTES);
    let message = AgentMessage::Refused { reason, unit: None };
    assert!(matches!(encode(&message), Err(FrameError::TooLong)));
    let mut line = serde_json::to_vec(&message).unwrap();
    line.push(b'\n');
    assert!(matches!(read::<AgentMessage>(&line), Err(FrameError::TooLong)));
}
