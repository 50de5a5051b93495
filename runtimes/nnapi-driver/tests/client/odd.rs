//! Models of every operation with arguments that are right, nearly right and absurd. Whatever is said of them, the
//! driver neither panics nor takes what it then cannot compile.

use crate::ffi::{self, made};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Models in a usual run.
const MODELS: u64 = 6000;

struct Random(u64);

impl Random {
    fn next(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % n
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.next(all.len())]
    }
}

/// Inputs by operation: `x` a tensor, `w` weights, `b` a bias, `i` an INT32, `f` a FLOAT32, `t` a BOOL, `v` a constant
/// TENSOR_INT32.
const SHAPES: &[(i32, &str)] = &[
    (0, "xxi"),
    (1, "xiiiiiiiii"),
    (1, "xiiiiii"),
    (2, "xxi"),
    (3, "xwbiiii"),
    (3, "xwbiiiiiii"),
    (3, "xwbiiiitii"),
    (4, "xwbiiiii"),
    (4, "xwbiiiiiiii"),
    (4, "xwbiiiiitii"),
    (6, "x"),
    (8, "x"),
    (9, "xwbi"),
    (14, "x"),
    (17, "xiiiiii"),
    (18, "xxi"),
    (19, "x"),
    (22, "xv"),
    (23, "xii"),
    (23, "xiittt"),
    (25, "xf"),
    (25, "xfi"),
    (28, "x"),
    (30, "xxi"),
    (31, "xvi"),
    (32, "xv"),
    (34, "xv"),
    (35, "xvvviii"),
    (36, "xxi"),
    (37, "xv"),
    (45, "x"),
    (50, "xi"),
    (51, "xiv"),
    (65, "xx"),
    (69, "xvi"),
    (69, "xvf"),
    (70, "xx"),
    (71, "xx"),
    (72, "x"),
    (77, "xvt"),
    (80, "xvt"),
    (86, "xvv"),
    (87, "xii"),
    (94, "xiitt"),
    (98, "xf"),
    (99, "x"),
];

const REAL: i32 = 3;
const SIGNED: i32 = 14;
const CODES: [i32; 7] = [REAL, REAL, SIGNED, SIGNED, 5, 4, 9];

struct Model {
    handle: ffi::Handle,
    count: u32,
    inputs: Vec<u32>,
    sizes: Vec<usize>,
}

impl Model {
    fn operand(&mut self, code: i32, shape: &[u32]) -> Option<u32> {
        let scale = if [5, 7, 13, SIGNED].contains(&code) { 0.5 } else { 0.0 };
        let added = ffi::operand(self.handle, code, shape, scale, 0);
        self.count += u32::from(added == 0);
        (added == 0).then(|| self.count - 1)
    }

    fn constant(&mut self, code: i32, shape: &[u32], random: &mut Random) -> Option<u32> {
        let index = self.operand(code, shape)?;
        let integer = || [-1i32, 0, 0, 1, 1, 1, 2, 2, 3, 4, 7, 1 << 20, i32::MAX, i32::MIN];
        let count: u32 = shape.iter().product();
        let bytes: Vec<u8> = match code {
            0 | REAL => (0..count.max(1))
                .flat_map(|_| random.of(&[1f32, 0.5, -1.0, f32::NAN]).to_ne_bytes())
                .collect(),
            1 | 4 => (0..count.max(1)).flat_map(|_| random.of(&integer()).to_ne_bytes()).collect(),
            _ => (0..count.max(1)).map(|_| random.of(&[0u8, 1, 255])).collect(),
        };
        assert_eq!(ffi::value(self.handle, index as i32, Some(&bytes)), 0);
        Some(index)
    }

    fn input(&mut self, code: i32, shape: &[u32]) -> Option<u32> {
        let index = self.operand(code, shape)?;
        self.inputs.push(index);
        self.sizes
            .push(shape.iter().product::<u32>() as usize * if code == REAL || code == 4 { 4 } else { 1 });
        Some(index)
    }
}

fn shape(random: &mut Random) -> Vec<u32> {
    let rank = random.of(&[1usize, 2, 4, 4, 4, 4, 3, 5]);
    (0..rank).map(|_| random.of(&[1u32, 1, 2, 3, 4, 8])).collect()
}

/// A model of one operation; `None` where not even its operands could be added.
fn build(random: &mut Random) -> Option<(Model, usize)> {
    let handle = made(ffi::model_create).unwrap();
    let mut model = Model { handle, count: 0, inputs: Vec::new(), sizes: Vec::new() };
    let (operation, arguments) = random.of(SHAPES);
    let (code, x) = (random.of(&CODES), shape(random));
    let mut inputs = Vec::new();
    for argument in arguments.chars() {
        let near = if random.next(6) == 0 { shape(random) } else { x.clone() };
        let depth = x.last().copied().unwrap_or(1);
        let weights = match operation {
            3 => vec![random.of(&[1, 3]), random.of(&[1, 2]), random.of(&[1, 3]), depth],
            4 => vec![1, random.of(&[1, 2]), random.of(&[1, 3]), depth * random.of(&[1, 2])],
            _ => vec![random.of(&[1, 5]), depth],
        };
        let length = random.of(&[1, x.len() as u32, x.len() as u32, 2]);
        let pairs = [x.len() as u32, 2];
        inputs.push(match argument {
            'x' => model.input(if random.next(12) == 0 { random.of(&CODES) } else { code }, &near)?,
            'w' => model.constant(code, if random.next(8) == 0 { &near } else { &weights }, random)?,
            'b' => {
                let channels = random.of(&[weights[0], weights.last().copied().unwrap_or(1), 3]);
                model.constant(if code == REAL { REAL } else { 4 }, &[channels], random)?
            }
            'i' => model.constant(1, &[], random)?,
            'f' => model.constant(0, &[], random)?,
            't' => model.constant(6, &[], random)?,
            _ => model.constant(
                4,
                if operation == 32 || operation == 69 { &pairs } else { std::slice::from_ref(&length) },
                random,
            )?,
        });
    }
    if random.next(20) == 0 {
        inputs.pop();
    }
    // the right shape is often the input's; else anything
    let result = if random.next(2) == 0 { x } else { shape(random) };
    let output = model.operand(if random.next(8) == 0 { random.of(&CODES) } else { code }, &result)?;
    let size = result.iter().product::<u32>() as usize * if [REAL, 4].contains(&code) { 4 } else { 1 };
    if ffi::operation(handle, operation, &inputs, &[output]) != 0 {
        return None;
    }
    let unread: Vec<u32> = model.inputs.iter().copied().filter(|i| !inputs.contains(i)).collect();
    model.inputs.retain(|i| !unread.contains(i));
    if ffi::identify(handle, &model.inputs, &[output]) != 0 || ffi::model_finish(handle) != 0 {
        return None;
    }
    Some((model, size))
}

#[test]
fn no_operation_with_odd_arguments_makes_the_driver_panic() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        usual(info);
    }));
    let models = std::env::var("ODD_MODELS").ok().and_then(|n| n.parse().ok()).unwrap_or(MODELS);
    let (mut taken, mut ran) = (0, 0);
    for seed in 1..=models {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..4 {
            random.next(2);
        }
        let Some((model, size)) = build(&mut random) else { continue };
        for index in 0..3 {
            let devices = [made(|d| ffi::device(index, d)).unwrap()];
            let mut answer = [false];
            assert_eq!(ffi::supported(model.handle, devices.as_ptr(), 1, answer.as_mut_ptr()), 0, "{seed}");
            let compilation = made(|c| ffi::compilation_for(model.handle, devices.as_ptr(), 1, c)).unwrap();
            let compiled = ffi::compilation_finish(compilation);
            assert!(answer[0] || compiled == 4, "{seed}: not taken, and compiled all the same: {compiled}");
            taken += u32::from(answer[0]);
            if let Ok(execution) = made(|e| ffi::execution_create(compilation, e)) {
                assert_eq!(ffi::padding(execution, true), 0);
                let inputs: Vec<Vec<u8>> = model.sizes.iter().map(|n| vec![1; n + 64]).collect();
                let mut y = vec![0; size * 4 + 64];
                for (i, x) in inputs.iter().enumerate() {
                    assert_eq!(ffi::input(execution, i as i32, x), 0, "{seed}");
                }
                assert_eq!(ffi::output(execution, 0, &mut y), 0, "{seed}");
                ran += u32::from(ffi::compute(execution) == 0);
                ffi::execution_free(execution);
            }
            ffi::compilation_free(compilation);
        }
        ffi::model_free(model.handle);
    }
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "panics that were caught");
    assert!(taken > 500 && ran > 400, "{taken} taken, {ran} ran");
}
