//! What a device gets: the agent, libraries of runtimes, settings and the service, as a folder with an installer and
//! as a Debian package.

mod arch;
mod deb;
mod error;
mod needs;

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::{fs, io};

use edgefront_protocol::PublicKey;

pub use arch::Arch;
pub use error::BundleError;

/// Where the agent and what belongs to it lie on the device.
const HOME: &str = "opt/edgefront";
/// Where it keeps its state there, as the service says.
const STATE: &str = "/var/lib/edgefront";

const SERVICE: &str = include_str!("../../../cross/bundle/edgefront-agent.service");
const INSTALL: &str = include_str!("../../../cross/bundle/install.sh");
/// By which a folder is known as a bundle's.
const SET_UP_NAME: &str = "set-up";
const SET_UP: &str = include_str!("../../../cross/bundle/set-up");
const PRERM: &str = include_str!("../../../cross/bundle/prerm");

/// What goes to one device, or to all of one kind.
#[derive(Debug)]
pub struct Bundle {
    /// The device's processor.
    pub arch: Arch,
    /// The agent's program for it.
    pub agent: PathBuf,
    /// The broker as the agent is to reach it, with the device's credentials.
    pub broker: String,
    /// Whose jobs alone the agent takes.
    pub controller: PublicKey,
    /// Name of the device; its host name where there is none.
    pub id: Option<String>,
    /// Folders of libraries, each named `NAME-VERSION`.
    pub runtimes: Vec<PathBuf>,
    /// Whether the controller's jobs may bring machine code, as those of TVM do.
    pub machine_code: bool,
    /// When it is made, in seconds since 1970: the later package of one version is the newer one to the device.
    pub made: u32,
}

/// A bundle on disk.
#[derive(Debug, PartialEq, Eq)]
pub struct Written {
    /// The script that installs it.
    pub installer: PathBuf,
    /// The package that does the same.
    pub package: PathBuf,
    /// Bytes of all files together.
    pub bytes: u64,
}

/// A file of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// From the root, without the slash.
    path: String,
    mode: u32,
    content: Vec<u8>,
}

impl Bundle {
    /// Writes the folder; what an earlier bundle left there is replaced, and anything else is an error.
    pub fn write(&self, folder: &Path) -> Result<Written, BundleError> {
        let entries = self.entries()?;
        let root = folder.join("root");
        if root.exists() {
            if !root.join(HOME).join(SET_UP_NAME).is_file() {
                return Err(BundleError::Taken { path: root });
            }
            fs::remove_dir_all(&root).map_err(|source| BundleError::write(&root, source))?;
        }
        for entry in &entries {
            put(&root.join(&entry.path), entry.mode, &entry.content)?;
        }
        let installer = folder.join("install.sh");
        put(&installer, 0o755, self.installer().as_bytes())?;
        let package = folder.join(deb::file_name(self.arch));
        let control = deb::control(self.arch, self.made, &entries)?;
        let content =
            deb::package(&control, &entries).map_err(|source| BundleError::write(&package, source))?;
        // It holds the password, too.
        put(&package, 0o600, &content)?;
        Ok(Written {
            installer,
            package,
            bytes: entries.iter().map(|entry| entry.content.len() as u64).sum(),
        })
    }

    /// All files of the device, by path.
    fn entries(&self) -> Result<Vec<Entry>, BundleError> {
        let agent = read(&self.agent)?;
        self.arch.check(&self.agent, &agent)?;
        let text = |path: &str, mode, content: &str| Entry {
            path: path.to_owned(),
            mode,
            content: content.as_bytes().to_vec(),
        };
        let mut entries = vec![
            text("etc/edgefront/agent.toml", 0o640, &self.settings()),
            text(&format!("{HOME}/{SET_UP_NAME}"), 0o755, SET_UP),
            text("usr/lib/systemd/system/edgefront-agent.service", 0o644, SERVICE),
            Entry {
                path: format!("{HOME}/edgefront-agent"),
                mode: 0o755,
                content: agent,
            },
        ];
        for folder in &self.runtimes {
            entries.extend(library(folder)?);
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    /// The agent's configuration.
    fn settings(&self) -> String {
        let line = |key: &str, value: toml::Value| format!("{key} = {value}\n");
        let mut text =
            "# Made by `edgefront bundle`. Edgefront's configs/agent.toml has all settings that may be added.\n"
                .to_owned();
        text += &line("broker", self.broker.as_str().into());
        if let Some(id) = &self.id {
            text += &line("id", id.as_str().into());
        }
        text += &line("controllers", vec![self.controller.to_string()].into());
        if self.machine_code {
            text += &line("machine_code", true.into());
        }
        text += &line("state_dir", STATE.into());
        if !self.runtimes.is_empty() {
            text += &line("runtime_path", format!("/{HOME}/runtimes").into());
        }
        text
    }

    fn installer(&self) -> String {
        INSTALL
            .replace("@MACHINES@", self.arch.machines())
            .replace("@ARCH@", self.arch.name())
    }
}

/// The files of a library's folder, under its name.
fn library(folder: &Path) -> Result<Vec<Entry>, BundleError> {
    let name = folder.file_name().unwrap_or_default().display();
    let listed = fs::read_dir(folder).map_err(|source| BundleError::read(folder, source))?;
    let mut entries = Vec::new();
    for file in listed {
        let path = file.map_err(|source| BundleError::read(folder, source))?.path();
        if path.is_file() {
            let file = path.file_name().unwrap_or_default().display();
            entries.push(Entry {
                path: format!("{HOME}/runtimes/{name}/{file}"),
                mode: 0o644,
                content: read(&path)?,
            });
        }
    }
    Ok(entries)
}

fn read(path: &Path) -> Result<Vec<u8>, BundleError> {
    fs::read(path).map_err(|source| BundleError::read(path, source))
}

/// Writes a file that at no moment is open to more than its mode says, and the folders before it for all to read,
/// whatever this process's mask: the installer copies their modes.
fn put(path: &Path, mode: u32, content: &[u8]) -> Result<(), BundleError> {
    let written = || {
        let missing = path.ancestors().skip(1).take_while(|folder| !folder.exists());
        let missing: Vec<&Path> = missing.filter(|folder| !folder.as_os_str().is_empty()).collect();
        for folder in missing.into_iter().rev() {
            fs::create_dir(folder)?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode & 0o700)
            .open(path)?;
        file.write_all(content)?;
        file.set_permissions(fs::Permissions::from_mode(mode))
    };
    written().map_err(|source| BundleError::write(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An agent for ARM of 64 bits, and one library.
    pub(super) fn bundle(folder: &Path) -> Bundle {
        let agent = folder.join("edgefront-agent");
        fs::write(
            &agent,
            include_bytes!("../../../xtask/fixtures/glibc-2.34.aarch64"),
        )
        .unwrap();
        let library = folder.join("ort-1.32.0");
        fs::create_dir(&library).unwrap();
        fs::write(library.join("libonnxruntime.so.1.32.0"), "library").unwrap();
        Bundle {
            arch: Arch::Aarch64,
            agent,
            broker: "mqtt://pi:se\"cret@10.0.0.1".to_owned(),
            controller: PublicKey::from_bytes([7; 32]),
            id: Some("pi".to_owned()),
            runtimes: vec![library],
            machine_code: false,
            made: 1_800_000_000,
        }
    }

    #[test]
    fn a_device_gets_the_agent_its_settings_and_the_service() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = bundle(dir.path());
        let entries = bundle.entries().unwrap();
        let listed: Vec<String> = entries
            .iter()
            .map(|entry| format!("{:o} {}", entry.mode, entry.path))
            .collect();
        insta::assert_snapshot!(format!("{}\n\n{}", listed.join("\n"), bundle.settings()));
    }

    #[test]
    fn a_device_for_machine_code_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut bundle = bundle(dir.path());
        assert!(!bundle.settings().contains("machine_code"));
        bundle.machine_code = true;
        assert!(bundle.settings().contains("\nmachine_code = true\n"));
    }

    #[test]
    fn an_agent_for_another_processor_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut bundle = bundle(dir.path());
        bundle.arch = Arch::X86_64;
        let error = bundle.write(&dir.path().join("out")).unwrap_err().to_string();
        assert!(
            error.ends_with("edgefront-agent is a program for aarch64, and the bundle is for x86_64"),
            "{error}"
        );
    }

    #[test]
    fn what_is_of_no_bundle_stays() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = bundle(dir.path());
        let precious = dir.path().join("out/root/thesis.txt");
        fs::create_dir_all(precious.parent().unwrap()).unwrap();
        fs::write(&precious, "words").unwrap();
        let error = bundle.write(&dir.path().join("out")).unwrap_err().to_string();
        assert!(
            error.ends_with("out/root is of no bundle; give another folder"),
            "{error}"
        );
        assert!(precious.is_file());
    }

    #[test]
    fn what_an_earlier_bundle_left_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let mut bundle = bundle(dir.path());
        let out = dir.path().join("out");
        bundle.write(&out).unwrap();
        let library = out.join("root/opt/edgefront/runtimes/ort-1.32.0");
        assert!(library.is_dir());
        bundle.runtimes.clear();
        let written = bundle.write(&out).unwrap();
        assert!(!library.exists());
        assert!(written.installer.is_file());
        let mode = fs::metadata(written.package).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it holds the password");
        let home = fs::metadata(out.join("root").join(HOME)).unwrap();
        assert_eq!(home.permissions().mode() & 0o777, 0o755);
    }
}
