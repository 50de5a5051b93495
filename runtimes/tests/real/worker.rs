//! A process of its own for a library: this test binary again, with a task.

use crate::libraries::library_at;
use protocol::{BackendProof, DType, NodeProfile, TensorInfo};
use runtimes::{CompileOptions, Error, Session};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

/// Name of the variable that carries a task.
const TASK: &str = "BENCH_TEST_TASK";

/// What a process is to do: run models one after the other.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) runtime: String,
    pub(crate) backend: String,
    /// `None`: the runtime needs none.
    pub(crate) library: Option<PathBuf>,
    pub(crate) options: BTreeMap<String, String>,
    /// Invokes to profile; 0: not profiled.
    pub(crate) profile: u32,
    pub(crate) shapes: Option<Vec<Vec<u64>>>,
    pub(crate) models: Vec<(String, PathBuf)>,
}

/// What became of a model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) model: String,
    /// It was refused, and why.
    pub(crate) error: Option<String>,
    /// Before it was compiled.
    pub(crate) open: Vec<TensorInfo>,
    pub(crate) inputs: Vec<TensorInfo>,
    pub(crate) outputs: Vec<TensorInfo>,
    pub(crate) bytes: Vec<Vec<u8>>,
    pub(crate) proof: BackendProof,
    pub(crate) version: Option<String>,
    pub(crate) profile: Vec<NodeProfile>,
    /// How long all of the profile took.
    pub(crate) profile_ns: u64,
}

impl Answer {
    /// Why it was refused.
    pub(crate) fn refusal(&self) -> &str {
        self.error.as_deref().unwrap_or_else(|| panic!("{} was not refused", self.model))
    }
}

/// Does a task in a process of its own. A model at which it dies has that for an answer, and the rest is done by
/// another process.
pub(crate) fn run(task: &Task) -> BTreeMap<String, Answer> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers");
    let mut answers: BTreeMap<String, Answer> = BTreeMap::new();
    let mut left = task.clone();
    while !left.models.is_empty() {
        fs::write(&path, "").unwrap();
        let ran = Command::new(env::current_exe().unwrap())
            .args(["--exact", "worker::does_a_task", "--ignored", "--nocapture", "--test-threads=1"])
            .env(TASK, serde_json::to_string(&(&left, &path)).unwrap())
            .output()
            .unwrap();
        let before = answers.len();
        for line in fs::read_to_string(&path).unwrap().lines() {
            let answer: Answer = serde_json::from_str(line).unwrap();
            answers.insert(answer.model.clone(), answer);
        }
        let done = answers.len() - before;
        if done < left.models.len() {
            let (model, _) = &left.models[done];
            let error = Some(format!("died, {}: {}", ran.status, String::from_utf8_lossy(&ran.stderr)));
            answers.insert(model.clone(), Answer { model: model.clone(), error, ..Answer::default() });
            left.models.drain(..=done);
        } else {
            left.models.clear();
        }
    }
    answers
}

/// The answer for one model.
pub(crate) fn one(task: Task, model: &Path) -> Answer {
    let answers = run(&Task { models: vec![(String::new(), model.to_owned())], ..task });
    answers.into_values().next().unwrap()
}

#[test]
#[ignore = "the other tests start it, with a task, in a process of its own"]
fn does_a_task() {
    let Ok(task) = env::var(TASK) else { return println!("no task in {TASK}") };
    let (task, path): (Task, PathBuf) = serde_json::from_str(&task).unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    for (name, model) in &task.models {
        let mut answer = Answer { model: name.clone(), ..Answer::default() };
        if let Err(error) = answer_for(&task, model, &mut answer) {
            answer.error = Some(error.to_string());
        }
        let line = serde_json::to_string(&answer).unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

fn answer_for(task: &Task, path: &Path, answer: &mut Answer) -> Result<(), Error> {
    let mut options = CompileOptions::new(&task.backend);
    options.options.clone_from(&task.options);
    options.profile = task.profile > 0;
    options.input_shapes.clone_from(&task.shapes);
    let loaded = runtimes::runtime(&task.runtime)?.load(task.library.as_deref().map(library_at).as_ref())?;
    answer.version = loaded.version();
    let model = loaded.open(path)?;
    answer.open = model.inputs()?;
    let mut session = model.compile(&options)?;
    // as in the product, where both are gone before the first invoke
    drop((model, loaded));
    answer.inputs = session.inputs().to_vec();
    answer.outputs = session.outputs().to_vec();
    answer.proof = session.proof().clone();
    for (index, info) in answer.inputs.iter().enumerate() {
        session.set_input(index, &numbers(info, index as u32))?;
    }
    session.invoke()?;
    answer.bytes = outputs(&*session)?;
    misuse(&mut *session);
    if task.profile > 0 {
        let begin = Instant::now();
        let clock = || begin.elapsed().as_nanos() as u64;
        answer.profile = session.profile(task.profile, &clock)?;
        answer.profile_ns = clock();
    }
    Ok(())
}

fn outputs(session: &dyn Session) -> Result<Vec<Vec<u8>>, Error> {
    (0..session.outputs().len()).map(|i| session.output(i).map(<[u8]>::to_vec)).collect()
}

/// What does not fit is refused by every session, and leaves it as it was.
fn misuse(session: &mut dyn Session) {
    let (inputs, outputs) = (session.inputs().len(), session.outputs().len());
    assert!(matches!(session.set_input(inputs, &[]), Err(Error::InputMismatch(_))));
    assert!(matches!(session.set_input(0, &[1; 5]), Err(Error::InputMismatch(_))));
    assert!(matches!(session.output(outputs), Err(Error::InputMismatch(_))));
}

/// Elements of an input that are the same for every runtime: real numbers from 0 to 1, whole ones from 0 to 99.
fn numbers(info: &TensorInfo, seed: u32) -> Vec<u8> {
    let count: u64 = info.shape.iter().map(|d| d.unwrap()).product();
    let mut state = seed.wrapping_add(1);
    let mut bytes = Vec::new();
    for _ in 0..count {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let number = state >> 16;
        match info.dtype {
            DType::F32 => bytes.extend((number as f32 / 65536.0).to_le_bytes()),
            dtype => bytes.extend(&u64::from(number % 100).to_le_bytes()[..dtype.size()]),
        }
    }
    bytes
}
