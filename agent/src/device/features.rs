//! CPU features that matter to kernels, as the running code may use them. Under emulation these are the
//! emulated core's.

/// Names as the kernel writes them in `/proc/cpuinfo`.
#[cfg(target_arch = "x86_64")]
pub(crate) fn features() -> Vec<String> {
    let found = [
        ("sse4_1", is_x86_feature_detected!("sse4.1")),
        ("avx", is_x86_feature_detected!("avx")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("avx_vnni", is_x86_feature_detected!("avxvnni")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512dq", is_x86_feature_detected!("avx512dq")),
        ("avx512vl", is_x86_feature_detected!("avx512vl")),
        ("avx512_vnni", is_x86_feature_detected!("avx512vnni")),
        ("avx512_bf16", is_x86_feature_detected!("avx512bf16")),
        ("avx512_fp16", is_x86_feature_detected!("avx512fp16")),
    ];
    present(&found)
}

/// Names as the kernel writes them in `/proc/cpuinfo`.
#[cfg(target_arch = "aarch64")]
pub(crate) fn features() -> Vec<String> {
    use std::arch::is_aarch64_feature_detected;
    let found = [
        ("asimd", is_aarch64_feature_detected!("neon")),
        ("asimdhp", is_aarch64_feature_detected!("fp16")),
        ("asimdrdm", is_aarch64_feature_detected!("rdm")),
        ("asimddp", is_aarch64_feature_detected!("dotprod")),
        ("asimdfhm", is_aarch64_feature_detected!("fhm")),
        ("i8mm", is_aarch64_feature_detected!("i8mm")),
        ("bf16", is_aarch64_feature_detected!("bf16")),
        ("sve", is_aarch64_feature_detected!("sve")),
        ("sve2", is_aarch64_feature_detected!("sve2")),
    ];
    present(&found)
}

/// None are told apart on other machines.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn features() -> Vec<String> {
    Vec::new()
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn present(found: &[(&str, bool)]) -> Vec<String> {
    found.iter().filter(|(_, here)| *here).map(|(name, _)| (*name).to_owned()).collect()
}
