//! What was made of models on this device and is loaded in their place: engines, graphs that are rewritten already. Each
//! has a folder of its own whose name is the digest of all that it was made for and with, and stands there beside the
//! text of that key, with its own length and digest.
//!
//! A folder comes into its place whole, by renaming. What this process was given stays until it ends; beyond a bound that
//! is set, the least recently used goes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::digest;
use crate::room::{self, Held, PARTIAL};

/// What the file was made for, in its folder.
const KEY: &str = "key.txt";

/// Bytes that each runtime may keep, unless it is told otherwise: some hundred engines.
static MOST: AtomicU64 = AtomicU64::new(4 << 30);
/// What this process uses. It may be loaded from at any time.
static IN_USE: Mutex<BTreeMap<PathBuf, Held>> = Mutex::new(BTreeMap::new());

/// Sets how many bytes each runtime may keep of what it made of models; 4 GiB where nobody does. What is in use may be more.
pub fn keep_at_most(bytes: u64) {
    MOST.store(bytes, Ordering::Relaxed);
}

/// Keeps a folder from being removed as long as this process runs, and makes room beside it.
pub(crate) fn use_folder(folder: &Path) -> io::Result<()> {
    put_to_use(folder, room::hold(folder)?);
    if let Some(beside) = folder.parent() {
        room::make_room(beside, MOST.load(Ordering::Relaxed));
    }
    Ok(())
}

fn put_to_use(folder: &Path, held: Held) {
    let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    in_use.insert(folder.to_owned(), held);
}

/// All that a file depends on, and its name within its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    file: &'static str,
    /// A line each.
    lines: String,
}

impl Key {
    pub(crate) fn new(file: &'static str, lines: &[(&str, String)]) -> Self {
        let line = |(what, value): &(&str, String)| format!("{what}: {}\n", value.replace('\n', " "));
        Self {
            file,
            lines: lines.iter().map(line).collect(),
        }
    }

    fn name(&self) -> String {
        digest::of_text(&self.lines)[..32].to_owned()
    }

    /// What stands beside a file of this digest and length.
    fn text(&self, folder: &Path) -> io::Result<String> {
        let file = folder.join(self.file);
        let bytes = fs::metadata(&file)?.len();
        Ok(format!(
            "{}{}: {} {bytes}\n",
            self.lines,
            self.file,
            digest::of_file(&file)?
        ))
    }
}

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) file: PathBuf,
    /// How long it was built just now.
    pub(crate) built: Option<Duration>,
    /// Whether one had to make way for it that was damaged.
    pub(crate) replaced: bool,
}

/// Where a runtime keeps them. The error is one line.
pub(crate) fn folder(runtime: &str) -> Result<PathBuf, String> {
    let cache = dirs::cache_dir()
        .ok_or("there is no cache folder to keep what is made of models; set HOME or XDG_CACHE_HOME")?;
    Ok(cache.join("edgefront").join("engines").join(runtime))
}

/// The file of this key below `folder`; where there is none that is whole, `build` is given the path at which to put
/// it. The error is one line.
pub(crate) fn kept(
    folder: &Path,
    key: &Key,
    build: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<Kept, String> {
    let home = folder.join(key.name());
    let unwritable = |error: io::Error| format!("cannot keep {} in {}: {error}", key.file, home.display());
    // Before it is looked at, so that it is not removed behind that.
    let held = room::hold(&home).ok();
    let whole = held.as_ref().and_then(|_| is_whole(&home, key));
    if let (Some(true), Some(held)) = (whole, held) {
        put_to_use(&home, held);
        return Ok(Kept {
            file: home.join(key.file),
            built: None,
            replaced: false,
        });
    }
    let partial = folder.join(format!("{}{PARTIAL}{}", key.name(), std::process::id()));
    room::remove_left_behind(folder);
    // What is loaded in a model's place is written by nobody else.
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&partial);
    made.map_err(unwritable)?;
    let start = Instant::now();
    let file = partial.join(key.file);
    let done = build(&file).and_then(|()| {
        let text = key
            .text(&partial)
            .map_err(|error| format!("it was built without {}: {error}", key.file))?;
        fs::write(partial.join(KEY), text)
            .and_then(|()| File::open(&file)?.sync_all())
            .and_then(|()| {
                // The lock moves along.
                let _held = room::hold(&partial)?;
                move_into_place(&partial, &home, key)?;
                use_folder(&home)
            })
            .map_err(unwritable)
    });
    // Gone, but where it failed or another process came first.
    drop(fs::remove_dir_all(&partial));
    done?;
    Ok(Kept {
        file: home.join(key.file),
        built: Some(start.elapsed()),
        replaced: whole == Some(false),
    })
}

/// Whether the folder holds the file of this key to the last bit; `None` where it is not there.
fn is_whole(home: &Path, key: &Key) -> Option<bool> {
    if !home.is_dir() {
        return None;
    }
    let stands = fs::read_to_string(home.join(KEY));
    let expected = key.text(home);
    Some(matches!((stands, expected), (Ok(stands), Ok(expected)) if stands == expected))
}

/// Another process may have put the same there meanwhile, which serves as well; a damaged one makes way.
fn move_into_place(partial: &Path, home: &Path, key: &Key) -> io::Result<()> {
    if is_whole(home, key) == Some(false) {
        // Aside first, so that nobody finds it half gone.
        let mut aside = partial.as_os_str().to_owned();
        aside.push("-damaged");
        fs::rename(home, &aside).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        drop(fs::remove_dir_all(aside));
    }
    match fs::rename(partial, home) {
        Err(_) if is_whole(home, key) == Some(true) => Ok(()),
        moved => moved,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::{Command, Stdio};
    use std::time::SystemTime;

    use super::*;

    fn key(gpu: &str) -> Key {
        Key::new(
            "model.engine",
            &[("model", "ab".to_owned()), ("gpu", gpu.to_owned())],
        )
    }

    fn built(folder: &Path, key: &Key, content: &str) -> Kept {
        kept(folder, key, |file| {
            fs::write(file, content).map_err(|error| error.to_string())
        })
        .unwrap()
    }

    fn cached(folder: &Path, key: &Key) -> Kept {
        kept(folder, key, |_| panic!("it is there")).unwrap()
    }

    #[test]
    fn an_engine_is_built_once_for_each_key() {
        let dir = tempfile::tempdir().unwrap();
        let (orin, xavier) = (key("8.7"), key("7.2"));
        let first = built(dir.path(), &orin, "orin");
        assert!(first.built.is_some() && !first.replaced);
        assert_eq!(cached(dir.path(), &orin).file, first.file);
        let other = built(dir.path(), &xavier, "xavier");
        assert_ne!(other.file, first.file);
        assert_eq!(fs::read_to_string(&first.file).unwrap(), "orin");
    }

    #[test]
    fn a_damaged_engine_and_one_of_another_key_are_built_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (orin, xavier) = (key("8.7"), key("7.2"));
        let file = built(dir.path(), &orin, "whole").file;
        fs::write(&file, "whale").unwrap();
        let again = built(dir.path(), &orin, "whole");
        assert!(again.replaced && again.built.is_some());
        // One that was put into the place of another.
        let other = built(dir.path(), &xavier, "xavier").file;
        fs::remove_dir_all(file.parent().unwrap()).unwrap();
        fs::rename(other.parent().unwrap(), file.parent().unwrap()).unwrap();
        assert!(built(dir.path(), &orin, "whole").replaced);
        assert_eq!(cached(dir.path(), &orin).built, None);
    }

    #[test]
    fn a_build_that_was_cut_off_leaves_nothing_that_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let key = key("8.7");
        let failed = kept(dir.path(), &key, |file| {
            fs::write(file, "half").unwrap();
            Err("it ended".to_owned())
        });
        assert_eq!(failed.unwrap_err(), "it ended");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        // No process has this number.
        let killed = dir.path().join(format!("{}{PARTIAL}4294967295", key.name()));
        fs::create_dir(&killed).unwrap();
        fs::write(killed.join(key.file), "half").unwrap();
        assert!(built(dir.path(), &key, "whole").built.is_some());
        assert!(!killed.exists());
        assert!(
            kept(dir.path(), &super::tests::key("7.2"), |_| Ok(())).is_err(),
            "without an engine"
        );
    }

    /// What one of two processes does in the next test: it waits within its build until the other one builds, too.
    fn build_beside_another(folder: &Path) {
        let made = kept(folder, &key("8.7"), |file| {
            fs::write(file, "whole").map_err(|error| error.to_string())?;
            println!("\n{BUILDING}");
            let mut line = String::new();
            io::stdin()
                .read_line(&mut line)
                .map_err(|error| error.to_string())?;
            Ok(())
        });
        println!("\n{MADE}{}", made.unwrap().file.display());
    }

    const BUILDING: &str = "building";
    const MADE: &str = "made ";
    const FOLDER: &str = "EDGEFRONT_KEPT_BY_TWO";

    #[test]
    fn two_processes_that_build_the_same_end_with_one_file() {
        if let Some(folder) = std::env::var_os(FOLDER) {
            return build_beside_another(Path::new(&folder));
        }
        let dir = tempfile::tempdir().unwrap();
        let start = || {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command
                .args(["--exact", "--nocapture"])
                .arg("kept::tests::two_processes_that_build_the_same_end_with_one_file")
                .env(FOLDER, dir.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let said = BufReader::new(child.stdout.take().unwrap()).lines();
            (child, said.map(Result::unwrap))
        };
        let mut both = [start(), start()];
        for (_, said) in &mut both {
            assert!(said.any(|line| line == BUILDING));
        }
        let partial = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().contains(PARTIAL);
        let entries = || fs::read_dir(dir.path()).unwrap().map(Result::unwrap);
        assert_eq!(
            entries().filter(partial).count(),
            2,
            "each builds in a place of its own"
        );
        for (child, _) in &mut both {
            child.stdin.take().unwrap().write_all(b"go on\n").unwrap();
        }
        let made = both.map(|(mut child, mut said)| {
            let made = said.find_map(|line| line.strip_prefix(MADE).map(str::to_owned));
            // Its last words are read, so that it can say them.
            assert!(said.count() < 100 && child.wait().unwrap().success());
            made.unwrap()
        });
        assert_eq!(made[0], made[1]);
        assert_eq!(fs::read_to_string(&made[0]).unwrap(), "whole");
        assert_eq!(entries().count(), 1);
        assert_eq!(cached(dir.path(), &key("8.7")).file, Path::new(&made[0]));
    }

    #[test]
    fn what_this_process_was_given_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second, third) = (key("8.7"), key("7.2"), key("6.1"));
        let file = built(dir.path(), &first, "first").file;
        built(dir.path(), &second, "second");
        // As another process leaves it.
        let third = built(dir.path(), &third, "third").file;
        let third = third.parent().unwrap();
        IN_USE.lock().unwrap().remove(third).unwrap();
        File::open(third)
            .unwrap()
            .set_modified(SystemTime::UNIX_EPOCH)
            .unwrap();
        room::make_room(dir.path(), 0);
        assert!(file.exists() && !third.exists());
        assert_eq!(cached(dir.path(), &second).built, None);
    }
}
