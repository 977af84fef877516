//! How settings stand behind a provider: `cpu+arena=off+optimization=basic`.

/// A key and its value.
pub(crate) type Setting<'a> = (&'a str, &'a str);

/// A provider as it is written, taken apart into its name and its settings in their order. The error says what is no
/// setting, as in `example`, or which is set twice.
pub(crate) fn split<'a>(written: &'a str, example: &str) -> Result<(&'a str, Vec<Setting<'a>>), String> {
    let mut parts = written.split('+');
    let name = parts.next().unwrap_or_default();
    let mut settings: Vec<Setting<'_>> = Vec::new();
    for part in parts {
        let (key, value) = part.split_once('=').ok_or_else(|| unknown(part, example))?;
        if settings.iter().any(|(seen, _)| *seen == key) {
            return Err(format!("`{key}` is set twice"));
        }
        settings.push((key, value));
    }
    Ok((name, settings))
}

/// Why `part` is refused.
pub(crate) fn unknown(part: &str, example: &str) -> String {
    format!("`{part}` is no setting of it, as in {example}")
}
