//! Executions of a compiled model: where inputs come from, where outputs go, and what came of it.

use super::client::ffi::ClientMemory;
use super::compilation::{Argument, Ready};
use super::memory::Memory;
use super::{Done, ensure, in_state, lock};
use runtimes::builtin::nnapi::Durations;
use runtimes::builtin::nnapi::codes::result;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Executions that ended well, and those of bursts among them: for tests that must know who ran their model.
static EXECUTIONS: AtomicU64 = AtomicU64::new(0);
static BURSTS: AtomicU64 = AtomicU64::new(0);

/// Executions since the library was loaded, and those of bursts.
pub(crate) fn counts() -> [u64; 2] {
    [&EXECUTIONS, &BURSTS].map(|count| count.load(Ordering::Relaxed))
}

/// Where an input lies or an output goes.
pub(crate) enum Place {
    /// The client's memory.
    Client(ClientMemory),
    /// A part of shared memory.
    Shared { memory: Arc<Memory>, offset: usize, length: usize },
}

impl Place {
    fn length(&self) -> usize {
        match self {
            Self::Client(memory) => memory.length(),
            Self::Shared { length, .. } => *length,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Described,
    Failed,
    Computed,
}

/// An execution.
pub(crate) struct Execution {
    ready: Arc<Ready>,
    inputs: Vec<Option<Place>>,
    outputs: Vec<Option<Place>>,
    state: State,
    reusable: bool,
    padded: bool,
    measured: bool,
    durations: Durations,
}

impl Execution {
    pub(crate) fn new(ready: Arc<Ready>) -> Self {
        let none = |all: &[Argument]| all.iter().map(|_| None).collect();
        Self {
            inputs: none(&ready.inputs),
            outputs: none(&ready.outputs),
            ready,
            state: State::Described,
            reusable: false,
            padded: false,
            measured: false,
            durations: Durations::default(),
        }
    }

    fn open(&self) -> Done {
        in_state(self.state == State::Described)
    }

    /// Sets an input or output. `stated` are the dimensions that the client gives, if it gives any.
    pub(crate) fn set(
        &mut self,
        input: bool,
        index: i32,
        stated: Option<(i32, Vec<u32>)>,
        place: Place,
    ) -> Done {
        in_state(self.open().is_ok() || self.reusable)?;
        let index = usize::try_from(index).map_err(|_| result::BAD_DATA)?;
        let (arguments, places) = match input {
            true => (&self.ready.inputs, &mut self.inputs),
            false => (&self.ready.outputs, &mut self.outputs),
        };
        let argument = arguments.get(index).ok_or(result::BAD_DATA)?;
        if let Some((code, dimensions)) = stated {
            let same = |(a, b): (&u32, &u32)| *a == 0 || a == b;
            ensure(code == argument.code && dimensions.len() == argument.dimensions.len())?;
            ensure(dimensions.iter().zip(&argument.dimensions).all(same))?;
        }
        let length = place.length();
        ensure(length == argument.bytes || (self.padded && length > argument.bytes))?;
        if let Place::Shared { memory, .. } = &place {
            ensure(memory.serves(&self.ready, input, index))?;
        }
        places[index] = Some(place);
        Ok(())
    }

    pub(crate) fn set_reusable(&mut self, reusable: bool) -> Done {
        self.open()?;
        self.reusable = reusable;
        Ok(())
    }

    /// Only before any input or output is set.
    pub(crate) fn set_padded(&mut self, padded: bool) -> Done {
        self.open()?;
        in_state(self.inputs.iter().chain(&self.outputs).all(Option::is_none))?;
        self.padded = padded;
        Ok(())
    }

    pub(crate) fn set_measured(&mut self, measured: bool) -> Done {
        self.open()?;
        ensure(self.ready.one_device)?;
        self.measured = measured;
        Ok(())
    }

    /// A deadline is accepted and not kept: an execution that was begun is finished.
    pub(crate) fn time_out(&self) -> Done {
        self.open()?;
        ensure(self.ready.one_device)
    }

    pub(crate) fn is_open(&self) -> Done {
        self.open()
    }

    /// The compiled model it belongs to.
    pub(crate) fn ready(&self) -> &Arc<Ready> {
        &self.ready
    }

    /// Runs the model.
    pub(crate) fn compute(&mut self, burst: bool) -> Done {
        in_state(self.state == State::Described || (self.reusable && self.state == State::Computed))?;
        let given = self.inputs.iter().chain(&self.outputs).all(Option::is_some);
        ensure(given)?;
        // Whatever comes of it, it was run.
        self.state = State::Failed;
        self.run()?;
        self.state = State::Computed;
        EXECUTIONS.fetch_add(1, Ordering::Relaxed);
        BURSTS.fetch_add(u64::from(burst), Ordering::Relaxed);
        Ok(())
    }

    fn run(&mut self) -> Done {
        let running = &mut *lock(&self.ready.running);
        let places = self.inputs.iter().flatten().zip(&self.ready.inputs);
        for ((place, argument), bytes) in places.zip(&mut running.inputs) {
            bytes.clear();
            match place {
                Place::Client(memory) => memory.read(argument.bytes, bytes),
                Place::Shared { memory, offset, .. } => memory.read(*offset, argument.bytes, bytes)?,
            }
        }
        let inputs: Vec<&[u8]> = running.inputs.iter().map(Vec::as_slice).collect();
        let durations = running.compiled.run(&inputs, &mut running.outputs);
        self.durations = durations.map_err(|_| result::OP_FAILED)?;
        for (place, bytes) in self.outputs.iter().flatten().zip(&running.outputs) {
            match place {
                Place::Client(memory) => memory.write(bytes),
                Place::Shared { memory, offset, .. } => memory.write(*offset, bytes)?,
            }
        }
        Ok(())
    }

    /// Dimensions of an output, once it was computed.
    pub(crate) fn output_dimensions(&self, index: i32) -> Done<&[u32]> {
        in_state(self.state != State::Described)?;
        let argument = usize::try_from(index).ok().and_then(|i| self.ready.outputs.get(i));
        Ok(&argument.ok_or(result::BAD_DATA)?.dimensions)
    }

    /// Nanoseconds by `DurationCode`; the greatest number where nothing is known.
    pub(crate) fn duration(&self, code: i32) -> Done<u64> {
        in_state(self.state == State::Computed && self.measured)?;
        let duration = match code {
            0 | 2 => self.durations.hardware_ns,
            1 | 3 => self.durations.driver_ns,
            _ => return Err(result::BAD_DATA),
        };
        Ok(duration.unwrap_or(u64::MAX))
    }
}

/// Executions that follow each other.
pub(crate) struct Burst {
    ready: Arc<Ready>,
    busy: Mutex<()>,
}

impl Burst {
    pub(crate) fn new(ready: Arc<Ready>) -> Self {
        Self { ready, busy: Mutex::default() }
    }

    /// Runs an execution of the same compilation; one at a time.
    pub(crate) fn compute(&self, execution: &mut Execution) -> Done {
        ensure(Arc::ptr_eq(&self.ready, execution.ready()))?;
        match self.busy.try_lock() {
            Err(std::sync::TryLockError::WouldBlock) => Err(result::BAD_STATE),
            Ok(_) | Err(std::sync::TryLockError::Poisoned(_)) => execution.compute(true),
        }
    }
}

/// What came of an execution, or a fence that somebody else signals.
pub(crate) enum Event {
    /// Ended so.
    Ended(Done),
    /// Ends when the descriptor can be read.
    Fence(OwnedFd),
}

impl Event {
    /// Waits until it has ended.
    pub(crate) fn wait(&self) -> Done {
        match self {
            Self::Ended(done) => *done,
            Self::Fence(fd) => {
                let mut fds = [rustix::event::PollFd::new(fd, rustix::event::PollFlags::IN)];
                loop {
                    match rustix::event::poll(&mut fds, None) {
                        Err(rustix::io::Errno::INTR) => {}
                        Err(_) => return Err(result::OP_FAILED),
                        Ok(_) => break,
                    }
                }
                match fds[0].revents().contains(rustix::event::PollFlags::IN) {
                    true => Ok(()),
                    false => Err(result::OP_FAILED),
                }
            }
        }
    }
}
