//! Machine code of TVM's: compiled, measured, and refused where it does not fit.

#![allow(clippy::unwrap_used)]

mod place;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};

use edgefront_protocol::results::Results;
use place::Place;

const QUICK: [&str; 6] = ["--min-runs", "2", "--min-time", "1ms", "--rounds", "1"];

/// All that the command said; reasons of failed jobs stand in its JSON.
fn said(output: &Output) -> String {
    let texts = [&output.stdout, &output.stderr];
    texts.map(|text| String::from_utf8_lossy(text)).concat()
}

/// A place with the small model as machine code.
fn compiled() -> Place {
    let place = Place::new();
    let output = place.run(&["convert", "tiny.onnx", "-o", "tiny.so"]);
    assert!(output.status.success(), "{}", said(&output));
    place
}

fn bench(place: &Place, more: &[&str]) -> Output {
    place.run(&[&["bench", "tiny.so", "--json"], &QUICK[..], more].concat())
}

#[test]
fn code_for_tvm_is_measured_under_the_name_of_what_it_is() {
    let place = compiled();
    for asked in ["tvm", "tvm:untuned"] {
        let output = bench(&place, &["--runtime", asked]);
        let results: Results =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
        let record = &results.records[0];
        assert_eq!(
            (record.runtime.as_str(), record.provider.as_str()),
            ("tvm", "untuned")
        );
        assert_eq!(record.artifact.format, "so");
        let notes = record.conditions.notes.join("; ");
        assert!(
            notes.contains("its code is not tuned: no budget of trials was given"),
            "{notes}"
        );
    }
}

#[test]
fn code_for_tvm_that_does_not_fit_is_refused_before_it_is_loaded() {
    let place = compiled();
    let whole = fs::read(place.path("tiny.so")).unwrap();
    let changed = |from: &str, to: &str| {
        let at = whole
            .windows(from.len())
            .rposition(|part| part == from.as_bytes())
            .unwrap();
        [&whole[..at], to.as_bytes(), &whole[at + from.len()..]].concat()
    };
    let other_version = changed("0.27.0.post1", "0.26.0.post1");
    let mut other_processor = whole.clone();
    other_processor[18] = 243;
    // The first instruction of the code, by the program header that lets it be executed.
    let at = |place: usize| u64::from_le_bytes(whole[place..place + 8].try_into().unwrap()) as usize;
    let mut headers = whole[at(32)..].chunks_exact(56);
    let code = headers.position(|header| header[0] == 1 && header[4] & 1 == 1);
    let mut other_code = whole.clone();
    other_code[at(at(32) + 56 * code.unwrap() + 8)] ^= 1;
    let cases = [
        (
            other_version,
            "TVM 0.26.0.post1 compiled it, and the runtime here is 0.27.0.post1",
        ),
        (other_processor, "it is compiled for machine 243"),
        (other_code, "what it says of itself is not of its code"),
        (
            whole[..whole.len() / 2].to_vec(),
            "it says nothing of itself at its end",
        ),
        (
            whole[..whole.len() - 20].to_vec(),
            "it says nothing of itself at its end",
        ),
    ];
    for (bytes, words) in cases {
        place.write("tiny.so", &bytes);
        let output = bench(&place, &[]);
        assert!(!output.status.success());
        assert!(said(&output).contains(words), "{}", said(&output));
    }
}

/// The folder of a library tells its version, and that of a copy does not.
#[test]
fn a_library_of_tvm_without_a_version_is_told_of() {
    let place = compiled();
    let search = edgefront_runtimes::Search::default();
    let registry = edgefront_runtimes::Registry::new(&search);
    let probe = registry.get("tvm").unwrap().probe().unwrap();
    let installed = probe.library.unwrap();
    fs::create_dir(place.path("copied")).unwrap();
    for name in ["libtvm_runtime.so", "libtvm_ffi.so"] {
        fs::copy(installed.with_file_name(name), place.path("copied").join(name)).unwrap();
    }
    let notes = |more: &[&str]| {
        let output = bench(&place, more);
        let results: Results =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
        results.records[0].conditions.notes.join("; ")
    };
    let unknown = "the runtime's library does not tell its version";
    let copied = notes(&["--runtime-path", "copied/libtvm_runtime.so"]);
    assert!(copied.contains(unknown), "{copied}");
    assert!(!notes(&[]).contains(unknown));
}

#[test]
fn what_tvm_is_not_given_right_is_refused_in_one_line() {
    let place = Place::new();
    let cases = [
        (
            &["--shape", "2x3x9x9"][..],
            "input `input` is [?, 3, 8, 8], which [2, 3, 9, 9] does not fit",
        ),
        (&["--arch", "armv7"], "nothing is compiled for armv7"),
        (&["--to", "fp16"], "a .so file has the numbers of the model"),
    ];
    for (more, words) in cases {
        let output = place.run(&[&["convert", "tiny.onnx", "-o", "tiny.so"], more].concat());
        assert!(!output.status.success() && !place.path("tiny.so").exists());
        assert!(said(&output).contains(words), "{}", said(&output));
        assert_eq!(said(&output).lines().count(), 1, "{}", said(&output));
    }
}

/// The search measures on the machine that compiles.
#[test]
fn code_of_tvm_for_another_processor_is_not_tuned() {
    let place = Place::new();
    let other = match std::env::consts::ARCH {
        "aarch64" => "x86_64",
        _ => "aarch64",
    };
    let asked = ["--arch", other, "--trials", "8", "--json"];
    let output = place.run(&[&["convert", "tiny.onnx", "-o", "tiny.so"], &asked[..]].concat());
    if !output.status.success() {
        // Not every machine has a compiler for it.
        let mend = format!("install g++-{}-linux-gnu", other.replace('_', "-"));
        assert!(said(&output).trim_end().ends_with(&mend), "{}", said(&output));
        return;
    }
    let made: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    let why = made["untuned"].as_str().unwrap();
    assert!(
        why.starts_with("a search measures on the machine that compiles"),
        "{why}"
    );
    let refused = said(&bench(&place, &[]));
    assert!(
        refused.contains(&format!("it is compiled for {other}")),
        "{refused}"
    );
}

#[test]
fn threads_that_tvm_does_not_take_are_an_error() {
    let place = compiled();
    let output = bench(&place, &["--threads", "1000"]);
    assert!(
        said(&output).contains("1000 threads are asked for, and TVM takes "),
        "{}",
        said(&output)
    );
}

#[test]
fn a_study_compiles_its_variants_for_tvm_once_a_batch() {
    let place = Place::new();
    let study = [
        "optimize",
        "tiny.onnx",
        "--val",
        "val.safetensors",
        "--variants",
        "fp32",
        "--no-cache",
    ];
    let asked = ["--runtimes", "tract,tvm", "--batch", "1,4", "--out", "out"];
    let output = place.run(&[&study[..], &asked, &QUICK].concat());
    let words = said(&output);
    assert!(output.status.success(), "{words}");
    assert!(
        words.contains("variant fp32: its code for tvm is not tuned (tvm-untuned): no budget"),
        "{words}"
    );
    let results: Results =
        serde_json::from_slice(&fs::read(place.path("out/results.json")).unwrap()).unwrap();
    let of = |runtime: &str, batch: u32| {
        let is = |record: &&edgefront_protocol::results::Record| {
            record.runtime == runtime && record.batch == batch
        };
        results.records.iter().find(is).unwrap()
    };
    for batch in [1, 4] {
        let agreement = of("tvm", batch).accuracy.as_ref().unwrap().agreement_fp32;
        assert_eq!(
            agreement,
            of("tract", batch).accuracy.as_ref().unwrap().agreement_fp32
        );
    }
    assert_ne!(
        of("tvm", 1).artifact.sha256,
        of("tvm", 4).artifact.sha256,
        "code has one batch"
    );
}

/// A search of an order of loops or two for each function is no good one, and better than none on this network. The
/// cache is the test's own, so that there is one search, which is made.
#[test]
#[ignore = "searches for two minutes"]
fn a_search_by_tvm_is_kept_and_its_code_is_tuned() {
    let place = Place::new();
    let network = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models/resnet18.onnx");
    place.write("net.onnx", &fs::read(network).unwrap());
    let cache = place.path("cache");
    fs::create_dir_all(cache.join("edgefront")).unwrap();
    for installed in fs::read_dir(edgefront_runtimes::folder().unwrap().parent().unwrap()).unwrap() {
        let (path, name) = installed.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if name != "tvm-tuning" {
            symlink(path, cache.join("edgefront").join(name)).unwrap();
        }
    }
    let run = |args: &[&str]| place.run_with(&[("XDG_CACHE_HOME", &cache)], args);
    let kept = || {
        let searches = fs::read_dir(cache.join("edgefront/tvm-tuning")).unwrap();
        searches
            .map(|search| search.unwrap())
            .map(|search| (search.file_name(), search.metadata().unwrap()))
            .map(|(name, folder)| ((name, folder.ino()), folder.modified().unwrap()))
            .unzip::<_, _, Vec<_>, Vec<_>>()
    };
    let mut searches = Vec::new();
    for _ in 0..2 {
        let output = run(&["convert", "net.onnx", "-o", "net.so", "--trials", "24", "--json"]);
        let made: serde_json::Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
        assert_eq!(made["untuned"], serde_json::Value::Null);
        searches.push(kept());
    }
    let [(first, made), (second, used)] = &searches[..] else {
        unreachable!("it was compiled twice");
    };
    assert_eq!(first.len(), 1);
    assert_eq!(first, second, "the same folder");
    assert!(made < used, "it counts as used");
    let output = run(&[&["bench", "net.so", "--json"], &QUICK[..]].concat());
    let results: Results =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    assert_eq!(results.records[0].provider, "cpu");
    let refused = run(&[&["bench", "net.so", "--runtime", "tvm:untuned"], &QUICK[..]].concat());
    assert!(
        said(&refused).contains("is tuned; ask for `tvm` alone"),
        "{}",
        said(&refused)
    );
}

/// What the program that compiles makes of two codes whose times are given.
#[test]
fn of_two_codes_of_tvm_the_faster_one_is_taken() {
    const ASK: &str = r#"
import sys
program = {"__name__": "compile"}
exec(open(sys.argv[1]).read(), program)
times = {"plain": 1.0, "faster": 0.5, "slower": 2.0}
program["seconds"] = lambda code, ports: times[code]
for found in ["faster", "slower", "broken"]:
    print(*program["faster"]("plain", found, {}), sep=" | ")
"#;
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tvm_compile/compile.py");
    let output = Command::new("python3")
        .args(["-c", ASK, program])
        .output()
        .unwrap();
    let expected = "faster | None\n\
                    plain | the search found no faster order of loops\n\
                    plain | what the search found could not be timed: 'broken'\n";
    assert_eq!(said(&output), expected);
}

/// What is small enough is fast as it is, and what a search finds then is no gain.
#[test]
fn code_for_tvm_is_not_called_tuned_where_the_search_made_it_no_faster() {
    let place = Place::new();
    let output = place.run(&["convert", "tiny.onnx", "-o", "tiny.so", "--trials", "1", "--json"]);
    let made: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    let output = bench(&place, &[]);
    let results: Results =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    let (provider, why) = (&results.records[0].provider, &made["untuned"]);
    match why.as_str() {
        Some(why) => {
            assert_eq!(why, "the search found no faster order of loops");
            assert_eq!(provider, "untuned");
        }
        None => assert_eq!(provider, "cpu"),
    }
}
