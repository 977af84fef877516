//! A Debian package: an archive of `ar` that holds two of `tar`, one of scripts and one of files (`deb(5)`).

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::time::{Duration, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};

use super::{Arch, BundleError, Entry, PRERM, needs};

const NAME: &str = "edgefront-agent";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Everything is as old, so that the same parts make the same package.
const TIME: u64 = 0;

/// As Debian names the files of packages.
pub(super) fn file_name(arch: Arch) -> String {
    format!("{NAME}_{VERSION}_{}.deb", arch.debian())
}

/// The version of a package that was `made` so many seconds after 1970. Bundles of one program differ in their settings
/// and libraries, and a package that is no newer is not installed over another.
fn version(made: u32) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(made.into());
    let mut time = humantime::format_rfc3339_seconds(time).to_string();
    time.retain(|c| c.is_ascii_digit());
    format!("{VERSION}+{time}")
}

/// The package's bytes.
pub(super) fn package(control: &[Entry], entries: &[Entry]) -> io::Result<Vec<u8>> {
    let mut archive = ar::Builder::new(Vec::new());
    let mut append = |name: &str, content: &[u8]| {
        let mut header = ar::Header::new(name.into(), content.len() as u64);
        header.set_mode(0o100_644);
        header.set_mtime(TIME);
        archive.append(&header, content)
    };
    append("debian-binary", b"2.0\n")?;
    append("control.tar.gz", &archived(control)?)?;
    append("data.tar.gz", &archived(entries)?)?;
    archive.into_inner()
}

/// What the package says of itself, and its scripts.
pub(super) fn control(arch: Arch, made: u32, entries: &[Entry]) -> Result<Vec<Entry>, BundleError> {
    let kilobytes = entries
        .iter()
        .map(|entry| entry.content.len().div_ceil(1024))
        .sum::<usize>();
    let text = format!(
        "Package: {NAME}\n\
         Version: {}\n\
         Architecture: {}\n\
         Maintainer: Edgefront <edgefront@localhost>\n\
         Installed-Size: {kilobytes}\n\
         Depends: {}\n\
         Section: science\n\
         Priority: optional\n\
         Description: Edgefront's agent, with the settings of one fleet\n \
         Measures the latency, energy and accuracy of neural networks on this device\n \
         for the controllers of its broker.\n",
        version(made),
        arch.debian(),
        needs::depends(entries)?,
    );
    let entry = |path: &str, mode, content: &str| Entry {
        path: path.to_owned(),
        mode,
        content: content.as_bytes().to_vec(),
    };
    Ok(vec![
        entry("conffiles", 0o644, "/etc/edgefront/agent.toml\n"),
        entry("control", 0o644, &text),
        entry(
            "postinst",
            0o755,
            "#!/bin/sh\nset -e\nif [ \"$1\" = configure ]; then /opt/edgefront/set-up; fi\n",
        ),
        entry("prerm", 0o755, PRERM),
    ])
}

/// A compressed archive of files that belong to root, and of their folders.
fn archived(entries: &[Entry]) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let mut folders = BTreeSet::new();
    for entry in entries {
        for (end, _) in entry.path.match_indices('/') {
            if folders.insert(&entry.path[..end]) {
                let mut header = header(EntryType::Directory, 0o755, 0);
                archive.append_data(&mut header, format!("./{}/", &entry.path[..end]), io::empty())?;
            }
        }
        let mut header = header(EntryType::Regular, entry.mode, entry.content.len() as u64);
        archive.append_data(&mut header, format!("./{}", entry.path), entry.content.as_slice())?;
    }
    let mut compressed = archive.into_inner()?.finish()?;
    compressed.flush()?;
    Ok(compressed)
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(TIME);
    header.set_uid(0);
    header.set_gid(0);
    header
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::bundle::tests::bundle;

    /// Modes, paths and sizes of what a member of the package holds.
    fn listed(package: &[u8], member: usize) -> Vec<String> {
        let mut archive = ar::Archive::new(package);
        for _ in 0..member {
            archive.next_entry().unwrap().unwrap();
        }
        let content = GzDecoder::new(archive.next_entry().unwrap().unwrap());
        let mut archive = tar::Archive::new(content);
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let (mode, size) = (entry.header().mode().unwrap(), entry.size());
            format!("{mode:o} {} {size}", entry.path_bytes().escape_ascii())
        });
        entries.collect()
    }

    #[test]
    fn the_package_holds_scripts_and_the_files_with_their_folders() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = bundle(dir.path());
        let entries = bundle.entries().unwrap();
        let control = control(bundle.arch, bundle.made, &entries).unwrap();
        let made = package(&control, &entries).unwrap();
        let mut first = String::new();
        let mut archive = ar::Archive::new(made.as_slice());
        archive
            .next_entry()
            .unwrap()
            .unwrap()
            .read_to_string(&mut first)
            .unwrap();
        assert_eq!(first, "2.0\n");
        let text = [1, 2].map(|member| listed(&made, member).join("\n")).join("\n\n");
        let words = control.iter().find(|entry| entry.path == "control").unwrap();
        let words = String::from_utf8_lossy(&words.content);
        insta::assert_snapshot!(format!("{}\n\n{text}\n\n{words}", file_name(Arch::Aarch64)));
        assert_eq!(made, package(&control, &entries).unwrap());
    }
}
