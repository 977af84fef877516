//! `edgefront runtimes`.

use comfy_table::{ContentArrangement, Table, presets};
use edgefront_runtimes::{Registry, Runtime};
use serde::Serialize;

use super::shared::RuntimeArgs;
use crate::runtime_install::{self, InstallError, Installed};
use crate::ui::{Exit, Ui, UsageError};

/// Lists the inference runtimes of this machine, or installs one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  edgefront runtimes\n  edgefront runtimes install ort")]
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
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  edgefront runtimes install ort")]
struct InstallArgs {
    /// Runtimes to install.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
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
        Some(Action::Install(install)) => install.names.iter().try_for_each(|name| installed(name, ui))?,
        None => list(&Registry::new(&args.runtime.search()), ui)?,
    }
    Ok(Exit::Done)
}

fn installed(name: &str, ui: &Ui) -> anyhow::Result<()> {
    let Installed {
        version,
        library,
        fresh,
    } = install(name, ui)?;
    if ui.json() {
        return ui.data_json(&serde_json::json!({
            "name": name, "version": version, "library": library, "fresh": fresh,
        }));
    }
    let how = if fresh { "installed" } else { "already installed" };
    ui.data(format_args!("{name} {version} {how}: {}", library.display()))
}

/// Installs the runtime `name` unless it is there, with a spinner while it is fetched.
pub(super) fn install(name: &str, ui: &Ui) -> anyhow::Result<Installed> {
    let mut spinner = None;
    let installed = runtime_install::ensure(name, |what| {
        ui.note(format_args!("fetching {what}, from PyPI with pip"));
        spinner = Some(ui.spinner(format!("fetching {what}")));
    });
    if let Some(spinner) = spinner {
        spinner.finish_and_clear();
    }
    installed.map_err(|error| match error {
        InstallError::Unknown { .. } => UsageError::new(error.to_string()),
        error => error.into(),
    })
}

fn list(registry: &Registry, ui: &Ui) -> anyhow::Result<()> {
    let rows: Vec<Row> = registry.iter().map(row).collect();
    if ui.json() {
        return ui.data_json(&rows);
    }
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["runtime", "version", "providers", "library"]);
    for row in rows {
        let library = row.library.or(row.missing.map(|why| format!("missing: {why}")));
        table.add_row([
            row.name.to_owned(),
            row.version.unwrap_or_else(|| "-".to_owned()),
            row.providers.join(", "),
            library.unwrap_or_else(|| "built in".to_owned()),
        ]);
    }
    ui.data(table)
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
fn why(error: &edgefront_runtimes::Error) -> String {
    match error {
        edgefront_runtimes::Error::Missing { reason, .. } => reason.clone(),
        error => error.to_string(),
    }
}
