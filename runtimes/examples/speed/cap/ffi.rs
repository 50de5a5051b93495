//! The answer to a breakpoint that stands for `cpuid`.

#![expect(unsafe_code, reason = "signals and their contexts are C")]

use crate::wrong;
use runtimes::Result;
use std::arch::x86_64::__cpuid_count;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;

/// What is left out of leaf 7, whose bits are in EBX, ECX and EDX: AVX-512, AMX.
const WITHOUT: [u32; 3] = [
    1 << 16 | 1 << 17 | 1 << 21 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 30 | 1 << 31,
    1 << 1 | 1 << 6 | 1 << 11 | 1 << 12 | 1 << 14,
    1 << 2 | 1 << 3 | 1 << 8 | 1 << 22 | 1 << 23 | 1 << 24 | 1 << 25,
];

/// From now on breakpoints are answered as `cpuid` without AVX-512, AMX and AVX-VNNI.
///
/// # Errors
/// The system does not let it.
pub(crate) fn answer() -> Result<()> {
    let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void) = trapped;
    // SAFETY: a structure of numbers, for which zeros are values, of which those that matter are set.
    let done = unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGTRAP, &action, ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(wrong("cap=avx2: no signal handler")) }
}

extern "C" fn trapped(_signal: i32, _info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: with `SA_SIGINFO` it is the context of the thread that is interrupted, which nobody else touches.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let read = |register: i32, registers: &[i64; 23]| registers[register as usize] as u32;
    let (leaf, part) = (read(libc::REG_RAX, registers), read(libc::REG_RCX, registers));
    let answer = __cpuid_count(leaf, part);
    let mut all = [answer.eax, answer.ebx, answer.ecx, answer.edx];
    match (leaf, part) {
        (7, 0) => all[1..].iter_mut().zip(WITHOUT).for_each(|(register, without)| *register &= !without),
        (7, _) => all = [0; 4],
        _ => {}
    }
    for (register, value) in [libc::REG_RAX, libc::REG_RBX, libc::REG_RCX, libc::REG_RDX].into_iter().zip(all)
    {
        registers[register as usize] = i64::from(value);
    }
}
