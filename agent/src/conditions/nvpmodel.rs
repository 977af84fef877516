//! The mode of power that a Jetson was set to by `nvpmodel`: it limits clocks and cores.

use std::path::Path;

use super::files::text;

/// Its name where the board's list of modes has one, else its number; `None` on another board.
pub(super) fn mode(root: &Path) -> Option<String> {
    let status = text(&root.join("var/lib/nvpmodel/status")).ok()??;
    let modes = text(&root.join("etc/nvpmodel.conf")).ok().flatten();
    parse(&status, modes.as_deref().unwrap_or_default())
}

/// The mode in `pmode:0002 fmode:quiet`, by a list with lines like `< POWER_MODEL ID=2 NAME=MAXN_SUPER >`.
pub(crate) fn parse(status: &str, modes: &str) -> Option<String> {
    let mut words = status.split_whitespace();
    let number: u32 = words.find_map(|word| word.strip_prefix("pmode:"))?.parse().ok()?;
    let named = modes.lines().find_map(|line| {
        let mut words = line.strip_prefix("< POWER_MODEL ID=")?.split_whitespace();
        let id: u32 = words.next()?.parse().ok()?;
        (id == number).then(|| words.find_map(|word| word.strip_prefix("NAME=")))?
    });
    Some(named.map_or_else(|| number.to_string(), str::to_owned))
}
