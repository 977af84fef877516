//! `edgefront runtimes`.

use comfy_table::CellAlignment::Left;
use edgefront_runtimes::{Error as RuntimeError, Registry, Runtime};
use serde::Serialize;

use super::shared::RuntimeArgs;
use crate::runtime_install::{self, InstallError, Installed};
use crate::tvm_compile::{self, Environment};
use crate::ui::{Column, Exit, Ui, UsageError, fitted};

/// Lists the inference runtimes of this machine, or installs one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  edgefront runtimes\n  edgefront runtimes install ort tflite")]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    runtime: RuntimeArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Install(InstallArgs),
}

/// Installs the shared library of a runtime into your cache folder.
///
/// The library comes from the wheel that its project publishes on PyPI, fetched with your pip and checked
/// against the SHA-256 that this version of edgefront was tested with.
///
/// With `tvm` for this machine comes the compiler that makes its files, in a Python environment of its own.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  edgefront runtimes install ort tflite\n  edgefront runtimes install ort --arch aarch64"
)]
struct InstallArgs {
    /// Runtimes to install.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,

    /// Processor of the device that the library is for, such as aarch64 [default: this machine's]
    ///
    /// What is not for this machine goes into a folder of its own, from which it is to be copied to the device.
    #[arg(long, value_name = "ARCH", default_value = std::env::consts::ARCH, hide_default_value = true)]
    arch: String,
}

/// One runtime, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    ready: bool,
    version: Option<String>,
    providers: Vec<String>,
    library: Option<String>,
    missing: Option<String>,
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    match &args.action {
        Some(Action::Install(InstallArgs { names, arch })) => {
            names.iter().try_for_each(|name| installed(name, arch, ui))?;
        }
        None => list(&args.runtime.registry()?, ui)?,
    }
    Ok(Exit::Done)
}

fn installed(name: &str, arch: &str, ui: &Ui) -> anyhow::Result<()> {
    let Installed {
        version,
        library,
        fresh,
    } = install(name, arch, ui)?;
    if name == tvm_compile::RUNTIME && arch == std::env::consts::ARCH {
        set_up_compiler(ui)?;
    }
    if ui.json() {
        return ui.data_json(&serde_json::json!({
            "name": name, "version": version, "arch": arch, "library": library, "fresh": fresh,
        }));
    }
    let how = if fresh { "installed" } else { "already installed" };
    ui.data(format_args!("{name} {version} {how}: {}", library.display()))
}

/// Installs the runtime `name` for `arch` unless it is there, with a spinner while it is fetched.
pub(super) fn install(name: &str, arch: &str, ui: &Ui) -> anyhow::Result<Installed> {
    let mut spinner = None;
    let installed = runtime_install::ensure(name, arch, |what| {
        ui.note(format_args!("fetching {what}, from PyPI with pip"));
        spinner = Some(ui.spinner(format!("fetching {what}")));
    });
    if let Some(spinner) = spinner {
        spinner.finish_and_clear();
    }
    installed.map_err(|error| match error {
        InstallError::Unknown { .. } | InstallError::Elsewhere { .. } => UsageError::new(error.to_string()),
        error => error.into(),
    })
}

/// What makes the files of the runtime `tvm`, unless it is there.
fn set_up_compiler(ui: &Ui) -> anyhow::Result<()> {
    let environment = Environment::of_user()?;
    if environment.is_there() {
        return Ok(());
    }
    ui.note("installing TVM's compiler, from PyPI with pip");
    let spinner = ui.spinner("installing TVM's compiler");
    environment.set_up()?;
    spinner.finish_and_clear();
    Ok(())
}

fn list(registry: &Registry, ui: &Ui) -> anyhow::Result<()> {
    let rows: Vec<Row> = registry.iter().map(row).collect();
    if ui.json() {
        return ui.data_json(&rows);
    }
    ui.data(fitted(&rows, &COLUMNS, ui.width()))?;
    // Paths and reasons are longer than a column can be.
    rows.iter()
        .filter_map(Row::remark)
        .try_for_each(|remark| ui.data(remark))
}

const COLUMNS: [Column<Row>; 3] = [
    column("runtime", |row| row.name.to_owned()),
    column("version", |row| {
        row.version.clone().unwrap_or_else(|| "-".to_owned())
    }),
    column("providers", |row| {
        if row.ready {
            row.providers.join(", ")
        } else {
            "missing".to_owned()
        }
    }),
];

const fn column(head: &'static str, cell: fn(&Row) -> String) -> Column<Row> {
    Column {
        head,
        side: Left,
        gives_way: None,
        cell,
    }
}

impl Row {
    /// Where its library is, or why it is missing; `None` where it is built in.
    fn remark(&self) -> Option<String> {
        let text = self.library.as_ref().or(self.missing.as_ref())?;
        Some(format!("{}: {text}", self.name))
    }
}

fn row(runtime: &dyn Runtime) -> Row {
    let name = runtime.name();
    match runtime.probe() {
        Ok(probe) => Row {
            name,
            ready: true,
            version: Some(probe.version),
            providers: probe.providers,
            library: probe.library.map(|path| path.display().to_string()),
            missing: None,
        },
        Err(error) => Row {
            name,
            ready: false,
            version: None,
            providers: Vec::new(),
            library: None,
            missing: Some(why(&error)),
        },
    }
}

/// The reason alone: the table already names the runtime.
fn why(error: &RuntimeError) -> String {
    match error {
        RuntimeError::Missing { reason, .. } | RuntimeError::Unusable { reason, .. } => reason.clone(),
        error => error.to_string(),
    }
}
