//! What a step sees while it runs: its operands, its results and its scratch memory, as typed slices of
//! memory that was laid out when the graph was planned.

use super::memory::{self, Buffer, Element};
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// Where an operand, a result or scratch memory lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Bytes of the arena.
    Arena {
        /// First byte, a multiple of [`memory::ALIGN`].
        offset: usize,
        /// Number of bytes.
        len: usize,
    },
    /// A constant, by number.
    Constant(usize),
}

/// The memory of a prepared graph: one arena, the constants, and where each step finds what it needs.
#[derive(Debug)]
pub struct Memory {
    arena: Buffer,
    constants: Vec<Tensor>,
    steps: Vec<Slots>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a slot is only an address; it is dereferenced through `Memory`, which owns what it points to
// and borrows itself mutably for that.
unsafe impl Send for Slot {}
// SAFETY: as above; whoever has only a shared reference reads what no step writes meanwhile.
unsafe impl Sync for Slot {}

#[derive(Debug)]
struct Slots {
    inputs: Vec<Slot>,
    outputs: Vec<Slot>,
    scratch: Slot,
}

impl Slot {
    fn overlaps(&self, other: &Self) -> bool {
        let (a, b) = (self.start.as_ptr() as usize, other.start.as_ptr() as usize);
        self.len > 0 && other.len > 0 && a < b + other.len && b < a + self.len
    }
}

impl Memory {
    /// A zeroed arena, and constants.
    ///
    /// # Errors
    /// The arena is too large.
    pub fn new(arena_bytes: usize, constants: Vec<Tensor>) -> Result<Self> {
        Ok(Self { arena: Buffer::zeroed(arena_bytes)?, constants, steps: Vec::new() })
    }

    /// Adds a step that reads `inputs` and writes `outputs` and `scratch`.
    ///
    /// # Errors
    /// A place outside the arena, or something that is written overlaps anything else.
    pub fn add_step(&mut self, inputs: &[Place], outputs: &[Place], scratch: Place) -> Result<()> {
        let all = |places: &[Place]| places.iter().map(|p| self.slot(*p)).collect::<Option<Vec<_>>>();
        let written = |p: &Place| matches!(p, Place::Arena { .. });
        let slots = all(inputs).zip(all(outputs)).zip(self.slot(scratch));
        let slots = slots.filter(|_| outputs.iter().chain([&scratch]).all(written));
        let slots = slots.map(|((inputs, outputs), scratch)| Slots { inputs, outputs, scratch });
        let slots = slots.filter(|s| {
            let written: Vec<&Slot> = s.outputs.iter().chain([&s.scratch]).collect();
            let clash = |(i, w): (usize, &&Slot)| {
                s.inputs.iter().any(|r| r.overlaps(w)) || written[..i].iter().any(|o| o.overlaps(w))
            };
            !written.iter().enumerate().any(clash)
        });
        self.steps.push(slots.ok_or_else(|| Error::Runtime("the memory plan is not sound".to_owned()))?);
        Ok(())
    }

    fn slot(&self, place: Place) -> Option<Slot> {
        let bytes = match place {
            Place::Arena { .. } => self.bytes(place)?,
            Place::Constant(i) => self.constants.get(i)?.bytes(),
        };
        if !(bytes.as_ptr() as usize).is_multiple_of(memory::ALIGN) {
            return None;
        }
        let Place::Arena { offset, .. } = place else {
            return Some(Slot { start: NonNull::from(bytes).cast(), len: bytes.len() });
        };
        // Derived from the arena's own pointer, through which may be written.
        // SAFETY: the offset lies inside the buffer: `bytes` is a part of it.
        Some(Slot { start: unsafe { self.arena.address().add(offset) }, len: bytes.len() })
    }

    /// Bytes of a place, when it exists.
    pub fn bytes(&self, place: Place) -> Option<&[u8]> {
        match place {
            Place::Arena { offset, len } => self.arena.bytes().get(offset..offset.checked_add(len)?),
            Place::Constant(i) => self.constants.get(i).map(Tensor::bytes),
        }
    }

    /// Bytes of a part of the arena, when it exists.
    pub fn bytes_mut(&mut self, place: Place) -> Option<&mut [u8]> {
        match place {
            Place::Arena { offset, len } => self.arena.bytes_mut().get_mut(offset..offset.checked_add(len)?),
            Place::Constant(_) => None,
        }
    }

    /// Bytes of the arena.
    pub(crate) fn arena_bytes(&self) -> usize {
        self.arena.bytes().len()
    }

    /// What step `index` sees.
    pub fn io(&mut self, index: usize) -> Io<'_> {
        Io { slots: &self.steps[index] }
    }
}

/// Operands, results and scratch memory of one run of a step.
pub struct Io<'a> {
    slots: &'a Slots,
}

impl<'a> Io<'a> {
    /// Operands, results, scratch memory.
    pub fn split(self) -> (Inputs<'a>, Outputs<'a>, &'a mut [u8]) {
        let scratch = self.slots.scratch;
        // SAFETY: `Memory::add_step` checked that the scratch memory lies in the arena and overlaps
        // nothing of this step, and `Memory::io` borrowed the arena mutably; `self` is consumed, so that
        // it is handed out once.
        let scratch = unsafe { std::slice::from_raw_parts_mut(scratch.start.as_ptr(), scratch.len) };
        let outputs = Outputs { slots: &self.slots.outputs, life: PhantomData };
        (Inputs { slots: &self.slots.inputs }, outputs, scratch)
    }
}

/// Operands.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    slots: &'a [Slot],
}

impl<'a> Inputs<'a> {
    /// The elements of operand `index`, which the step was prepared for.
    pub fn get<T: Element>(&self, index: usize) -> &'a [T] {
        memory::elements(self.bytes(index)).expect("aligned, and of the type the step was prepared for")
    }

    /// The bytes of operand `index`.
    pub fn bytes(&self, index: usize) -> &'a [u8] {
        let slot = self.slots[index];
        // SAFETY: the memory is initialised and owned by the `Memory` that this is borrowed from;
        // `Memory::add_step` checked that nothing this step writes overlaps it.
        unsafe { std::slice::from_raw_parts(slot.start.as_ptr(), slot.len) }
    }

    /// Number of operands.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no operand.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

/// Results.
pub struct Outputs<'a> {
    slots: &'a [Slot],
    life: PhantomData<&'a mut u8>,
}

impl Outputs<'_> {
    /// The elements of result `index`, which the step was prepared for.
    pub fn get<T: Element>(&mut self, index: usize) -> &mut [T] {
        memory::elements_mut(self.bytes(index)).expect("aligned, and of the type the step was prepared for")
    }

    /// The bytes of result `index`.
    pub fn bytes(&mut self, index: usize) -> &mut [u8] {
        let slot = self.slots[index];
        // SAFETY: the memory is initialised and lies in the arena of the `Memory` that this is borrowed
        // from mutably; `Memory::add_step` checked that it overlaps nothing else of this step, and
        // `self` is borrowed mutably, so that no result is handed out twice.
        unsafe { std::slice::from_raw_parts_mut(slot.start.as_ptr(), slot.len) }
    }

    /// Number of results.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no result.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}
