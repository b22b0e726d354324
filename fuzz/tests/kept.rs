//! Every target without a fuzzer: over its seeds, over the inputs that were kept of real fuzzing, and over
//! mutations of both. What is tried is the same in every run, so a failure comes again.

use assay_fuzz::kept;
use assay_fuzz::mutate::{Rng, mutate};
use assay_fuzz::targets::{TARGETS, Target};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Longer inputs are only slower.
const MAX_LEN: usize = 4096;

/// Runs the body; a failure says which bytes it was.
fn try_input(target: &Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.body)(input))) {
        let bytes: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("target {} fails on {} bytes: {bytes}", target.name, input.len());
        std::panic::resume_unwind(panic);
    }
}

fn run(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    let mut inputs = (target.seeds)();
    assert!(!inputs.is_empty());
    let kept = kept::read(name).expect("a file of kept inputs");
    assert!(!kept.is_empty());
    inputs.extend(kept);
    try_input(target, &[]);
    inputs.iter().for_each(|input| try_input(target, input));
    let mut rng = Rng::new(name.bytes().fold(0, |seed, byte| seed * 31 + u64::from(byte)));
    for _ in 0..target.runs {
        let mut input = inputs[rng.below(inputs.len())].clone();
        let other = &inputs[rng.below(inputs.len())];
        mutate(&mut input, other, MAX_LEN, &mut rng);
        try_input(target, &input);
    }
}

macro_rules! tests {
    ($($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )+

        #[test]
        fn every_target_is_tested() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),+]);
            for name in names {
                let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz_targets/{name}.rs"));
                assert!(program.is_file(), "{} is missing", program.display());
            }
        }
    };
}

tests!(arithmetic books config device extensions frames handshake journal messages names session setup shares template transport);
