//! Clients of the driver's C ABI: one that does everything right, and ones that do everything wrong. A wrong call is
//! a result code; the next right one works.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod ffi;
mod odd;

use ffi::{Handle, made};
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::ptr::{null, null_mut, without_provenance_mut};

const FLOAT: i32 = 3;
const INT: i32 = 4;
const BYTES: i32 = 14;
const PER_CHANNEL: i32 = 11;
const SCALAR: i32 = 1;

const OK: i32 = 0;
const NULL: i32 = 3;
const BAD_DATA: i32 = 4;
const OP_FAILED: i32 = 5;
const BAD_STATE: i32 = 6;
const UNMAPPABLE: i32 = 7;

/// y = (a + b) + c, four elements each; c is constant. Not finished.
fn described() -> Handle {
    let model = made(ffi::model_create).unwrap();
    for _ in 0..3 {
        assert_eq!(ffi::operand(model, FLOAT, &[4], 0.0, 0), OK);
    }
    assert_eq!(ffi::operand(model, SCALAR, &[], 0.0, 0), OK);
    assert_eq!(ffi::operand(model, FLOAT, &[4], 0.0, 0), OK);
    assert_eq!(ffi::operand(model, FLOAT, &[4], 0.0, 0), OK);
    assert_eq!(ffi::value(model, 2, Some(&reals([10.0, 20.0, 30.0, 40.0]))), OK);
    assert_eq!(ffi::value(model, 3, Some(&0i32.to_ne_bytes())), OK);
    // the later one first: models may come in any order
    assert_eq!(ffi::operation(model, 0, &[4, 2, 3], &[5]), OK);
    assert_eq!(ffi::operation(model, 0, &[0, 1, 3], &[4]), OK);
    assert_eq!(ffi::identify(model, &[0, 1], &[5]), OK);
    model
}

fn finished() -> Handle {
    let model = described();
    assert_eq!(ffi::model_finish(model), OK);
    model
}

fn reals<const N: usize>(values: [f32; N]) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_ne_bytes).collect()
}

fn device(index: u32) -> Handle {
    made(|d| ffi::device(index, d)).unwrap()
}

/// Compiled for one device.
fn compiled(model: Handle, index: u32) -> Handle {
    let devices = [device(index)];
    let compilation = made(|c| ffi::compilation_for(model, devices.as_ptr(), 1, c)).unwrap();
    assert_eq!(ffi::preference(compilation, 2), OK);
    assert_eq!(ffi::priority(compilation, 100), OK);
    assert_eq!(ffi::compilation_finish(compilation), OK);
    compilation
}

const SUM: [f32; 4] = [12.0, 23.0, 34.0, 45.0];

#[test]
fn what_is_done_right_works() {
    let model = finished();
    let compilation = compiled(model, 0);
    ffi::model_free(model);
    let (a, b, mut y) = (reals([1.0; 4]), reals([1.0, 2.0, 3.0, 4.0]), vec![0; 16]);
    let burst = made(|h| ffi::burst_create(compilation, h)).unwrap();
    for way in 0..3 {
        let execution = made(|e| ffi::execution_create(compilation, e)).unwrap();
        assert_eq!(ffi::reusable(execution, true), OK);
        assert_eq!(ffi::measure(execution, true), OK);
        assert_eq!(ffi::input(execution, 0, &a), OK);
        assert_eq!(ffi::input(execution, 1, &b), OK);
        assert_eq!(ffi::output(execution, 0, &mut y), OK);
        for _ in 0..2 {
            y.fill(0);
            match way {
                0 => assert_eq!(ffi::compute(execution), OK),
                1 => assert_eq!(ffi::burst_compute(execution, burst), OK),
                _ => {
                    let event = made(|e| ffi::start(execution, e)).unwrap();
                    assert_eq!(ffi::event_wait(event), OK);
                    ffi::event_free(event);
                }
            }
            assert_eq!(y, reals(SUM));
        }
        let (mut hardware, mut driver, mut rank) = (0, 0, 0);
        assert_eq!(ffi::duration(execution, 0, &raw mut hardware), OK);
        assert_eq!(ffi::duration(execution, 1, &raw mut driver), OK);
        assert!(hardware <= driver && driver < u64::MAX, "one is part of the other");
        assert_eq!((ffi::rank(execution, 0, &raw mut rank), rank), (OK, 1));
        ffi::execution_free(execution);
    }
    ffi::burst_free(burst);
    ffi::compilation_free(compilation);
}

#[test]
fn devices_say_what_they_take() {
    let mut count = 0;
    assert_eq!((ffi::device_count(&raw mut count), count), (OK, 3));
    let (mut name, mut level) = (null(), 0);
    assert_eq!(ffi::device_name(device(1), &raw mut name), OK);
    assert!(!name.is_null());
    assert_eq!((ffi::device_level(device(1), &raw mut level), level), (OK, 31));
    let model = finished();
    for (index, takes) in [(0, true), (1, false), (2, false)] {
        let (devices, mut answers) = ([device(index)], [true, true]);
        assert_eq!(ffi::supported(model, devices.as_ptr(), 1, answers.as_mut_ptr()), OK);
        assert_eq!(answers, [takes; 2], "device {index}");
    }
    // f32 as f16 is what the last one is for
    let relaxed = described();
    assert_eq!(ffi::relax(relaxed, true), OK);
    assert_eq!(ffi::model_finish(relaxed), OK);
    let (devices, mut answers) = ([device(2)], [false, false]);
    assert_eq!(ffi::supported(relaxed, devices.as_ptr(), 1, answers.as_mut_ptr()), OK);
    assert_eq!(answers, [true; 2]);
    [model, relaxed].into_iter().for_each(ffi::model_free);
}

#[test]
fn an_unknown_operation_is_not_taken_and_not_compiled() {
    let model = made(ffi::model_create).unwrap();
    for _ in 0..3 {
        assert_eq!(ffi::operand(model, FLOAT, &[4], 0.0, 0), OK);
    }
    // first something that nobody knows, then an absolute value of what it gives
    assert_eq!(ffi::operation(model, 12345, &[0], &[1]), OK);
    assert_eq!(ffi::operation(model, 38, &[1], &[2]), OK);
    assert_eq!(ffi::identify(model, &[0], &[2]), OK);
    assert_eq!(ffi::model_finish(model), OK);
    let (devices, mut answers) = ([device(0)], [true, false]);
    assert_eq!(ffi::supported(model, devices.as_ptr(), 1, answers.as_mut_ptr()), OK);
    assert_eq!(answers, [false, true]);
    let compilation = made(|c| ffi::compilation_create(model, c)).unwrap();
    assert_eq!(ffi::compilation_finish(compilation), BAD_DATA);
    assert_eq!(ffi::compilation_finish(compilation), BAD_STATE);
    assert_eq!(made(|e| ffi::execution_create(compilation, e)), Err(BAD_STATE));
}

#[test]
fn handles_that_are_none_are_refused() {
    let model = finished();
    let compilation = compiled(model, 0);
    let freed = finished();
    ffi::model_free(freed);
    ffi::model_free(freed);
    for wrong in
        [freed, compilation, device(0), without_provenance_mut(12345), without_provenance_mut(usize::MAX)]
    {
        assert_eq!(ffi::model_finish(wrong), BAD_DATA);
        assert_eq!(ffi::operand(wrong, FLOAT, &[1], 0.0, 0), BAD_DATA);
        ffi::execution_free(wrong);
        ffi::memory_free(wrong);
    }
    for wrong in [model, freed, device(0)] {
        assert_eq!(made(|e| ffi::execution_create(wrong, e)), Err(BAD_DATA));
        assert_eq!(ffi::compute(wrong), BAD_DATA);
        assert_eq!(ffi::event_wait(wrong), BAD_DATA);
        ffi::compilation_free(wrong);
    }
    assert_eq!(ffi::model_finish(null_mut()), NULL);
    assert_eq!(ffi::compute(null_mut()), NULL);
    assert_eq!(ffi::model_create(null_mut()), NULL);
    assert_eq!(ffi::device_name(null_mut(), null_mut()), NULL);
    assert_eq!(ffi::device_name(model, null_mut()), BAD_DATA);
    assert_eq!(made(|d| ffi::device(3, d)), Err(BAD_DATA));
    ffi::model_free(null_mut());
    // and what was tried on them did them no harm
    let execution = made(|e| ffi::execution_create(compilation, e)).unwrap();
    ffi::execution_free(execution);
}

#[test]
fn a_model_is_checked_call_by_call() {
    let model = made(ffi::model_create).unwrap();
    assert_eq!(ffi::null_operand(model), NULL);
    for (kind, dimensions, scale, zero_point) in [
        (99, &[1][..], 0.0, 0),
        (15, &[], 0.0, 0),
        (-1, &[1], 0.0, 0),
        (SCALAR, &[1], 0.0, 0),
        (FLOAT, &[1], 0.5, 0),
        (FLOAT, &[u32::MAX, u32::MAX], 0.0, 0),
        (FLOAT, &[1; 9], 0.0, 0),
        (BYTES, &[1], 0.0, 0),
        (BYTES, &[1], f32::NAN, 0),
        (BYTES, &[1], 0.5, 200),
        (INT, &[1], -1.0, 0),
    ] {
        assert_eq!(
            ffi::operand(model, kind, dimensions, scale, zero_point),
            BAD_DATA,
            "{kind} {dimensions:?}"
        );
    }
    assert_eq!(ffi::operand(model, FLOAT, &[4], 0.0, 0), OK);
    assert_eq!(ffi::operand(model, PER_CHANNEL, &[2, 3], 0.0, 0), OK);
    assert_eq!(ffi::operand(model, FLOAT, &[4], 0.0, 0), OK);
    assert_eq!(ffi::value(model, 0, Some(&[0; 15])), BAD_DATA);
    assert_eq!(ffi::value(model, 7, Some(&[0; 16])), BAD_DATA);
    assert_eq!(ffi::value(model, -1, Some(&[0; 16])), BAD_DATA);
    assert_eq!(ffi::channels(model, 0, 0, &[1.0; 4]), BAD_DATA);
    assert_eq!(ffi::channels(model, 1, 0, &[1.0; 3]), BAD_DATA);
    assert_eq!(ffi::channels(model, 1, 2, &[1.0; 2]), BAD_DATA);
    assert_eq!(ffi::channels(model, 1, 0, &[1.0, 0.0]), BAD_DATA);
    assert_eq!(ffi::operation(model, 38, &[0], &[9]), BAD_DATA);
    assert_eq!(ffi::operation(model, 38, &[u32::MAX], &[2]), BAD_DATA);
    assert_eq!(ffi::operation(model, -1, &[0], &[2]), BAD_DATA);
    assert_eq!(ffi::operation(model, 38, &[0], &[]), BAD_DATA);
    assert_eq!(ffi::model_finish(model), BAD_DATA, "no inputs and outputs");
    assert_eq!(ffi::identify(model, &[0], &[0]), BAD_DATA);
    assert_eq!(ffi::identify(model, &[0, 0], &[2]), BAD_DATA);
    assert_eq!(ffi::identify(model, &[0], &[9]), BAD_DATA);
    assert_eq!(ffi::identify_nothing(model), NULL);
    assert_eq!(ffi::identify(model, &[0], &[2]), OK);
    assert_eq!(ffi::model_finish(model), BAD_DATA, "an operand without scales per channel");
    assert_eq!(ffi::channels(model, 1, 0, &[1.0, 2.0]), OK);
    assert_eq!(ffi::model_finish(model), BAD_DATA, "nothing computes the output");
    assert_eq!(ffi::operation(model, 38, &[0], &[2]), OK);
    assert_eq!(made(|c| ffi::compilation_create(model, c)), Err(BAD_STATE), "not finished");
    assert_eq!(ffi::model_finish(model), OK);
    for late in [
        ffi::model_finish(model),
        ffi::operand(model, FLOAT, &[1], 0.0, 0),
        ffi::operation(model, 38, &[0], &[2]),
        ffi::identify(model, &[0], &[2]),
        ffi::relax(model, true),
    ] {
        assert_eq!(late, BAD_STATE);
    }
}

#[test]
fn operations_in_a_circle_are_refused() {
    for (operations, outputs) in [
        (&[([1u32], [2u32]), ([2], [1])][..], &[2u32][..]),
        (&[([1], [1])], &[1]),
        (&[([0], [2]), ([0], [2])], &[2]),
        (&[([3], [2])], &[2]),
    ] {
        let model = made(ffi::model_create).unwrap();
        for _ in 0..4 {
            assert_eq!(ffi::operand(model, FLOAT, &[4], 0.0, 0), OK);
        }
        for (inputs, results) in operations {
            assert_eq!(ffi::operation(model, 38, inputs, results), OK);
        }
        assert_eq!(ffi::identify(model, &[0], outputs), OK);
        // operand 3 is computed by nothing
        assert_eq!(ffi::model_finish(model), BAD_DATA, "{operations:?}");
        ffi::model_free(model);
    }
}

#[test]
fn an_execution_is_checked_call_by_call() {
    let model = finished();
    let (compilation, other) = (compiled(model, 0), compiled(model, 0));
    let (a, mut y) = (reals([1.0; 4]), vec![0; 16]);
    let execution = made(|e| ffi::execution_create(compilation, e)).unwrap();
    assert_eq!(ffi::compute(execution), BAD_DATA, "nothing is bound");
    assert_eq!(ffi::input(execution, 0, &a[..12]), BAD_DATA);
    assert_eq!(ffi::input(execution, 2, &a), BAD_DATA);
    assert_eq!(ffi::input(execution, -1, &a), BAD_DATA);
    assert_eq!(ffi::null_input(execution, 16), NULL);
    assert_eq!(ffi::output(execution, 0, &mut y[..15]), BAD_DATA);
    assert_eq!(ffi::input(execution, 0, &a), OK);
    assert_eq!(ffi::padding(execution, true), BAD_STATE, "something is bound");
    assert_eq!(ffi::input(execution, 1, &a), OK);
    assert_eq!(ffi::output(execution, 0, &mut y), OK);
    let mut time = 0;
    assert_eq!(ffi::duration(execution, 0, &raw mut time), BAD_STATE, "not run, not measured");
    let burst = made(|h| ffi::burst_create(other, h)).unwrap();
    assert_eq!(ffi::burst_compute(execution, burst), BAD_DATA, "of another compilation");
    assert_eq!(ffi::compute(execution), OK);
    assert_eq!(ffi::compute(execution), BAD_STATE, "not to be used again");
    assert_eq!(ffi::input(execution, 0, &a), BAD_STATE);
    assert_eq!(ffi::measure(execution, true), BAD_STATE);
    // who freed all else may still use and free this
    ffi::compilation_free(compilation);
    ffi::model_free(model);
    ffi::execution_free(execution);
    assert_eq!(ffi::compute(execution), BAD_DATA);
}

#[test]
fn padded_buffers_may_be_longer() {
    let compilation = compiled(finished(), 0);
    let execution = made(|e| ffi::execution_create(compilation, e)).unwrap();
    assert_eq!(ffi::padding(execution, true), OK);
    let (mut a, mut y) = (reals([1.0; 4]), vec![7; 64]);
    a.resize(64, 0);
    assert_eq!(ffi::input(execution, 0, &a), OK);
    assert_eq!(ffi::input(execution, 1, &a[..16]), OK);
    assert_eq!(ffi::output(execution, 0, &mut y), OK);
    assert_eq!(ffi::compute(execution), OK);
    assert_eq!((&y[..16], &y[16..]), (&reals([12.0, 22.0, 32.0, 42.0])[..], &[7; 48][..]));
}

#[test]
fn memory_is_a_part_of_a_file() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[0; 64]).unwrap();
    let fd = file.as_raw_fd();
    for (size, protect, fd, offset, code) in [
        (0, 3, fd, 0, BAD_DATA),
        (64, 3, -1, 0, BAD_DATA),
        (64, 3, 1 << 20, 0, BAD_DATA),
        (64, 8, fd, 0, BAD_DATA),
        (64, 3, fd, usize::MAX, BAD_DATA),
        (64, 3, fd, 1, UNMAPPABLE),
        (65, 3, fd, 0, UNMAPPABLE),
    ] {
        assert_eq!(ffi::memory(size, protect, fd, offset), Err(code), "{size} {protect} {fd} {offset}");
    }
    let folder = std::fs::File::open("/").unwrap();
    assert_eq!(ffi::memory(1, 1, folder.as_raw_fd(), 0), Err(UNMAPPABLE), "a folder");
    let pool = ffi::memory(64, 3, fd, 0).unwrap();
    let compilation = compiled(finished(), 0);
    let execution = made(|e| ffi::execution_create(compilation, e)).unwrap();
    assert_eq!(ffi::reusable(execution, true), OK);
    assert_eq!(ffi::input_from_memory(execution, 0, null(), pool, 56, 16), BAD_DATA);
    assert_eq!(ffi::input_from_memory(execution, 0, null(), pool, usize::MAX, 16), BAD_DATA);
    assert_eq!(ffi::input_from_memory(execution, 0, null(), pool, 0, 16), OK);
    assert_eq!(ffi::input_from_memory(execution, 1, null(), pool, 16, 16), OK);
    assert_eq!(ffi::output_from_memory(execution, 0, null(), pool, 32, 16), OK);
    file.rewind().unwrap();
    file.write_all(&[reals([1.0; 4]), reals([1.0, 2.0, 3.0, 4.0])].concat()).unwrap();
    ffi::memory_free(pool);
    assert_eq!(ffi::compute(execution), OK, "who uses memory keeps it");
    let mut y = [0; 16];
    file.read_exact(&mut y).unwrap();
    assert_eq!(y[..], reals(SUM));
    // a file that is cut short under it
    file.set_len(20).unwrap();
    assert_eq!(ffi::compute(execution), OP_FAILED);
    file.set_len(64).unwrap();
    assert_eq!(ffi::compute(execution), BAD_STATE, "what failed is not used again");
}

#[test]
fn values_come_from_memory_too() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[vec![0; 8], reals([1.0, 2.0, 3.0, 4.0])].concat()).unwrap();
    let pool = ffi::memory(16, 1, file.as_raw_fd(), 8).unwrap();
    let model = made(ffi::model_create).unwrap();
    for kind in [FLOAT, FLOAT, SCALAR, FLOAT] {
        let dimensions: &[u32] = if kind == SCALAR { &[] } else { &[4] };
        assert_eq!(ffi::operand(model, kind, dimensions, 0.0, 0), OK);
    }
    assert_eq!(ffi::value_from_memory(model, 1, pool, 4, 16), BAD_DATA);
    assert_eq!(ffi::value_from_memory(model, 1, pool, 0, 12), BAD_DATA);
    assert_eq!(ffi::value_from_memory(model, 1, pool, 0, 16), OK);
    assert_eq!(ffi::value_from_memory(model, 1, pool, 0, 16), BAD_DATA, "it has one");
    assert_eq!(ffi::value(model, 2, Some(&1i32.to_ne_bytes())), OK);
    assert_eq!(ffi::operation(model, 0, &[0, 1, 2], &[3]), OK);
    assert_eq!(ffi::identify(model, &[0], &[3]), OK);
    assert_eq!(ffi::model_finish(model), OK);
    let execution = made(|e| ffi::execution_create(compiled(model, 0), e)).unwrap();
    let (x, mut y) = (reals([-2.0; 4]), vec![0; 16]);
    assert_eq!(ffi::input(execution, 0, &x), OK);
    assert_eq!(ffi::output(execution, 0, &mut y), OK);
    assert_eq!(ffi::compute(execution), OK);
    assert_eq!(y, reals([0.0, 0.0, 1.0, 2.0]), "added and cut by the fused RELU");
}

#[test]
fn memory_of_the_driver_has_roles_and_contents() {
    let compilation = compiled(finished(), 0);
    let desc = made(ffi::desc_create).unwrap();
    assert_eq!(made(|m| ffi::memory_from(desc, m)), Err(BAD_STATE));
    assert_eq!(ffi::desc_finish(desc), BAD_DATA, "no role");
    assert_eq!(ffi::desc_input(desc, compilation, 9, 1.0), BAD_DATA);
    assert_eq!(ffi::desc_input(desc, compilation, 0, 0.0), BAD_DATA);
    assert_eq!(ffi::desc_input(desc, compilation, 0, f32::NAN), BAD_DATA);
    assert_eq!(ffi::desc_output(desc, compilation, 0, 1.0), OK);
    assert_eq!(ffi::desc_input(desc, compilation, 0, 0.5), OK);
    assert_eq!(ffi::desc_input(desc, compilation, 0, 0.5), BAD_DATA, "twice");
    assert_eq!(ffi::desc_finish(desc), OK);
    assert_eq!(ffi::desc_input(desc, compilation, 1, 0.5), BAD_STATE);
    let own = made(|m| ffi::memory_from(desc, m)).unwrap();
    ffi::desc_free(desc);
    let execution = made(|e| ffi::execution_create(compilation, e)).unwrap();
    assert_eq!(ffi::input_from_memory(execution, 1, null(), own, 0, 0), BAD_DATA, "not its role");
    assert_eq!(ffi::input_from_memory(execution, 0, null(), own, 0, 8), BAD_DATA, "not all of it");
    let (a, mut y) = (reals([1.0; 4]), vec![0; 16]);
    // read before anything was written
    assert_eq!(ffi::input_from_memory(execution, 0, null(), own, 0, 0), OK);
    assert_eq!(ffi::input(execution, 1, &a), OK);
    assert_eq!(ffi::output(execution, 0, &mut y), OK);
    assert_eq!(ffi::compute(execution), OP_FAILED);
    // from a file into it, through the model, and back
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&reals([1.0, 2.0, 3.0, 4.0])).unwrap();
    let pool = ffi::memory(16, 3, file.as_raw_fd(), 0).unwrap();
    assert_eq!(ffi::memory_copy(own, pool), BAD_DATA, "nothing to copy");
    assert_eq!(ffi::memory_copy(pool, own), OK);
    let execution = made(|e| ffi::execution_create(compilation, e)).unwrap();
    assert_eq!(ffi::input_from_memory(execution, 0, null(), own, 0, 16), OK);
    assert_eq!(ffi::input(execution, 1, &a), OK);
    assert_eq!(ffi::output_from_memory(execution, 0, null(), own, 0, 0), OK);
    assert_eq!(ffi::compute(execution), OK);
    assert_eq!(ffi::memory_copy(own, pool), OK);
    file.rewind().unwrap();
    file.read_exact(&mut y).unwrap();
    assert_eq!(y, reals(SUM));
}

#[test]
fn compilations_are_checked() {
    let model = finished();
    let devices = [device(0), device(0)];
    assert_eq!(
        made(|c| ffi::compilation_for(model, devices.as_ptr(), 2, c)),
        Err(BAD_DATA),
        "twice the same"
    );
    assert_eq!(made(|c| ffi::compilation_for(model, devices.as_ptr(), 0, c)), Err(BAD_DATA));
    assert_eq!(made(|c| ffi::compilation_for(model, null(), 1, c)), Err(NULL));
    assert_eq!(made(|c| ffi::compilation_for(model, [model].as_ptr(), 1, c)), Err(BAD_DATA), "no device");
    let compilation = made(|c| ffi::compilation_create(model, c)).unwrap();
    assert_eq!(ffi::preference(compilation, 3), BAD_DATA);
    assert_eq!(ffi::priority(compilation, 1), BAD_DATA);
    assert_eq!(ffi::caching(compilation, null(), null()), NULL);
    assert_eq!(ffi::caching(compilation, c"/no/such/folder".as_ptr(), [0; 32].as_ptr()), BAD_DATA);
    assert_eq!(ffi::compilation_finish(compilation), OK);
    assert_eq!(ffi::preference(compilation, 0), BAD_STATE);
    // an accelerator that takes none of it
    let devices = [device(1)];
    let compilation = made(|c| ffi::compilation_for(model, devices.as_ptr(), 1, c)).unwrap();
    assert_eq!(ffi::compilation_finish(compilation), BAD_DATA);
}

#[test]
fn a_storm_of_wrong_calls_harms_nobody() {
    let mut seed = 2026u64;
    let mut next = move |n: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 33) as usize % n
    };
    let (mut handles, mut y): (Vec<Handle>, _) = (vec![null_mut(), device(0)], vec![0u8; 64]);
    for _ in 0..60_000 {
        let handle = handles[next(handles.len())];
        let other = handles[next(handles.len())];
        let small: Vec<u32> = (0..next(4)).map(|_| next(8) as u32).collect();
        let made = match next(22) {
            0 => made(ffi::model_create).ok(),
            1 => made(|c| ffi::compilation_create(handle, c)).ok(),
            2 => made(|e| ffi::execution_create(handle, e)).ok(),
            3 => made(|b| ffi::burst_create(handle, b)).ok(),
            4 => made(ffi::desc_create).ok(),
            5 => made(|m| ffi::memory_from(handle, m)).ok(),
            6 => made(|e| ffi::start(handle, e)).ok(),
            call => {
                match call {
                    7 | 8 => ffi::operand(handle, [0, 1, 3, 4, 5, 6, 11, 14][next(8)], &small, 0.0, 0),
                    9 => ffi::operand(handle, [5, 13, 14][next(3)], &small, 0.5, next(3) as i32),
                    10 => ffi::value(handle, next(8) as i32, Some(&y[..[1, 4, 8, 16, 64][next(5)]])),
                    11 => ffi::operation(handle, next(110) as i32, &small, &[next(8) as u32]),
                    12 => ffi::identify(handle, &small, &[next(8) as u32]),
                    13 => ffi::model_finish(handle),
                    14 => ffi::compilation_finish(handle),
                    15 => ffi::input(handle, next(3) as i32, &[0; 64][..[4, 16, 64][next(3)]]),
                    16 => ffi::output(handle, next(3) as i32, &mut y[..[4, 16, 64][next(3)]]),
                    17 => ffi::compute(handle),
                    18 => ffi::burst_compute(handle, other),
                    19 => ffi::desc_input(handle, other, next(2) as u32, 1.0),
                    20 => ffi::memory_copy(handle, other),
                    _ => {
                        match next(5) {
                            0 => ffi::model_free(handle),
                            1 => ffi::compilation_free(handle),
                            2 => ffi::execution_free(handle),
                            3 => ffi::burst_free(handle),
                            _ => ffi::event_free(handle),
                        }
                        OK
                    }
                };
                None
            }
        };
        handles.extend(made);
        if handles.len() > 200 {
            handles.swap_remove(2 + next(198));
        }
    }
    what_is_done_right_works();
}
