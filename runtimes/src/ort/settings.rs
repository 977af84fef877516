//! What users may set of ONNX Runtime itself, written behind the provider: `cpu+arena=off+optimization=basic`.

use ort::session::builder::GraphOptimizationLevel;

use crate::settings;

const EXAMPLE: &str = "cpu+optimization=basic+arena=off+spin=off+saved=on";

/// How a session is made, whoever computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    /// How far the graph is rewritten when it is loaded.
    pub(super) optimization: Optimization,
    /// Whether memory of the processor is kept for the next inference, in one growing piece.
    pub(super) arena: bool,
    /// Whether threads without work keep their cores busy, waiting for it.
    pub(super) spin: bool,
    /// Whether the graph is rewritten once, and loaded as it was saved then.
    pub(super) saved: bool,
}

impl Default for Settings {
    /// What ONNX Runtime does by itself.
    fn default() -> Self {
        Self {
            optimization: Optimization::All,
            arena: true,
            spin: true,
            saved: false,
        }
    }
}

/// ONNX Runtime's levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Optimization {
    Disable,
    Basic,
    Extended,
    All,
}

impl Optimization {
    const NAMES: [(&str, Self); 4] = [
        ("disable", Self::Disable),
        ("basic", Self::Basic),
        ("extended", Self::Extended),
        ("all", Self::All),
    ];

    pub(super) fn level(self) -> GraphOptimizationLevel {
        match self {
            Self::Disable => GraphOptimizationLevel::Disable,
            Self::Basic => GraphOptimizationLevel::Level1,
            Self::Extended => GraphOptimizationLevel::Level2,
            Self::All => GraphOptimizationLevel::All,
        }
    }
}

impl Settings {
    /// Splits a provider as it is written into its name and the settings behind it. The error says what is not known.
    pub(super) fn split(written: &str) -> Result<(&str, Self), String> {
        let (name, parts) = settings::split(written, EXAMPLE)?;
        let mut settings = Self::default();
        for (key, value) in parts {
            match key {
                "optimization" => settings.optimization = one_of(key, value, &Optimization::NAMES)?,
                "arena" => settings.arena = one_of(key, value, &SWITCH)?,
                "spin" => settings.spin = one_of(key, value, &SWITCH)?,
                "saved" => settings.saved = one_of(key, value, &SWITCH)?,
                _ => return Err(settings::unknown(&format!("{key}={value}"), EXAMPLE)),
            }
        }
        Ok((name, settings))
    }

    /// The provider with these settings behind it, in one order and without those that are so by default.
    pub(super) fn behind(self, provider: &str) -> String {
        let Self {
            optimization,
            arena,
            spin,
            saved,
        } = self;
        let default = Self::default();
        let level =
            (optimization != default.optimization).then(|| name_of(optimization, &Optimization::NAMES));
        let switch = |on: bool, by_default: bool| (on != by_default).then(|| name_of(on, &SWITCH));
        let settings = [
            ("optimization", level),
            ("arena", switch(arena, default.arena)),
            ("spin", switch(spin, default.spin)),
            ("saved", switch(saved, default.saved)),
        ];
        let settings = settings
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        settings.fold(provider.to_owned(), |written, (key, value)| {
            format!("{written}+{key}={value}")
        })
    }
}

const SWITCH: [(&str, bool); 2] = [("on", true), ("off", false)];

fn one_of<T: Copy>(key: &str, value: &str, names: &[(&str, T)]) -> Result<T, String> {
    let found = names.iter().find(|(name, _)| *name == value);
    found.map(|&(_, meant)| meant).ok_or_else(|| {
        let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        format!("`{key}` is one of {}, not `{value}`", known.join(", "))
    })
}

fn name_of<T: PartialEq + Copy>(value: T, names: &[(&'static str, T)]) -> &'static str {
    let found = names.iter().find(|(_, meant)| *meant == value);
    found.expect("invariant: every value is listed").0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn settings_stand_behind_the_provider() {
        assert_eq!(Settings::split("cuda"), Ok(("cuda", Settings::default())));
        let set = Settings {
            optimization: Optimization::Basic,
            arena: false,
            spin: false,
            saved: true,
        };
        let written = "cpu+optimization=basic+arena=off+spin=off+saved=on";
        assert_eq!(Settings::split(written), Ok(("cpu", set)));
    }

    #[test]
    fn one_configuration_is_written_in_one_way() {
        let written = |written| {
            let (name, settings) = Settings::split(written).unwrap();
            settings.behind(name)
        };
        assert_eq!(written("cpu+arena=on+optimization=all+saved=off+spin=on"), "cpu");
        assert_eq!(written("cuda"), "cuda");
        let all = "cpu+optimization=basic+arena=off+spin=off+saved=on";
        assert_eq!(written("cpu+saved=on+spin=off+arena=off+optimization=basic"), all);
        assert_eq!(written(all), all);
    }

    #[test]
    fn what_is_not_known_or_set_twice_is_refused() {
        for (written, why) in [
            ("cpu+", "`` is no setting of it"),
            ("cpu+arena", "`arena` is no setting of it"),
            ("cpu+threads=2", "`threads=2` is no setting of it"),
            ("cpu+arena=no", "`arena` is one of on, off, not `no`"),
            (
                "cpu+optimization=most",
                "`optimization` is one of disable, basic, extended, all, not `most`",
            ),
            ("cpu+spin=on+spin=off", "`spin` is set twice"),
        ] {
            let error = Settings::split(written).unwrap_err();
            assert!(error.starts_with(why), "{written}: {error}");
        }
    }
}
