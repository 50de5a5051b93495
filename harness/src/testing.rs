//! Values that tests of several modules start from.

use protocol::{Labels, PerformanceRules, PingPong, Sha256Hex, Task, WarmUp};
use reports::record::{DatasetFacts, DevicePlan, Measuring, Plan, RECORD_SCHEMA, Subject, SuiteFacts};
use std::collections::BTreeMap;

/// A plan with one device and no cases.
pub(crate) fn plan() -> Plan {
    Plan {
        schema: RECORD_SCHEMA,
        run: "test".to_owned(),
        created: "2026-01-01T00:00:00Z".to_owned(),
        version: "0".to_owned(),
        command: Vec::new(),
        seed: 1,
        subject: Subject::Models { models: Vec::new(), data: None },
        suite: SuiteFacts {
            name: "test".to_owned(),
            title: "test".to_owned(),
            sha256: Sha256Hex::of_bytes(b""),
            task: Task::Agreement {},
            margin: 0.03,
            margins: BTreeMap::new(),
            accuracy_margin: 0.01,
            max_units: 8,
            precision: None,
        },
        dataset: DatasetFacts {
            name: "random".to_owned(),
            source: String::new(),
            sha256: Vec::new(),
            examples: 4,
            labels: Labels::None,
            classes: Vec::new(),
            names: Vec::new(),
            groups: Vec::new(),
            pictures: None,
        },
        devices: vec![DevicePlan::new("fake", "fake")],
        cases: Vec::new(),
        contrasts: Vec::new(),
        measuring: Measuring {
            performance: PerformanceRules {
                example: 0,
                warm_up: WarmUp { min_iterations: 1, min_ms: 500, max_ms: 2000, agree_permille: 20 },
                min_iterations: 5,
                min_ms: 1000,
                max_ms: 20_000,
            },
            ping_pong: PingPong { burst_min_iterations: 5, burst_min_ms: 1 },
            groups: Vec::new(),
            schedules: Vec::new(),
            performance_deadline_ms: 10_000,
            accuracy_deadline_ms: 10_000,
            time_budget_ms: None,
            profiles: false,
            costs_only: false,
        },
        canaries: None,
    }
}
