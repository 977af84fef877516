use super::fixture::{batch, device, id, outcome};
use super::*;

fn open(dir: &Path) -> Store {
    Store::open(dir, &id("c1")).unwrap()
}

fn failed(error: &str) -> FailedJob {
    FailedJob {
        study: None,
        device: "pi".into(),
        variant: String::new(),
        runtime: "ort".into(),
        threads: None,
        batch: None,
        scenario: None,
        cpus: None,
        stage: "load".into(),
        error: error.into(),
    }
}

#[test]
fn everything_is_there_again_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let key = Digest::of(b"key");
    let blob = BlobRef {
        digest: Digest::of(b"made"),
        bytes: Bytes(4),
    };
    {
        let mut store = open(dir.path());
        assert_eq!(store.study().unwrap(), None);
        store.begin("{}").unwrap();
        store
            .put_batch(&device("pi"), &batch("b1", &["j1", "j2"]))
            .unwrap();
        store.put_variant(&key, &blob, "[1, 2]").unwrap();
        assert_eq!(store.put_outcome(&outcome("j2", "first")).unwrap(), Stored::New);
        store
            .set_failures(&[failed("before"), failed("before too")])
            .unwrap();
        store.set_failures(&[failed("now")]).unwrap();
    }
    let store = Store::open(dir.path(), &id("another")).unwrap();
    assert_eq!(store.controller(), &id("c1"));
    let study = store.study().unwrap().unwrap();
    assert_eq!((study.definition.as_str(), study.finished), ("{}", false));
    assert_eq!(store.devices().unwrap(), [device("pi")]);
    assert_eq!(store.failures().unwrap(), [failed("now")]);
    assert_eq!(store.variant(&key).unwrap(), Some(blob));
    assert_eq!(store.variant(&Digest::of(b"other")).unwrap(), None);
    assert_eq!(store.makings::<Vec<u8>>().unwrap(), [(blob.digest, vec![1, 2])]);
    let jobs = store.jobs().unwrap();
    assert_eq!(
        jobs.iter().map(|j| j.job.id.as_str()).collect::<Vec<_>>(),
        ["j1", "j2"]
    );
    assert_eq!(jobs[1].outcome, Some(outcome("j2", "first")));
    assert_eq!(store.open_batches().unwrap(), [(id("pi"), batch("b1", &["j1"]))]);
}

#[test]
fn a_job_ends_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.put_batch(&device("pi"), &batch("b1", &["j1"])).unwrap();
    assert_eq!(store.put_outcome(&outcome("j1", "first")).unwrap(), Stored::New);
    assert_eq!(
        store.put_outcome(&outcome("j1", "second")).unwrap(),
        Stored::Duplicate
    );
    assert_eq!(
        store.put_outcome(&outcome("j9", "stray")).unwrap(),
        Stored::Unknown
    );
    assert_eq!(store.jobs().unwrap()[0].outcome, Some(outcome("j1", "first")));
}

#[test]
fn a_batch_with_a_known_job_is_not_stored_in_part() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.put_batch(&device("pi"), &batch("b1", &["j1"])).unwrap();
    assert!(
        store
            .put_batch(&device("pi"), &batch("b2", &["j2", "j1"]))
            .is_err()
    );
    assert_eq!(store.jobs().unwrap().len(), 1);
}

#[test]
fn a_new_study_keeps_the_name_alone() {
    let dir = tempfile::tempdir().unwrap();
    let key = Digest::of(b"key");
    let mut store = open(dir.path());
    store.begin("1").unwrap();
    store.put_batch(&device("pi"), &batch("b1", &["j1"])).unwrap();
    store
        .put_variant(
            &key,
            &BlobRef {
                digest: Digest::of(b""),
                bytes: Bytes(0),
            },
            "{}",
        )
        .unwrap();
    store.set_finished(true).unwrap();
    store.begin("2").unwrap();
    let study = store.study().unwrap().unwrap();
    assert_eq!((study.definition.as_str(), study.finished), ("2", false));
    assert!(store.jobs().unwrap().is_empty() && store.devices().unwrap().is_empty());
    store.put_device(&device("pi")).unwrap();
    store.put_device(&device("pi")).unwrap();
    assert_eq!(store.devices().unwrap(), [device("pi")]);
    assert!(store.variant(&key).unwrap().is_none() && store.failures().unwrap().is_empty());
    assert_eq!(store.controller(), &id("c1"));
}

#[test]
fn two_processes_do_not_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path());
    assert!(matches!(
        Store::open(dir.path(), &id("c2")),
        Err(Error::Busy { .. })
    ));
}

#[test]
fn databases_of_others_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let database = Connection::open(&path).unwrap();
    database.execute_batch("CREATE TABLE theirs (x)").unwrap();
    assert!(matches!(
        Store::open(dir.path(), &id("c1")),
        Err(Error::Foreign { .. })
    ));
    database.pragma_update(None, "user_version", 99).unwrap();
    let error = Store::open(dir.path(), &id("c1")).unwrap_err();
    assert!(matches!(error, Error::Newer { found: 99, .. }), "{error}");
}

#[test]
fn a_damaged_database_says_what_to_do_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let mut store = open(dir.path());
    let jobs: Vec<String> = (0..200).map(|number| format!("j{number}")).collect();
    let jobs: Vec<&str> = jobs.iter().map(String::as_str).collect();
    store.begin("{}").unwrap();
    store.put_batch(&device("pi"), &batch("b1", &jobs)).unwrap();
    drop(store);
    let whole = std::fs::read(&path).unwrap();
    let mut overwritten = whole.clone();
    overwritten[4096..].fill(0x5a);
    let mut headless = whole.clone();
    headless[..100].fill(0x5a);
    for bytes in [
        &whole[..whole.len() / 2],
        &overwritten,
        &headless,
        b"a text of some length",
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = Store::open(dir.path(), &id("c1")).unwrap_err();
        let said = crate::ui::one_line(&error.into());
        assert!(said.contains("edgefront.db is damaged ("), "{said}");
        assert!(
            said.ends_with("replace it with --fresh, or choose another --out"),
            "{said}"
        );
        assert!(said.len() < 300, "{said}");
        Store::remove(dir.path()).unwrap();
        assert!(!path.exists());
    }
    Store::remove(dir.path()).unwrap();
    assert_eq!(open(dir.path()).study().unwrap(), None);
}

#[test]
fn a_database_of_an_older_generation_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let database = Connection::open(dir.path().join(FILE)).unwrap();
    database.pragma_update(None, "user_version", 2).unwrap();
    drop(database);
    let error = Store::open(dir.path(), &id("c1")).unwrap_err();
    let said = error.to_string();
    assert!(
        said.ends_with(
            "was written by an older edgefront (schema 2, this version reads 4); finish it with that one, \
             replace it with --fresh, or choose another --out"
        ),
        "{said}"
    );
}

#[test]
fn a_making_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let blob = BlobRef {
        digest: Digest::of(b"made"),
        bytes: Bytes(4),
    };
    store.put_variant(&Digest::of(b"key"), &blob, "{").unwrap();
    let error = store.makings::<Vec<u8>>().unwrap_err().to_string();
    assert!(error.contains("table `variants`"), "{error}");
}
